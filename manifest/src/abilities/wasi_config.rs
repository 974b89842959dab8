//! Values for `wasi:config`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::grants::AbilityConfig;
use crate::parse::ability::{AbilityTable, KeyTable};
use crate::parse::reader::Reader;
use crate::parse::spanned::Spanned;

/// Keys with their values. A value may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasiConfigValues(pub Vec<(String, String)>);

impl AbilityConfig for WasiConfigValues {
    fn summary(&self) -> Vec<(&'static str, String)> {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        vec![("config", names.join(", "))]
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct WasiConfigTable {
    /// What wasi:config answers.
    config: BTreeMap<Spanned<String>, Spanned<String>>,
}

impl AbilityTable for WasiConfigTable {
    const TABLE: KeyTable = KeyTable::Component;

    type Config = WasiConfigValues;

    fn read(&self, reader: &mut Reader<'_>) -> Option<WasiConfigValues> {
        let mut values = Vec::new();
        for (name, value) in &self.config {
            reader.expect_visible(name);
            values.extend(reader.text(value).map(|value| (name.value.clone(), value)));
        }
        (!values.is_empty()).then_some(WasiConfigValues(values))
    }
}
