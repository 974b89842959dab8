//! The right to stop the process.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::grants::AbilityConfig;
use crate::parse::ability::{AbilityTable, KeyTable};
use crate::parse::reader::Reader;

/// The import `request-shutdown` stops the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestShutdownConfig;

impl AbilityConfig for RequestShutdownConfig {
    fn summary(&self) -> Vec<(&'static str, String)> {
        vec![("request-shutdown", "yes".to_owned())]
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct RequestShutdownTable {
    /// Whether the import request-shutdown stops the process.
    #[schemars(extend("default" = false))]
    request_shutdown: bool,
}

impl AbilityTable for RequestShutdownTable {
    const TABLE: KeyTable = KeyTable::Grants;

    type Config = RequestShutdownConfig;

    fn read(&self, _: &mut Reader<'_>) -> Option<RequestShutdownConfig> {
        self.request_shutdown.then_some(RequestShutdownConfig)
    }
}
