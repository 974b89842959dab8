//! The identity of a guest: component, generation, retirement, log.

use std::ops::Deref;
use std::sync::Arc;

use host_telemetry::ComponentUsage;

use super::guest_log::GuestLog;
use super::log_limit::LogTopics;
use super::retirement::RetirementWatch;

/// The identity of a guest. Cheap to clone, because every instance has one.
#[derive(Clone, Debug)]
pub(crate) struct Identity(Arc<IdentityParts>);

#[derive(Debug)]
pub(crate) struct IdentityParts {
    pub(crate) number: u64,
    /// The label that the guest sees: `3-1f2e3d4c`.
    pub(crate) label: String,
    pub(crate) component: Arc<str>,
    pub(crate) retirement: RetirementWatch,
    /// Log topics of all its instances.
    pub(crate) topics: LogTopics,
    /// Where they print.
    pub(crate) log: Arc<GuestLog>,
    /// Where what its instances use is counted.
    pub(crate) usage: Arc<ComponentUsage>,
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
    /// The identity of guests of the generation with this number, of a component and a file with this digest,
    /// which print to `log`.
    pub(crate) fn new(
        (number, digest): (u64, &str),
        component: Arc<str>,
        log: Arc<GuestLog>,
        retirement: RetirementWatch,
        usage: Arc<ComponentUsage>,
    ) -> Self {
        let label = format!("{number}-{digest:.DIGITS$}");
        let topics = LogTopics::default();
        Self(Arc::new(IdentityParts { number, label, component, retirement, topics, log, usage }))
    }
}
