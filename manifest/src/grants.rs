//! What a component is given beyond the sandbox.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use strum::{EnumString, VariantNames};

use crate::outgoing::Reach;

/// Where stdout and stderr of a guest go.
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

/// What an operator has granted of one ability, checked.
pub trait AbilityConfig: fmt::Debug + PartialEq + Send + Sync + 'static {
    /// The lines of `host check`: the manifest's word for the grant, and what is granted. Values of the
    /// environment, of the configuration and of arguments may be secret: only their names or their number
    /// may stand in it.
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

/// What a component is given beyond the sandbox: at most one config for each ability. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct GrantsConfig {
    /// Where stdout and stderr go.
    pub stdio: Stdio,
    /// Which addresses the names of endpoints may resolve to, beyond public ones.
    pub reach: Reach,
    pub(crate) abilities: Vec<Arc<dyn AnyConfig>>,
}

impl GrantsConfig {
    /// The same with one more.
    #[must_use]
    pub fn with(mut self, config: impl AbilityConfig) -> Self {
        self.abilities.push(Arc::new(config));
        self
    }

    /// What is granted of one ability, if anything is.
    #[must_use]
    pub fn get<T: AbilityConfig>(&self) -> Option<&T> {
        self.abilities.iter().find_map(|config| AnyConfig::as_any(&**config).downcast_ref())
    }

    /// What is granted, by the manifest's word for it, each word once.
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
