//! Limits that make no sense, found in the same way whether they come from a manifest or from flags.

use std::fmt;
use std::time::Duration;

use crate::limit::exact_size;
use crate::{
    BreakerConfig, CanaryConfig, ComponentLimits, ConnectionLimits, ReuseConfig, StopConfig,
    SwapConfig, TotalLimits,
};

/// Deadlines that make no sense at nothing.
const NOT_ZERO: &str = "must be longer than 0s: nothing could be answered in no time";

/// hyper's smallest buffer for a head.
const SMALLEST_HEADER_SIZE: usize = 8192;

/// hyper h2 counts the list in a u32; no request needs more.
const LARGEST_HEADER_SIZE: usize = 16 * 1024 * 1024;

/// Each instance reserves 4 GiB of a 47-bit address space, which holds 32,000. A swap from 0.2 to
/// 0.3 needs a pool for each, and reuse one of twice the size.
const MOST_INSTANCES: usize = 7_500;

/// hyper makes room for all of them with every request.
const MOST_HEADERS: usize = 10_000;

/// More connections or waiting requests than any machine of today holds.
const MOST_OF_ALL: usize = 10_000_000;

/// Bytes per second. A larger rate would be a quota for each client, not a bound for the slow ones.
const FASTEST: u64 = 1024 * 1024;

/// Larger bodies are streamed.
const LARGEST_PREFETCH: u64 = 1024 * 1024;
/// The smallest component takes some ten.
const LEAST_COMPILE_MEMORY: u64 = 64 << 20;

/// A WebAssembly memory has at most 4 GiB.
const LARGEST_MEMORY: usize = 4 * 1024 * 1024 * 1024;

/// A request, its headers and body, and those of the answer, with room for what waits on them.
const FEWEST_HANDLES: usize = 32;

/// A few looks of the judge at each step.
const SHORTEST_CANARY: Duration = Duration::from_secs(1);

/// A limit that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitFault {
    /// The key of the manifest, without its table: `cpu-time`. Flags have their own name for it.
    pub key: &'static str,
    /// The key of the same table that it clashes with, if it does.
    pub clash: Option<&'static str>,
    /// What is wrong, to stand after the name: `must be at least 1`.
    pub why: String,
}

impl fmt::Display for LimitFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.why)
    }
}

impl ComponentLimits {
    /// What makes no sense in these limits, of a manifest or of flags.
    #[must_use]
    pub fn faults(&self) -> Vec<LimitFault> {
        let mut faults = Faults::default();
        faults.not_zero("cpu-time", self.cpu);
        faults.not_zero("response-head-timeout", self.response_head);
        faults.not_zero("body-idle-timeout", self.body_idle);
        if let Some(total) = self.total {
            faults.not_zero("exchange-timeout", total);
        }
        faults.instances(self.instances);
        faults.at_most("queue", self.queue, MOST_OF_ALL);
        if !(1..=LARGEST_MEMORY).contains(&self.memory) {
            faults.add("memory", "must lie between 1 byte and 4GiB");
        }
        if self.memory_total.is_some_and(|total| total < self.memory as u64) {
            let why = format!(
                "is less than memory, {}: no instance could start; raise it, or lower memory, of \
                 which the profile {} gives {}",
                exact_size(self.memory as u64),
                self.profile,
                self.profile.limits().memory
            );
            faults.clash("memory-total", "memory", &why);
        }
        if self.handles < FEWEST_HANDLES {
            faults
                .add("handles", format!("must be at least {FEWEST_HANDLES}: a request takes some"));
        }
        faults.0
    }

    /// What makes no sense beside the bounds of all components together.
    #[must_use]
    pub fn faults_within(&self, total: &TotalLimits) -> Vec<LimitFault> {
        let mut faults = Faults::default();
        if self.instances > total.instances {
            faults.add("instances", format!("is more than total.instances, {}", total.instances));
        }
        if total.memory.is_some_and(|all| all < self.memory as u64) {
            faults.add("memory", "is more than total.memory: no instance could start");
        }
        faults.0
    }
}

impl ConnectionLimits {
    /// What makes no sense in these limits, of a manifest or of flags.
    #[must_use]
    pub fn faults(&self) -> Vec<LimitFault> {
        let mut faults = Faults::default();
        faults.not_zero("request-head-timeout", self.head);
        faults.not_zero("handshake-timeout", self.handshake);
        faults.not_zero("keep-alive-timeout", self.keep_alive);
        faults.not_zero("body-idle-timeout", self.body_idle);
        if self.min_rate.is_some_and(|rate| rate.bytes_per_second > FASTEST) {
            faults.add("min-rate", "can be at most 1MiB/s: many clients are slower than that");
        }
        if self.prefetch > LARGEST_PREFETCH {
            faults.add(
                "prefetch-body",
                "can be at most 1MiB: bodies are held in memory until they are read",
            );
        }
        faults.at_least_one("max-connections", self.connections);
        faults.at_most("max-connections", self.connections, MOST_OF_ALL);
        if let Some(per_client) = self.per_client {
            faults.at_least_one("max-connections-per-client", per_client);
        }
        faults.at_least_one("max-headers", self.headers);
        faults.at_most("max-headers", self.headers, MOST_HEADERS);
        if !(SMALLEST_HEADER_SIZE..=LARGEST_HEADER_SIZE).contains(&self.header_size) {
            faults.add("max-header-size", "must lie between 8KiB and 16MiB");
        }
        faults.0
    }
}

impl StopConfig {
    /// What makes no sense in these deadlines, of a manifest or of flags.
    #[must_use]
    pub fn faults(&self) -> Vec<LimitFault> {
        let mut faults = Faults::default();
        if self.delay > self.timeout {
            faults.clash(
                "drain-delay",
                "drain-timeout",
                "is part of drain-timeout and cannot be longer; raise drain-timeout or lower \
                 drain-delay",
            );
        }
        faults.0
    }
}

impl SwapConfig {
    /// What makes no sense in these deadlines, of a manifest or of flags.
    #[must_use]
    pub fn faults(&self) -> Vec<LimitFault> {
        let mut faults = Faults::default();
        faults.longer_than_nothing("compile-timeout", self.compile);
        if self.compile_memory < LEAST_COMPILE_MEMORY {
            faults.add("compile-memory", "must be at least 64MiB: nothing could be compiled");
        }
        faults.0
    }
}

impl TotalLimits {
    /// What makes no sense in these bounds, of a manifest or of flags.
    #[must_use]
    pub fn faults(&self) -> Vec<LimitFault> {
        let mut faults = Faults::default();
        faults.instances(self.instances);
        if self.memory == Some(0) {
            faults.add("memory", "must be more than 0: no instance could start");
        }
        if self.code_memory == Some(0) {
            faults.add("code-memory", "must be more than 0: leave it out for no bound");
        }
        faults.0
    }
}

impl ReuseConfig {
    /// What makes no sense, of a manifest or of flags. One exchange with a concurrency of one is no reuse, but
    /// makes sense.
    #[must_use]
    pub fn faults(&self) -> Vec<LimitFault> {
        let mut faults = Faults::default();
        if self.exchanges == 0 {
            faults.add("exchanges", "must be at least 1, which is no reuse");
        }
        if self.concurrency == 0 {
            faults.add("concurrency", "must be at least 1");
        }
        if self.exchanges == 1 && self.concurrency > 1 {
            faults.clash("concurrency", "exchanges", "takes reuse of more than 1 exchange");
        }
        faults.longer_than_nothing("idle", self.idle);
        faults.0
    }
}

impl BreakerConfig {
    /// What makes no sense, of a manifest or of flags.
    #[must_use]
    pub fn faults(&self) -> Vec<LimitFault> {
        let mut faults = Faults::default();
        if self.failures == 0 {
            faults.add("failures", "must be at least 1: it would never serve");
        }
        faults.longer_than_nothing("within", self.within);
        faults.longer_than_nothing("pause", self.pause);
        faults.0
    }
}

impl CanaryConfig {
    /// What makes no sense, of a manifest or of flags.
    #[must_use]
    pub fn faults(&self) -> Vec<LimitFault> {
        let mut faults = Faults::default();
        if self.period < SHORTEST_CANARY {
            faults.add("for", "must be at least 1s: nothing is seen in less");
        }
        faults.0
    }
}

#[derive(Default)]
struct Faults(Vec<LimitFault>);

impl Faults {
    fn add(&mut self, key: &'static str, why: impl Into<String>) {
        self.0.push(LimitFault { key, clash: None, why: why.into() });
    }

    fn clash(&mut self, key: &'static str, clash: &'static str, why: &str) {
        self.0.push(LimitFault { key, clash: Some(clash), why: why.into() });
    }

    fn not_zero(&mut self, key: &'static str, span: Duration) {
        if span.is_zero() {
            self.add(key, NOT_ZERO);
        }
    }

    fn longer_than_nothing(&mut self, key: &'static str, span: Duration) {
        if span.is_zero() {
            self.add(key, "must be longer than 0s");
        }
    }

    fn at_least_one(&mut self, key: &'static str, count: usize) {
        if count == 0 {
            self.add(key, "must be at least 1");
        }
    }

    fn at_most(&mut self, key: &'static str, count: usize, most: usize) {
        if count > most {
            self.add(key, format!("can be at most {most}"));
        }
    }

    fn instances(&mut self, count: usize) {
        self.at_least_one("instances", count);
        if count > MOST_INSTANCES {
            self.add(
                "instances",
                format!(
                    "can be at most {MOST_INSTANCES}: each instance reserves 4 GiB of address space"
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LimitsProfile;

    /// With the profile strict it said 16 MiB, and that 128 MiB were the default.
    #[test]
    fn memory_total_below_memory_is_told_with_the_memory_of_its_own_profile() {
        let base = ComponentLimits::with_instances(7);
        for (profile, memory) in
            [(LimitsProfile::Default, "128MiB"), (LimitsProfile::Strict, "16MiB")]
        {
            let limits = ComponentLimits { memory_total: Some(8 << 20), ..profile.over(&base) };
            let [fault] = &limits.faults()[..] else { panic!("one fault") };
            let why = format!(
                "is less than memory, {memory}: no instance could start; raise it, or lower memory, \
                 of which the profile {profile} gives {memory}"
            );
            assert_eq!((fault.key, &fault.why), ("memory-total", &why));
        }
    }
}
