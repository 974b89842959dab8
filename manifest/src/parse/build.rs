//! From the raw tables to the checked manifest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::ability::{self, WrittenAbility};
use super::enums::Reached;
use super::logs;
use super::raw;
use super::reader::Reader;
use super::routes;
use super::spanned::{Spanned, Written};
use super::stores;
use crate::error::Problem;
use crate::outgoing::Reach;
use crate::{
    BreakerConfig, ByteSize, CanaryConfig, ComponentConfig, ComponentLimits, ConnectionLimits,
    DurationOrOff, GrantsConfig, HumanDuration, ListenAddr, ListenConfig, LogRateOrOff, Manifest,
    MinRateOrOff, ReuseConfig, StopConfig, SwapConfig, TotalLimits, defaults,
};

/// The unchecked keys of abilities, by the name of the component.
pub(super) type WrittenAbilities = BTreeMap<String, Vec<WrittenAbility>>;

/// Reads everything, and reports problems to `reader`. Use the result only if there are none.
pub(super) fn manifest(
    reader: &mut Reader<'_>,
    raw: &raw::Raw,
    abilities: &WrittenAbilities,
) -> Manifest {
    let written = total(reader, &raw.total);
    // A change of the total needs a restart. Until then the total in force counts.
    let total = reader.context.total.unwrap_or(written);
    let shared = shared_limits(reader, raw, &total);
    reader.stores = stores::stores(reader, &raw.keyvalue);
    let components: BTreeMap<Arc<str>, ComponentConfig> = raw
        .component
        .iter()
        .map(|(name, raw)| component(reader, name, raw, &Common { shared, total, abilities }))
        .map(|component| (Arc::clone(&component.name), component))
        .collect();
    if components.is_empty() && reader.is_whole() {
        reader.report(
            Problem::nowhere("the manifest has no component")
                .help("add [component.NAME] with source = \"app.wasm\""),
        );
    }
    let routes = routes::routes(reader, &raw.route, &components, total.instances);
    let longest = components.values().map(|component| component.limits.body_idle).max();
    let idle = longest.unwrap_or(shared.body_idle).max(shared.body_idle);
    Manifest {
        listen: listen(reader, &raw.listen),
        stop: stop(reader, &raw.stop),
        connection: connection(reader, &raw.listen, idle),
        total: written,
        swap: swap(reader, &raw.swap),
        log: logs::log(reader, &raw.log, &raw.trace),
        components,
        routes,
        lines: raw
            .component
            .keys()
            .map(|name| (name.value.as_str().into(), reader.line(name.span.start)))
            .collect(),
    }
}

/// Settings that all components share.
struct Common<'a> {
    shared: ComponentLimits,
    total: TotalLimits,
    abilities: &'a WrittenAbilities,
}

fn component(
    reader: &mut Reader<'_>,
    name: &Spanned<String>,
    raw: &Spanned<raw::Component>,
    common: &Common<'_>,
) -> ComponentConfig {
    reader.check_name(name, "component");
    let raw = &raw.value;
    let own: Arc<str> = name.value.as_str().into();
    reader.component = own.clone();
    let written = common.abilities.get(&name.value).map(Vec::as_slice).unwrap_or_default();
    let limits = limits(reader, &raw.limits, &common.shared);
    let path = ["component", &name.value, "limits"];
    let mut faults = limits.faults();
    faults.extend(limits.faults_within(&common.total));
    // A problem that concerns all components has been reported once.
    let mut reported = common.shared.faults();
    reported.extend(common.shared.faults_within(&common.total));
    faults.retain(|fault| !reported.contains(fault) || reader.blame(fault, &path).is_some());
    reader.report_faults(faults, &path);
    let source = raw.source.as_ref().and_then(|source| reader.file(source));
    if let Some(source) = &source {
        reader.places.hold(format!("the file of component `{own}`"), source);
    }
    ComponentConfig {
        source: source.unwrap_or_default(),
        limits,
        reuse: raw.reuse.as_ref().and_then(|raw| reuse(reader, &name.value, &raw.value)),
        grants: grants(reader, &raw.grants, written),
        smoke: reader.parse_all(&raw.smoke),
        breaker: raw.breaker.as_ref().map(|raw| breaker(reader, &name.value, &raw.value)),
        canary: raw.canary.as_ref().map(|raw| canary(reader, &name.value, &raw.value)),
        fail: raw.fail.as_ref().and_then(|fail| reader.parse(fail)).unwrap_or_default(),
        log: logs::guest_log(reader, &own, raw.log.as_ref()),
        name: own,
    }
}

fn grants(reader: &mut Reader<'_>, raw: &raw::Grants, written: &[WrittenAbility]) -> GrantsConfig {
    let reached = reader.parse_all(&raw.outgoing_addresses);
    let reach = Reach {
        loopback: reached.contains(&Reached::Loopback),
        private: reached.contains(&Reached::Private),
        link_local: reached.contains(&Reached::LinkLocal),
    };
    let stdio = raw.stdio.as_ref().and_then(|stdio| reader.parse(stdio)).unwrap_or_default();
    ability::read_grants(reader, written, (stdio, reach))
}

fn reuse(reader: &mut Reader<'_>, name: &str, raw: &raw::Reuse) -> Option<ReuseConfig> {
    // The validation has reported that it is missing.
    let exchanges = raw.exchanges?;
    let reuse = ReuseConfig {
        exchanges: small(exchanges),
        concurrency: small(raw.concurrency.unwrap_or_else(|| default(defaults::REUSE_CONCURRENCY))),
        idle: span(reader, raw.idle.as_ref(), defaults::REUSE_IDLE),
    };
    reader.report_faults(reuse.faults(), &["component", name, "reuse"]);
    (reuse.exchanges > 1).then_some(reuse)
}

fn breaker(reader: &mut Reader<'_>, name: &str, raw: &raw::Breaker) -> BreakerConfig {
    let breaker = BreakerConfig {
        failures: small(raw.failures.unwrap_or_else(|| default(defaults::BREAKER_FAILURES))),
        within: span(reader, raw.within.as_ref(), defaults::BREAKER_WITHIN),
        pause: span(reader, raw.pause.as_ref(), defaults::BREAKER_PAUSE),
    };
    reader.report_faults(breaker.faults(), &["component", name, "breaker"]);
    breaker
}

fn canary(reader: &mut Reader<'_>, name: &str, raw: &raw::Canary) -> CanaryConfig {
    let base = CanaryConfig::default();
    let canary = CanaryConfig {
        share: reader.parse_or(raw.share.as_ref(), base.share),
        period: reader.parse_or(raw.r#for.as_ref(), HumanDuration(base.period)).0,
        abort_if: reader.parse_or(raw.abort_if.as_ref(), base.abort_if),
        sticky: reader.parse_or(raw.sticky.as_ref(), base.sticky),
    };
    reader.report_faults(canary.faults(), &["component", name, "canary"]);
    canary
}

fn listen(reader: &mut Reader<'_>, raw: &raw::Listen) -> ListenConfig {
    let mut addresses: Vec<ListenAddr> = Vec::new();
    let written = raw.addr.as_ref().map(|addr| addr.value.as_slice()).unwrap_or_default();
    for one in written {
        let address = match reader.parse(one) {
            Some(ListenAddr::Unix(path)) => {
                let path = reader.relative(&path);
                reader.places.hold("a socket that is listened at", &path);
                ListenAddr::Unix(path)
            }
            Some(address) => address,
            None => continue,
        };
        if let Some(before) = addresses.iter().find(|before| before.overlaps(&address)) {
            let what = if *before == address {
                "this address is here twice".to_owned()
            } else {
                format!(
                    "{address} and {before} cannot be listened at both: one is part of the other"
                )
            };
            let help = "leave one of them out; [::] takes every address of IPv6 and of IPv4";
            reader.report(Problem::new(one.text.span.clone(), what).help(help));
        }
        addresses.push(address);
    }
    match &raw.addr {
        None => addresses.push(default(defaults::ADDRESS)),
        Some(addr) if addr.value.is_empty() => {
            let problem = Problem::new(addr.span.clone(), "there is no address to listen at");
            reader.report(problem.help("write one, or leave addr out for 127.0.0.1:8080"));
        }
        Some(_) => {}
    }
    let (off, no_page) = (default(defaults::HEALTH_ADDRESS), default(defaults::DASHBOARD_ADDRESS));
    ListenConfig {
        control: raw.control.as_ref().and_then(|control| socket(reader, control, &addresses)),
        addresses,
        health: reader.parse_or(raw.health_addr.as_ref(), off).0,
        dashboard: reader.parse_or(raw.dashboard_addr.as_ref(), no_page).0,
    }
}

/// The path of the control socket. The word `off` stays as it is.
fn socket(
    reader: &mut Reader<'_>,
    written: &Spanned<String>,
    addresses: &[ListenAddr],
) -> Option<PathBuf> {
    if reader.text(written)? == "off" {
        return Some("off".into());
    }
    let path = reader.path(written)?;
    reader.places.hold("the control socket", &path);
    let taken = |address: &ListenAddr| matches!(address, ListenAddr::Unix(other) if *other == path);
    if addresses.iter().any(taken) {
        reader.report(
            Problem::new(written.span.clone(), "requests are listened for at this path")
                .help("choose another path for the control socket, or for the one in addr"),
        );
    }
    Some(path)
}

fn stop(reader: &mut Reader<'_>, raw: &raw::Stop) -> StopConfig {
    let stop = StopConfig {
        delay: span(reader, raw.drain_delay.as_ref(), defaults::DRAIN_DELAY),
        timeout: span(reader, raw.drain_timeout.as_ref(), defaults::DRAIN_TIMEOUT),
        linger: span(reader, raw.linger.as_ref(), defaults::LINGER),
    };
    reader.report_faults(stop.faults(), &["stop"]);
    stop
}

fn swap(reader: &mut Reader<'_>, raw: &raw::Swap) -> SwapConfig {
    let swap = SwapConfig {
        watch: raw.watch,
        compile: span(reader, raw.compile_timeout.as_ref(), defaults::COMPILE_TIMEOUT),
        compile_memory: reader
            .parse_or(raw.compile_memory.as_ref(), default::<ByteSize>(defaults::COMPILE_MEMORY))
            .0,
        retire: span(reader, raw.retire_timeout.as_ref(), defaults::RETIRE_TIMEOUT),
        retired: count(raw.max_retired, default(defaults::MAX_RETIRED)),
    };
    reader.report_faults(swap.faults(), &["swap"]);
    swap
}

fn connection(reader: &mut Reader<'_>, raw: &raw::Listen, body_idle: Duration) -> ConnectionLimits {
    let connection = ConnectionLimits {
        connections: count(raw.max_connections, default(defaults::MAX_CONNECTIONS)),
        head: span(reader, raw.request_head_timeout.as_ref(), defaults::REQUEST_HEAD_TIMEOUT),
        keep_alive: span(reader, raw.keep_alive_timeout.as_ref(), defaults::KEEP_ALIVE_TIMEOUT),
        body_idle,
        min_rate: reader
            .parse_or(raw.min_rate.as_ref(), default::<MinRateOrOff>(defaults::MIN_RATE))
            .0,
        prefetch: reader
            .parse_or(raw.prefetch_body.as_ref(), default::<ByteSize>(defaults::PREFETCH_BODY))
            .0,
        header_size: fitting(
            reader.parse_or(raw.max_header_size.as_ref(), default(defaults::MAX_HEADER_SIZE)),
        ),
        headers: count(raw.max_headers, default(defaults::MAX_HEADERS)),
    };
    let mut faults = connection.faults();
    // A fault of the limits that has been reported.
    faults.retain(|fault| fault.key != "body-idle-timeout");
    reader.report_faults(faults, &["listen"]);
    connection
}

fn total(reader: &mut Reader<'_>, raw: &raw::Total) -> TotalLimits {
    let total = TotalLimits {
        instances: count(raw.instances, default(defaults::MAX_INSTANCES)),
        memory: raw.memory.as_ref().and_then(|memory| reader.parse(memory)).map(|size| size.0),
    };
    reader.report_faults(total.faults(), &["total"]);
    total
}

fn shared_limits(reader: &mut Reader<'_>, raw: &raw::Raw, total: &TotalLimits) -> ComponentLimits {
    // Four components can be busy at once before one takes instances from another. The part does not depend on
    // how many components there are, so that another component changes nothing for these.
    let instances = (total.instances / 4).max(1);
    let shared = limits(reader, &raw.limits, &default_limits(instances));
    let mut faults = shared.faults();
    // The total has been refused already.
    if total.instances > 0 {
        faults.extend(shared.faults_within(total));
    }
    let own = raw.limits.instances.is_some();
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
        outgoing_response_body: size(defaults::MAX_OUTGOING_RESPONSE_BODY).0,
        keyvalue: size(defaults::MAX_KEYVALUE).0,
        log_rate: default::<LogRateOrOff>(defaults::LOG_RATE).0,
    }
}

/// `base`, with the written limits in place of its own.
fn limits(reader: &mut Reader<'_>, raw: &raw::Limits, base: &ComponentLimits) -> ComponentLimits {
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
        outgoing_response_body: bound(&raw.outgoing_response_body, None)
            .unwrap_or(base.outgoing_response_body),
        keyvalue: bound(&raw.keyvalue_size, None).unwrap_or(base.keyvalue),
        log_rate,
        ..times
    }
}

fn span(reader: &mut Reader<'_>, written: Option<&Written<HumanDuration>>, text: &str) -> Duration {
    reader.parse_or(written, default(text)).0
}

/// One of the constants in [`defaults`].
fn default<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("constants, which every manifest without a word reads")
}

fn count(written: Option<u64>, default: usize) -> usize {
    written.map_or(default, |count| usize::try_from(count).unwrap_or(usize::MAX))
}

fn small(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn fitting(size: ByteSize) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}
