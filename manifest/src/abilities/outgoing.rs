//! HTTP requests of guests.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::grants::AbilityConfig;
use crate::outgoing::Origin;
use crate::parse::ability::{AbilityTable, KeyTable};
use crate::parse::reader::Reader;
use crate::parse::spanned::Written;

/// Origins that a component may send HTTP requests to. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingConfig(pub Vec<Origin>);

impl AbilityConfig for OutgoingConfig {
    fn summary(&self) -> Vec<(&'static str, String)> {
        let origins: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        vec![("outgoing", origins.join(", "))]
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct OutgoingTable {
    /// Where it may send HTTP requests: scheme (both if left out), host or `*.` and the end of one,
    /// port.
    outgoing: Vec<Written<Origin>>,
}

impl AbilityTable for OutgoingTable {
    const TABLE: KeyTable = KeyTable::Grants;

    type Config = OutgoingConfig;

    fn read(&self, reader: &mut Reader<'_>) -> Option<OutgoingConfig> {
        let origins = reader.parse_all(&self.outgoing);
        (!origins.is_empty()).then_some(OutgoingConfig(origins))
    }
}
