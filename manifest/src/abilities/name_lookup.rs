//! Look-ups of names by guests.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::grants::AbilityConfig;
use crate::parse::ability::{AbilityTable, KeyTable};
use crate::parse::reader::Reader;

/// A component may look up names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameLookupConfig;

impl AbilityConfig for NameLookupConfig {
    fn summary(&self) -> Vec<(&'static str, String)> {
        // A component with this grant connects too, so `host check` shows it beside the endpoints.
        vec![("tcp", "name look-up".to_owned())]
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct NameLookupTable {
    /// Whether it may look up names by itself.
    #[schemars(extend("default" = false))]
    name_lookup: bool,
}

impl AbilityTable for NameLookupTable {
    const TABLE: KeyTable = KeyTable::Grants;

    type Config = NameLookupConfig;

    fn read(&self, _: &mut Reader<'_>) -> Option<NameLookupConfig> {
        self.name_lookup.then_some(NameLookupConfig)
    }
}
