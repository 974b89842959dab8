//! What `wasi:config` answers.

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
