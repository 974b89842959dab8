//! TCP connections of guests.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::grants::AbilityConfig;
use crate::outgoing::Endpoint;
use crate::parse::ability::{AbilityTable, KeyTable};
use crate::parse::reader::Reader;
use crate::parse::spanned::Written;

/// TCP endpoints that a component may connect to. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpConfig(pub Vec<Endpoint>);

impl AbilityConfig for TcpConfig {
    fn summary(&self) -> Vec<(&'static str, String)> {
        let endpoints: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        vec![("tcp", endpoints.join(", "))]
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct TcpTable {
    /// TCP endpoints that it may connect to.
    tcp: Vec<Written<Endpoint>>,
}

impl AbilityTable for TcpTable {
    const TABLE: KeyTable = KeyTable::Grants;

    type Config = TcpConfig;

    fn read(&self, reader: &mut Reader<'_>) -> Option<TcpConfig> {
        let endpoints = reader.parse_all(&self.tcp);
        (!endpoints.is_empty()).then_some(TcpConfig(endpoints))
    }
}
