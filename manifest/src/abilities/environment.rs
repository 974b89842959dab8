//! Environment variables and arguments.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::Secret;
use crate::error::Problem;
use crate::grants::AbilityConfig;
use crate::parse::ability::{AbilityTable, KeyTable};
use crate::parse::reader::{Reader, is_visible};
use crate::parse::secrets::SecretText;
use crate::parse::spanned::Spanned;

/// The environment of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentConfig {
    /// Environment variables. Values may be secret.
    pub env: Vec<(String, Secret)>,
    /// Arguments, the program's name among them.
    pub args: Vec<String>,
}

impl AbilityConfig for EnvironmentConfig {
    fn summary(&self) -> Vec<(&'static str, String)> {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        let env = (!names.is_empty()).then(|| ("env", names.join(", ")));
        let args = (!self.args.is_empty()).then(|| ("args", self.args.len().to_string()));
        env.into_iter().chain(args).collect()
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct EnvironmentTable {
    /// Arguments, the program's name among them.
    args: Vec<Spanned<String>>,
    /// Environment variables.
    env: BTreeMap<Spanned<String>, SecretText>,
}

impl AbilityTable for EnvironmentTable {
    const TABLE: KeyTable = KeyTable::Component;

    type Config = EnvironmentConfig;

    fn read(&self, reader: &mut Reader<'_>) -> Option<EnvironmentConfig> {
        let mut env = Vec::new();
        for (name, value) in &self.env {
            if !is_visible(&name.value) || name.value.contains('=') {
                reader.report(
                    Problem::new(name.span.clone(), "this is no name for an environment variable")
                        .help("leave out `=` and control characters"),
                );
            }
            env.extend(reader.plain_secret(value).map(|value| (name.value.clone(), value)));
        }
        let args: Vec<String> = self.args.iter().filter_map(|arg| reader.plain_text(arg)).collect();
        (!env.is_empty() || !args.is_empty()).then_some(EnvironmentConfig { env, args })
    }
}
