//! What `wasi:config` answers.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::secret::Secret;

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
    /// Where it stands. Another place makes it no other value.
    pub line: ConfigLine,
}

/// A line of a manifest: `line 12`, or `line 12 of tenants/a.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigLine {
    /// Counted from 1.
    pub number: usize,
    /// Its file, if that is one that the manifest includes.
    pub included: Option<Arc<Path>>,
}

impl fmt::Display for ConfigLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.number)?;
        match &self.included {
            Some(file) => write!(f, " of {}", file.display()),
            None => Ok(()),
        }
    }
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
    pub fn line(&self) -> Option<&ConfigLine> {
        self.0.last().map(|value| &value.line)
    }

    /// These values, with those of `over` in place of what they have too.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        let stays = |value: &&ConfigValue| over.0.iter().all(|other| other.key != value.key);
        Self(self.0.iter().filter(stays).chain(&over.0).cloned().collect())
    }
}
