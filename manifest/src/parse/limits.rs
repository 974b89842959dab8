//! What components may use.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::reader::Reader;
use super::spanned::Written;
use super::values::{count, default, fitting, number};
use crate::{
    ByteSize, ComponentLimits, DurationOrOff, HumanDuration, LimitsProfile, LogRateOrOff,
    TotalLimits, defaults,
};

/// What one component may use. At its limit it hurts itself alone.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Limits {
    /// Limits that go together, in place of the defaults: `strict` for components of strangers. What is written beside
    /// it wins.
    #[schemars(extend("default" = "default"))]
    pub(super) profile: Option<Written<LimitsProfile>>,
    /// Instances at once. By default a quarter of total.instances, however many components there are.
    pub(super) instances: Option<u64>,
    /// Requests that may wait for an instance; the next one gets 503.
    #[schemars(extend("default" = number(defaults::MAX_QUEUE)))]
    pub(super) queue: Option<u64>,
    /// How long a request waits for an instance before it gets 503 with Retry-After.
    #[schemars(extend("default" = defaults::QUEUE_TIMEOUT))]
    pub(super) queue_timeout: Option<Written<HumanDuration>>,
    /// Linear memory of one instance; a guest that wants more is refused the growth.
    #[schemars(extend("default" = defaults::MAX_MEMORY))]
    pub(super) memory: Option<Written<ByteSize>>,
    /// Linear memory of all instances of the component together. No bound by default.
    pub(super) memory_total: Option<Written<ByteSize>>,
    /// CPU time of one exchange; then 504, or a broken stream.
    #[schemars(extend("default" = defaults::CPU_TIME))]
    pub(super) cpu_time: Option<Written<HumanDuration>>,
    /// From the head of the request to the head of the answer; then 504. The time in which the guest waits
    /// for bytes of its client is not counted.
    #[schemars(extend("default" = defaults::RESPONSE_HEAD_TIMEOUT))]
    pub(super) response_head_timeout: Option<Written<HumanDuration>>,
    /// Longest pause between two frames of a body, in either direction; then the stream is broken.
    #[schemars(extend("default" = defaults::BODY_IDLE_TIMEOUT))]
    pub(super) body_idle_timeout: Option<Written<HumanDuration>>,
    /// The whole exchange, or `off`: a stream may be meant to last.
    #[schemars(extend("default" = defaults::EXCHANGE_TIMEOUT))]
    pub(super) exchange_timeout: Option<Written<DurationOrOff>>,
    /// Work of a guest after its answer has ended.
    #[schemars(extend("default" = defaults::AFTER_TIMEOUT))]
    pub(super) after_timeout: Option<Written<HumanDuration>>,
    /// How long a lifecycle hook may take: on-start, on-drain, on-shutdown.
    #[schemars(extend("default" = defaults::HOOK_TIMEOUT))]
    pub(super) hook_timeout: Option<Written<HumanDuration>>,
    /// Size of a request body; then 413. Bodies are streamed, never held.
    #[schemars(extend("default" = defaults::MAX_REQUEST_BODY))]
    pub(super) request_body: Option<Written<ByteSize>>,
    /// Size of a response body; then the stream is broken. No bound by default: bodies are streamed.
    pub(super) response_body: Option<Written<ByteSize>>,
    /// Handles of one instance to what the host has for it: streams, headers, files.
    #[schemars(extend("default" = number(defaults::MAX_HANDLES)))]
    pub(super) handles: Option<u64>,
    /// Outgoing requests at once, of all instances together.
    #[schemars(extend("default" = number(defaults::MAX_OUTGOING_REQUESTS)))]
    pub(super) outgoing_requests: Option<u64>,
    /// Outgoing requests that one exchange begins, its hooks and its work after the answer included; the next one
    /// fails.
    #[schemars(extend("default" = number(defaults::MAX_OUTGOING_PER_EXCHANGE)))]
    pub(super) outgoing_per_exchange: Option<u64>,
    /// Size of the body of a response to an outgoing request; then it breaks off, or fails at its
    /// head if the head says the length.
    #[schemars(extend("default" = defaults::MAX_OUTGOING_RESPONSE_BODY))]
    pub(super) outgoing_response_body: Option<Written<ByteSize>>,
    /// What is in the component's own buckets together; also the size of one value.
    #[schemars(extend("default" = defaults::MAX_KEYVALUE))]
    pub(super) keyvalue_size: Option<Written<ByteSize>>,
    /// What the component's instances may add to the log, all together, in bytes per second, or `off`
    /// for no bound; as much may come at once. Lines beyond are left out and counted.
    #[schemars(extend("default" = defaults::LOG_RATE))]
    pub(super) log_rate: Option<Written<LogRateOrOff>>,
}

pub(super) fn shared_limits(
    reader: &mut Reader<'_>,
    raw: &Limits,
    total: &TotalLimits,
) -> ComponentLimits {
    // Four components can be busy at once before one takes instances from another. The part does not depend on
    // how many components there are, so that another component changes nothing for these.
    let instances = (total.instances / 4).max(1);
    let shared = limits(reader, raw, &default_limits(instances));
    let mut faults = shared.faults();
    // The total has been refused already.
    if total.instances > 0 {
        faults.extend(shared.faults_within(total));
    }
    let own = raw.instances.is_some();
    faults.retain(|fault| own || fault.key != "instances");
    reader.report_faults(faults, &["limits"]);
    shared
}

impl ComponentLimits {
    /// The limits of a component without limits of its own in the manifest.
    #[must_use]
    pub fn with_instances(instances: usize) -> Self {
        default_limits(instances)
    }
}

/// The limits of a component without limits in the manifest, with this many instances.
fn default_limits(instances: usize) -> ComponentLimits {
    let duration = |text| default::<HumanDuration>(text).0;
    let size = |text| default::<ByteSize>(text);
    ComponentLimits {
        profile: LimitsProfile::Default,
        instances,
        queue: default(defaults::MAX_QUEUE),
        queue_wait: duration(defaults::QUEUE_TIMEOUT),
        memory: fitting(size(defaults::MAX_MEMORY)),
        memory_total: None,
        cpu: duration(defaults::CPU_TIME),
        response_head: duration(defaults::RESPONSE_HEAD_TIMEOUT),
        body_idle: duration(defaults::BODY_IDLE_TIMEOUT),
        total: default::<DurationOrOff>(defaults::EXCHANGE_TIMEOUT).0,
        after: duration(defaults::AFTER_TIMEOUT),
        hook: duration(defaults::HOOK_TIMEOUT),
        request_body: size(defaults::MAX_REQUEST_BODY).0,
        response_body: None,
        handles: default(defaults::MAX_HANDLES),
        outgoing: default(defaults::MAX_OUTGOING_REQUESTS),
        outgoing_per_exchange: default(defaults::MAX_OUTGOING_PER_EXCHANGE),
        outgoing_response_body: size(defaults::MAX_OUTGOING_RESPONSE_BODY).0,
        keyvalue: size(defaults::MAX_KEYVALUE).0,
        log_rate: default::<LogRateOrOff>(defaults::LOG_RATE).0,
    }
}

/// `base`, with those of the profile, if one is written, and then the written limits in place of its own.
pub(super) fn limits(
    reader: &mut Reader<'_>,
    raw: &Limits,
    base: &ComponentLimits,
) -> ComponentLimits {
    let profile = raw.profile.as_ref().and_then(|profile| reader.parse(profile));
    let base = &profile.map_or(*base, |profile| profile.over(base));
    let mut duration = |written: &Option<Written<HumanDuration>>, base: Duration| {
        reader.parse_or(written.as_ref(), HumanDuration(base)).0
    };
    let times = ComponentLimits {
        queue_wait: duration(&raw.queue_timeout, base.queue_wait),
        cpu: duration(&raw.cpu_time, base.cpu),
        response_head: duration(&raw.response_head_timeout, base.response_head),
        body_idle: duration(&raw.body_idle_timeout, base.body_idle),
        after: duration(&raw.after_timeout, base.after),
        hook: duration(&raw.hook_timeout, base.hook),
        ..*base
    };
    let total = reader.parse_or(raw.exchange_timeout.as_ref(), DurationOrOff(base.total)).0;
    let log_rate = reader.parse_or(raw.log_rate.as_ref(), LogRateOrOff(base.log_rate)).0;
    let mut bound = |written: &Option<Written<ByteSize>>, base: Option<u64>| {
        written.as_ref().and_then(|size| reader.parse(size)).map(|size| size.0).or(base)
    };
    ComponentLimits {
        instances: count(raw.instances, base.instances),
        queue: count(raw.queue, base.queue),
        memory: bound(&raw.memory, None).map_or(base.memory, |size| fitting(ByteSize(size))),
        memory_total: bound(&raw.memory_total, base.memory_total),
        total,
        request_body: bound(&raw.request_body, None).unwrap_or(base.request_body),
        response_body: bound(&raw.response_body, base.response_body),
        handles: count(raw.handles, base.handles),
        outgoing: count(raw.outgoing_requests, base.outgoing),
        outgoing_per_exchange: count(raw.outgoing_per_exchange, base.outgoing_per_exchange),
        outgoing_response_body: bound(&raw.outgoing_response_body, None)
            .unwrap_or(base.outgoing_response_body),
        keyvalue: bound(&raw.keyvalue_size, None).unwrap_or(base.keyvalue),
        log_rate,
        ..times
    }
}
