//! Values for `wasi:config`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config_values::{ConfigValue, WasiConfigValues};
use crate::grants::AbilityConfig;
use crate::parse::ability::{AbilityTable, KeyTable};
use crate::parse::reader::Reader;
use crate::parse::secrets::SecretText;
use crate::parse::spanned::Spanned;

impl AbilityConfig for WasiConfigValues {
    fn summary(&self) -> Vec<(&'static str, String)> {
        let names: Vec<&str> = self.0.iter().map(|value| value.key.as_str()).collect();
        vec![("config", names.join(", "))]
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct WasiConfigTable {
    /// What wasi:config answers.
    config: WrittenConfig,
}

/// Values as they are written.
pub(crate) type WrittenConfig = BTreeMap<Spanned<String>, SecretText>;

impl AbilityTable for WasiConfigTable {
    const TABLE: KeyTable = KeyTable::Component;

    type Config = WasiConfigValues;

    fn read(&self, reader: &mut Reader<'_>) -> Option<WasiConfigValues> {
        let values = read_config(reader, &self.config);
        (!values.0.is_empty()).then_some(values)
    }
}

/// Reads values, and reports what is wrong with them.
pub(crate) fn read_config(reader: &mut Reader<'_>, written: &WrittenConfig) -> WasiConfigValues {
    let mut values = Vec::new();
    for (key, written) in written {
        reader.expect_visible(key);
        let line = reader.config_line(written.span().start);
        let value = reader.secret(written);
        values.extend(value.map(|value| ConfigValue { key: key.value.clone(), value, line }));
    }
    WasiConfigValues(values)
}
