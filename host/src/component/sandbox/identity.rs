//! Who a guest is.

use std::ops::Deref;
use std::sync::Arc;

use super::log_limit::LogTopics;
use super::log_rate::LogRate;
use super::retirement::RetirementWatch;

/// Who a guest is. Cheap to clone: every instance has one.
#[derive(Clone, Debug)]
pub(crate) struct Identity(Arc<IdentityParts>);

#[derive(Debug)]
pub(crate) struct IdentityParts {
    pub(crate) number: u64,
    /// What a guest sees of it: `3-1f2e3d4c`.
    pub(crate) label: String,
    pub(crate) component: Arc<str>,
    pub(crate) retirement: RetirementWatch,
    /// What the log has heard of all its instances.
    pub(crate) topics: LogTopics,
    /// What they may print.
    pub(crate) log: Arc<LogRate>,
}

impl Deref for Identity {
    type Target = IdentityParts;

    fn deref(&self) -> &IdentityParts {
        &self.0
    }
}

/// Hexadecimal digits of the digest that a guest sees.
const DIGITS: usize = 8;

impl Identity {
    /// The guests of the generation with this number, of a component and a file with this digest, that may
    /// add so many bytes per second to the log.
    pub(crate) fn new(
        (number, digest): (u64, &str),
        component: Arc<str>,
        log_rate: Option<u64>,
        retirement: RetirementWatch,
    ) -> Self {
        let label = format!("{number}-{digest:.DIGITS$}");
        let log = Arc::new(LogRate::new(component.clone(), log_rate));
        let topics = LogTopics::default();
        Self(Arc::new(IdentityParts { number, label, component, retirement, topics, log }))
    }
}
