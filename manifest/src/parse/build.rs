//! From what is written to what is meant.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::at::{At, Written};
use super::grants::{self, Stores};
use super::raw;
use super::reading::Reading;
use super::routes;
use crate::report::Problem;
use crate::{
    Address, Breaker, Component, Connection, Limit, Limits, Listen, LogRate, Manifest, Rate, Reuse,
    Size, Span, Stop, Swap, Total, defaults,
};

/// Reads everything, and complains to `reading`; what comes out is for use only if nobody did.
pub(super) fn manifest(reading: &mut Reading<'_>, raw: &raw::Raw) -> Manifest {
    let said = total(reading, &raw.total);
    // A change of it needs a restart: until then the bounds are those that are in force.
    let total = reading.beside.total.unwrap_or(said);
    let shared = shared_limits(reading, raw, &total);
    let stores = grants::stores(reading, &raw.keyvalue);
    let components: BTreeMap<Arc<str>, Component> = raw
        .component
        .iter()
        .map(|(name, raw)| {
            component(reading, name, raw, &Common { shared, total, stores: &stores })
        })
        .map(|component| (Arc::clone(&component.name), component))
        .collect();
    if components.is_empty() && reading.is_whole() {
        reading.wrong(
            Problem::nowhere("the manifest has no component")
                .help("add [component.NAME] with source = \"app.wasm\""),
        );
    }
    let routes = routes::routes(reading, &raw.route, &components, total.instances);
    let longest = components.values().map(|component| component.limits.body_idle).max();
    let idle = longest.unwrap_or(shared.body_idle).max(shared.body_idle);
    Manifest {
        listen: listen(reading, &raw.listen),
        stop: stop(reading, &raw.stop),
        connection: connection(reading, &raw.listen, idle),
        total: said,
        swap: swap(reading, &raw.swap),
        components,
        routes,
        lines: raw
            .component
            .keys()
            .map(|name| (name.value.as_str().into(), reading.line(name.span.start)))
            .collect(),
    }
}

/// What all components have in common.
struct Common<'a> {
    shared: Limits,
    total: Total,
    stores: &'a Stores<'a>,
}

fn component(
    reading: &mut Reading<'_>,
    name: &At<String>,
    raw: &At<raw::Component>,
    common: &Common<'_>,
) -> Component {
    reading.name(name, "component");
    let raw = &raw.value;
    let own: Arc<str> = name.value.as_str().into();
    let limits = limits(reading, &raw.limits, &common.shared);
    let path = ["component", &name.value, "limits"];
    let mut faults = limits.faults();
    faults.extend(limits.faults_within(&common.total));
    // What is wrong for all of them has been said once.
    let mut said = common.shared.faults();
    said.extend(common.shared.faults_within(&common.total));
    faults.retain(|fault| !said.contains(fault) || reading.blame(fault, &path).is_some());
    reading.faults(faults, &path);
    let source = raw.source.as_ref().and_then(|source| reading.file(source));
    if let Some(source) = &source {
        reading.places.hold(format!("the file of component `{own}`"), source);
    }
    Component {
        source: source.unwrap_or_default(),
        limits,
        reuse: raw.reuse.as_ref().and_then(|raw| reuse(reading, &name.value, &raw.value)),
        grants: grants::grants(reading, &own, raw, common.stores),
        smoke: reading.words(&raw.smoke),
        breaker: raw.breaker.as_ref().map(|raw| breaker(reading, &name.value, &raw.value)),
        fail: raw.fail.as_ref().and_then(|fail| reading.word(fail)).unwrap_or_default(),
        name: own,
    }
}

fn reuse(reading: &mut Reading<'_>, name: &str, raw: &raw::Reuse) -> Option<Reuse> {
    // The walk has said that it is missing.
    let exchanges = raw.exchanges?;
    let reuse = Reuse {
        exchanges: small(exchanges),
        concurrency: small(raw.concurrency.unwrap_or_else(|| default(defaults::REUSE_CONCURRENCY))),
        idle: span(reading, raw.idle.as_ref(), defaults::REUSE_IDLE),
    };
    reading.faults(reuse.faults(), &["component", name, "reuse"]);
    (reuse.exchanges > 1).then_some(reuse)
}

fn breaker(reading: &mut Reading<'_>, name: &str, raw: &raw::Breaker) -> Breaker {
    let breaker = Breaker {
        failures: small(raw.failures.unwrap_or_else(|| default(defaults::BREAKER_FAILURES))),
        within: span(reading, raw.within.as_ref(), defaults::BREAKER_WITHIN),
        pause: span(reading, raw.pause.as_ref(), defaults::BREAKER_PAUSE),
    };
    reading.faults(breaker.faults(), &["component", name, "breaker"]);
    breaker
}

fn listen(reading: &mut Reading<'_>, raw: &raw::Listen) -> Listen {
    let mut addresses: Vec<Address> = Vec::new();
    let written = raw.addr.as_ref().map(|addr| addr.value.as_slice()).unwrap_or_default();
    for one in written {
        let address = match reading.word(one) {
            Some(Address::Unix(path)) => {
                let path = reading.relative(&path);
                reading.places.hold("a socket that is listened at", &path);
                Address::Unix(path)
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
            reading.wrong(Problem::new(one.text.span.clone(), what).help(help));
        }
        addresses.push(address);
    }
    match &raw.addr {
        None => addresses.push(default(defaults::ADDRESS)),
        Some(addr) if addr.value.is_empty() => {
            let problem = Problem::new(addr.span.clone(), "there is no address to listen at");
            reading.wrong(problem.help("write one, or leave addr out for 127.0.0.1:8080"));
        }
        Some(_) => {}
    }
    let off = default(defaults::HEALTH_ADDRESS);
    Listen {
        control: raw.control.as_ref().and_then(|control| socket(reading, control, &addresses)),
        addresses,
        health: reading.word_or(raw.health_addr.as_ref(), off).0,
    }
}

/// The path of the control socket; `off` stays that word.
fn socket(
    reading: &mut Reading<'_>,
    written: &At<String>,
    addresses: &[Address],
) -> Option<PathBuf> {
    if reading.text(written)? == "off" {
        return Some("off".into());
    }
    let path = reading.path(written)?;
    reading.places.hold("the control socket", &path);
    let taken = |address: &Address| matches!(address, Address::Unix(other) if *other == path);
    if addresses.iter().any(taken) {
        reading.wrong(
            Problem::new(written.span.clone(), "requests are listened for at this path")
                .help("choose another path for the control socket, or for the one in addr"),
        );
    }
    Some(path)
}

fn stop(reading: &mut Reading<'_>, raw: &raw::Stop) -> Stop {
    let stop = Stop {
        delay: span(reading, raw.drain_delay.as_ref(), defaults::DRAIN_DELAY),
        timeout: span(reading, raw.drain_timeout.as_ref(), defaults::DRAIN_TIMEOUT),
        linger: span(reading, raw.linger.as_ref(), defaults::LINGER),
    };
    reading.faults(stop.faults(), &["stop"]);
    stop
}

fn swap(reading: &mut Reading<'_>, raw: &raw::Swap) -> Swap {
    let swap = Swap {
        watch: raw.watch,
        compile: span(reading, raw.compile_timeout.as_ref(), defaults::COMPILE_TIMEOUT),
        compile_memory: reading
            .word_or(raw.compile_memory.as_ref(), default::<Size>(defaults::COMPILE_MEMORY))
            .0,
        retire: span(reading, raw.retire_timeout.as_ref(), defaults::RETIRE_TIMEOUT),
        retired: count(raw.max_retired, default(defaults::MAX_RETIRED)),
    };
    reading.faults(swap.faults(), &["swap"]);
    swap
}

fn connection(reading: &mut Reading<'_>, raw: &raw::Listen, body_idle: Duration) -> Connection {
    let connection = Connection {
        connections: count(raw.max_connections, default(defaults::MAX_CONNECTIONS)),
        head: span(reading, raw.request_head_timeout.as_ref(), defaults::REQUEST_HEAD_TIMEOUT),
        keep_alive: span(reading, raw.keep_alive_timeout.as_ref(), defaults::KEEP_ALIVE_TIMEOUT),
        body_idle,
        min_rate: reading.word_or(raw.min_rate.as_ref(), default::<Rate>(defaults::MIN_RATE)).0,
        prefetch: reading
            .word_or(raw.prefetch_body.as_ref(), default::<Size>(defaults::PREFETCH_BODY))
            .0,
        header_size: fitting(
            reading.word_or(raw.max_header_size.as_ref(), default(defaults::MAX_HEADER_SIZE)),
        ),
        headers: count(raw.max_headers, default(defaults::MAX_HEADERS)),
    };
    let mut faults = connection.faults();
    // That of the limits, where it has been said.
    faults.retain(|fault| fault.key != "body-idle-timeout");
    reading.faults(faults, &["listen"]);
    connection
}

fn total(reading: &mut Reading<'_>, raw: &raw::Total) -> Total {
    let total = Total {
        instances: count(raw.instances, default(defaults::MAX_INSTANCES)),
        memory: raw.memory.as_ref().and_then(|memory| reading.word(memory)).map(|size| size.0),
    };
    reading.faults(total.faults(), &["total"]);
    total
}

fn shared_limits(reading: &mut Reading<'_>, raw: &raw::Raw, total: &Total) -> Limits {
    // Four can be busy at once before one takes from another; however many there are, so that one more
    // changes nothing for the others.
    let instances = (total.instances / 4).max(1);
    let shared = limits(reading, &raw.limits, &default_limits(instances));
    let mut faults = shared.faults();
    // The bound of all has been refused already.
    if total.instances > 0 {
        faults.extend(shared.faults_within(total));
    }
    let own = raw.limits.instances.is_some();
    faults.retain(|fault| own || fault.key != "instances");
    reading.faults(faults, &["limits"]);
    shared
}

impl Limits {
    /// The limits of a component about which nobody says anything else.
    #[must_use]
    pub fn with_instances(instances: usize) -> Self {
        default_limits(instances)
    }
}

/// The limits of a component about which nobody says anything, with so many instances.
fn default_limits(instances: usize) -> Limits {
    let duration = |text| default::<Span>(text).0;
    let size = |text| default::<Size>(text);
    Limits {
        instances,
        queue: default(defaults::MAX_QUEUE),
        queue_wait: duration(defaults::QUEUE_TIMEOUT),
        memory: fitting(size(defaults::MAX_MEMORY)),
        memory_total: None,
        cpu: duration(defaults::CPU_TIME),
        response_head: duration(defaults::RESPONSE_HEAD_TIMEOUT),
        body_idle: duration(defaults::BODY_IDLE_TIMEOUT),
        total: default::<Limit>(defaults::EXCHANGE_TIMEOUT).0,
        after: duration(defaults::AFTER_TIMEOUT),
        hook: duration(defaults::HOOK_TIMEOUT),
        request_body: size(defaults::MAX_REQUEST_BODY).0,
        response_body: None,
        handles: default(defaults::MAX_HANDLES),
        outgoing: default(defaults::MAX_OUTGOING_REQUESTS),
        outgoing_response_body: size(defaults::MAX_OUTGOING_RESPONSE_BODY).0,
        keyvalue: size(defaults::MAX_KEYVALUE).0,
        log_rate: default::<LogRate>(defaults::LOG_RATE).0,
    }
}

/// `base`, changed by what is written.
fn limits(reading: &mut Reading<'_>, raw: &raw::Limits, base: &Limits) -> Limits {
    let mut duration = |written: &Option<Written<Span>>, base: Duration| {
        reading.word_or(written.as_ref(), Span(base)).0
    };
    let times = Limits {
        queue_wait: duration(&raw.queue_timeout, base.queue_wait),
        cpu: duration(&raw.cpu_time, base.cpu),
        response_head: duration(&raw.response_head_timeout, base.response_head),
        body_idle: duration(&raw.body_idle_timeout, base.body_idle),
        after: duration(&raw.after_timeout, base.after),
        hook: duration(&raw.hook_timeout, base.hook),
        ..*base
    };
    let total = reading.word_or(raw.exchange_timeout.as_ref(), Limit(base.total)).0;
    let log_rate = reading.word_or(raw.log_rate.as_ref(), LogRate(base.log_rate)).0;
    let mut bound = |written: &Option<Written<Size>>, base: Option<u64>| {
        written.as_ref().and_then(|size| reading.word(size)).map(|size| size.0).or(base)
    };
    Limits {
        instances: count(raw.instances, base.instances),
        queue: count(raw.queue, base.queue),
        memory: bound(&raw.memory, None).map_or(base.memory, |size| fitting(Size(size))),
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

fn span(reading: &mut Reading<'_>, written: Option<&Written<Span>>, text: &str) -> Duration {
    reading.word_or(written, default(text)).0
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

fn fitting(size: Size) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}
