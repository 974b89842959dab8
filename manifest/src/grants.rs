//! A component's grants beyond the sandbox.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use strum::{EnumString, VariantNames};

use crate::outgoing::Reach;

/// The destination of a guest's stdout and stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = no_stdio)]
pub enum Stdio {
    /// Into the log, line by line, under the component's name.
    #[default]
    Log,
    /// Nowhere.
    Off,
}

fn no_stdio(_: &str) -> String {
    "neither log nor off; write log or off".into()
}

/// The checked grant of one ability.
pub trait AbilityConfig: fmt::Debug + PartialEq + Send + Sync + 'static {
    /// The lines of `host check`: the manifest's word for the grant, and its value. Values of the
    /// environment, of the configuration and of arguments may be secret, so a line shows only their names or
    /// their number.
    fn summary(&self) -> Vec<(&'static str, String)>;
}

/// An [`AbilityConfig`] of any ability.
pub(crate) trait AnyConfig: fmt::Debug + Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn equals(&self, other: &dyn AnyConfig) -> bool;
    fn summary(&self) -> Vec<(&'static str, String)>;
}

impl<T: AbilityConfig> AnyConfig for T {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn equals(&self, other: &dyn AnyConfig) -> bool {
        other.as_any().downcast_ref::<T>().is_some_and(|other| self == other)
    }

    fn summary(&self) -> Vec<(&'static str, String)> {
        AbilityConfig::summary(self)
    }
}

/// A component's grants beyond the sandbox: at most one config for each ability. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct GrantsConfig {
    /// The destination of stdout and stderr.
    pub stdio: Stdio,
    /// The addresses, beyond public ones, that names of endpoints may resolve to.
    pub reach: Reach,
    pub(crate) abilities: Vec<Arc<dyn AnyConfig>>,
}

impl GrantsConfig {
    /// These grants, with one more.
    #[must_use]
    pub fn with(mut self, config: impl AbilityConfig) -> Self {
        self.abilities.push(Arc::new(config));
        self
    }

    /// The grant of one ability, if there is one.
    #[must_use]
    pub fn get<T: AbilityConfig>(&self) -> Option<&T> {
        self.abilities.iter().find_map(|config| AnyConfig::as_any(&**config).downcast_ref())
    }

    /// All grants, by the manifest's word for each, each word once.
    #[must_use]
    pub fn summary(&self) -> Vec<(&'static str, String)> {
        let mut lines: Vec<(&'static str, String)> = Vec::new();
        for (word, what) in self.abilities.iter().flat_map(|config| config.summary()) {
            match lines.iter_mut().find(|(other, _)| *other == word) {
                Some((_, line)) => *line = format!("{line}, {what}"),
                None => lines.push((word, what)),
            }
        }
        lines
    }
}

impl PartialEq for GrantsConfig {
    fn eq(&self, other: &Self) -> bool {
        let alike = |(one, other): (&Arc<dyn AnyConfig>, &Arc<dyn AnyConfig>)| one.equals(&**other);
        self.stdio == other.stdio
            && self.reach == other.reach
            && self.abilities.len() == other.abilities.len()
            && self.abilities.iter().zip(&other.abilities).all(alike)
    }
}
