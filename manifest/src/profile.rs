//! Profiles: limits that go together, for components of one kind.

use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use crate::limit::exact_size;
use crate::{
    ByteSize, ComponentLimits, DurationOrOff, HumanDuration, LimitsProfile, LogRateOrOff, defaults,
};

/// The limits that profiles set, as people write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the key of the manifest that it is named after")]
pub struct ProfileLimits {
    pub memory: &'static str,
    pub cpu_time: &'static str,
    pub response_head_timeout: &'static str,
    pub body_idle_timeout: &'static str,
    pub exchange_timeout: &'static str,
    pub after_timeout: &'static str,
    pub hook_timeout: &'static str,
    pub request_body: &'static str,
    pub handles: &'static str,
    pub outgoing_per_exchange: &'static str,
    pub log_rate: &'static str,
}

/// Those of [`LimitsProfile::Default`].
const DEFAULT: ProfileLimits = ProfileLimits {
    memory: defaults::MAX_MEMORY,
    cpu_time: defaults::CPU_TIME,
    response_head_timeout: defaults::RESPONSE_HEAD_TIMEOUT,
    body_idle_timeout: defaults::BODY_IDLE_TIMEOUT,
    exchange_timeout: defaults::EXCHANGE_TIMEOUT,
    after_timeout: defaults::AFTER_TIMEOUT,
    hook_timeout: defaults::HOOK_TIMEOUT,
    request_body: defaults::MAX_REQUEST_BODY,
    handles: defaults::MAX_HANDLES,
    outgoing_per_exchange: defaults::MAX_OUTGOING_PER_EXCHANGE,
    log_rate: defaults::LOG_RATE,
};

/// Those of [`LimitsProfile::Strict`]: 10 s for an exchange in all, of which no wait is longer than a half; work
/// after it, and hooks, 1 s; for 32 outgoing requests some eight handles each.
pub const STRICT: ProfileLimits = ProfileLimits {
    memory: "16MiB",
    cpu_time: "50ms",
    response_head_timeout: "5s",
    body_idle_timeout: "5s",
    exchange_timeout: "10s",
    after_timeout: "1s",
    hook_timeout: "1s",
    request_body: "1MiB",
    handles: "256",
    outgoing_per_exchange: "32",
    log_rate: "64KiB/s",
};

impl ProfileLimits {
    /// Each by its key, as people write it.
    #[must_use]
    pub fn written(&self) -> [(&'static str, &'static str); 11] {
        [
            ("memory", self.memory),
            ("cpu-time", self.cpu_time),
            ("response-head-timeout", self.response_head_timeout),
            ("body-idle-timeout", self.body_idle_timeout),
            ("exchange-timeout", self.exchange_timeout),
            ("after-timeout", self.after_timeout),
            ("hook-timeout", self.hook_timeout),
            ("request-body", self.request_body),
            ("handles", self.handles),
            ("outgoing-per-exchange", self.outgoing_per_exchange),
            ("log-rate", self.log_rate),
        ]
    }
}

impl LimitsProfile {
    /// What it sets.
    #[must_use]
    pub const fn limits(self) -> ProfileLimits {
        match self {
            Self::Default => DEFAULT,
            Self::Strict => STRICT,
        }
    }

    /// `base`, with what this profile sets.
    #[must_use]
    pub fn over(self, base: &ComponentLimits) -> ComponentLimits {
        let limits = self.limits();
        let time = |text| constant::<HumanDuration>(text).0;
        ComponentLimits {
            profile: self,
            memory: usize::try_from(constant::<ByteSize>(limits.memory).0).unwrap_or(usize::MAX),
            cpu: time(limits.cpu_time),
            response_head: time(limits.response_head_timeout),
            body_idle: time(limits.body_idle_timeout),
            total: constant::<DurationOrOff>(limits.exchange_timeout).0,
            after: time(limits.after_timeout),
            hook: time(limits.hook_timeout),
            request_body: constant::<ByteSize>(limits.request_body).0,
            handles: constant(limits.handles),
            outgoing_per_exchange: constant(limits.outgoing_per_exchange),
            log_rate: constant::<LogRateOrOff>(limits.log_rate).0,
            ..*base
        }
    }
}

impl ComponentLimits {
    /// What differs from the profile, of what that sets: by its key, as people write it.
    #[must_use]
    pub fn beside_profile(&self) -> Vec<(&'static str, String)> {
        let profile = self.profile.over(self);
        let (own, profile) = (self.profiled(), profile.profiled());
        let differing = own.into_iter().zip(profile).filter(|(own, profile)| own != profile);
        differing.map(|(own, _)| own).collect()
    }

    /// What profiles set.
    fn profiled(&self) -> [(&'static str, String); 11] {
        let time = |time: Duration| humantime::format_duration(time).to_string();
        let or_off = |value: Option<String>| value.unwrap_or_else(|| "off".into());
        [
            ("memory", exact_size(self.memory as u64)),
            ("cpu-time", time(self.cpu)),
            ("response-head-timeout", time(self.response_head)),
            ("body-idle-timeout", time(self.body_idle)),
            ("exchange-timeout", or_off(self.total.map(time))),
            ("after-timeout", time(self.after)),
            ("hook-timeout", time(self.hook)),
            ("request-body", exact_size(self.request_body)),
            ("handles", self.handles.to_string()),
            ("outgoing-per-exchange", self.outgoing_per_exchange.to_string()),
            ("log-rate", or_off(self.log_rate.map(|rate| exact_size(rate) + "/s"))),
        ]
    }
}

fn constant<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("a constant, which a test reads")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_what_it_says() {
        let base = ComponentLimits::with_instances(7);
        assert_eq!(LimitsProfile::Default.over(&base), base);
        let strict = LimitsProfile::Strict.over(&base);
        assert_eq!(strict.beside_profile(), []);
        let texts = |limits: ComponentLimits| limits.profiled().map(|(_, text)| text);
        assert_eq!(texts(strict), STRICT.written().map(|(_, text)| text));
        assert_eq!(texts(base), DEFAULT.written().map(|(_, text)| text));
        assert_eq!((strict.instances, strict.queue), (7, base.queue), "what it does not set");
        assert_eq!(strict.memory, 16 << 20);
        assert_eq!(strict.cpu, Duration::from_millis(50));
        assert_eq!((strict.total, strict.request_body), (Some(Duration::from_secs(10)), 1 << 20));
        assert_eq!(LimitsProfile::Default.over(&strict), base);
        assert_eq!(strict.faults(), []);
    }

    #[test]
    fn what_stands_beside_a_profile_is_told() {
        let strict = LimitsProfile::Strict.over(&ComponentLimits::with_instances(7));
        let own = ComponentLimits { memory: 32 << 20, total: None, queue: 1, ..strict };
        let told = [("memory", "32MiB".to_owned()), ("exchange-timeout", "off".to_owned())];
        assert_eq!(own.beside_profile(), told);
    }
}
