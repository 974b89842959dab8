//! Values for `wasi:config`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::Secret;
use crate::grants::AbilityConfig;
use crate::parse::ability::{AbilityTable, KeyTable};
use crate::parse::reader::Reader;
use crate::parse::secrets::SecretText;
use crate::parse::spanned::Spanned;

/// Keys with their values. At most one of each key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WasiConfigValues(pub Vec<ConfigValue>);

/// One of them.
#[derive(Clone, Debug)]
pub struct ConfigValue {
    /// Its key.
    pub key: String,
    /// Its value. It may be a secret.
    pub value: Secret,
    /// The line of the manifest where it stands, counted from 1. Another place makes it no other value.
    pub line: usize,
}

impl PartialEq for ConfigValue {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value
    }
}

impl Eq for ConfigValue {}

impl WasiConfigValues {
    /// The line of the first of them that a route has of its own, or of the first.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.0.last().map(|value| value.line)
    }

    /// These values, with those of `over` in place of what they have too.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        let stays = |value: &&ConfigValue| over.0.iter().all(|other| other.key != value.key);
        Self(self.0.iter().filter(stays).chain(&over.0).cloned().collect())
    }
}

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
        let line = reader.line(written.span().start);
        let value = reader.secret(written);
        values.extend(value.map(|value| ConfigValue { key: key.value.clone(), value, line }));
    }
    WasiConfigValues(values)
}
