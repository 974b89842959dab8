//! From the raw tables to the checked manifest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::ability::{self, WrittenAbility};
use super::egress;
use super::enums::Reached;
use super::limits::{limits, shared_limits};
use super::listen::{connection, listen};
use super::logs;
use super::raw;
use super::reader::Reader;
use super::registry;
use super::routes;
use super::spanned::Spanned;
use super::stores;
use super::values::{count, default, small, span};
use crate::error::Problem;
use crate::outgoing::Reach;
use crate::{
    BreakerConfig, ByteSize, CanaryConfig, ComponentConfig, ComponentLimits, GrantsConfig,
    HumanDuration, Manifest, ReuseConfig, RouteConfigs, StopConfig, SwapConfig, TotalLimits,
    defaults,
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
    let shared = shared_limits(reader, &raw.limits, &total);
    reader.stores = stores::stores(reader, &raw.keyvalue);
    let mut components: BTreeMap<Arc<str>, ComponentConfig> = raw
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
    egress::egress(reader, &raw.component, &mut components);
    routes::tell_components(&mut components, &routes);
    refuse_snapshots(reader, &raw.component, &components);
    let longest = components.values().map(|component| component.limits.body_idle).max();
    let idle = longest.unwrap_or(shared.body_idle).max(shared.body_idle);
    Manifest {
        listen: listen(reader, &raw.listen, &raw.listener),
        stop: stop(reader, &raw.stop),
        connection: connection(reader, &raw.listen, idle),
        total: written,
        swap: swap(reader, &raw.swap),
        log: logs::log(reader, &raw.log, &raw.trace),
        registry: registry::registry(reader, &raw.registry),
        trust: registry::trust(reader, &raw.trust),
        components,
        routes,
        places: raw
            .component
            .keys()
            .map(|name| (name.value.as_str().into(), reader.place(name.span.start)))
            .collect(),
    }
}

/// A snapshot has one configuration: what its `on-start` has read.
fn refuse_snapshots(
    reader: &mut Reader<'_>,
    raw: &BTreeMap<Spanned<String>, Spanned<raw::Component>>,
    components: &BTreeMap<Arc<str>, ComponentConfig>,
) {
    for (name, component) in raw {
        let Some(snapshot) = &component.value.snapshot else { continue };
        let has_configs = |component: &ComponentConfig| !component.route_configs.own.is_empty();
        if snapshot.value && components.get(name.value.as_str()).is_some_and(has_configs) {
            let problem = Problem::new(
                snapshot.span.clone(),
                "a route has a config of its own for it, and a snapshot has read one already",
            );
            reader.report(problem.help("leave out snapshot, or the config in the chain"));
        }
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
    let (source, remote) = source(reader, &own, raw.source.as_ref());
    ComponentConfig {
        source,
        remote,
        limits,
        reuse: raw.reuse.as_ref().and_then(|raw| reuse(reader, &name.value, &raw.value)),
        snapshot: raw.snapshot.as_ref().is_some_and(|snapshot| snapshot.value),
        grants: grants(reader, &raw.grants, written),
        smoke: reader.parse_all(&raw.smoke),
        breaker: raw.breaker.as_ref().map(|raw| breaker(reader, &name.value, &raw.value)),
        canary: raw.canary.as_ref().map(|raw| canary(reader, &name.value, &raw.value)),
        fail: raw.fail.as_ref().and_then(|fail| reader.parse(fail)).unwrap_or_default(),
        log: logs::guest_log(reader, &own, raw.log.as_ref()),
        egress: None,
        route_configs: RouteConfigs::default(),
        name: own,
    }
}

/// Its file, or where it comes from.
fn source(
    reader: &mut Reader<'_>,
    own: &Arc<str>,
    written: Option<&Spanned<String>>,
) -> (PathBuf, Option<Arc<str>>) {
    let Some(written) = written else { return Default::default() };
    let Some(text) = reader.text(written) else { return Default::default() };
    if is_remote(&text) {
        if let Err(why) = (reader.context.check_remote)(&text) {
            reader.report(
                Problem::new(written.span.clone(), "this is no source of a component").help(why),
            );
        }
        return (PathBuf::new(), Some(text.into()));
    }
    let source = reader.file(written).unwrap_or_default();
    reader.places.hold(format!("the file of component `{own}`"), &source);
    (source, None)
}

/// Whether a source is no path.
#[must_use]
pub fn is_remote(source: &str) -> bool {
    ["oci://", "https://", "http://"].iter().any(|scheme| source.starts_with(scheme))
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

fn total(reader: &mut Reader<'_>, raw: &raw::Total) -> TotalLimits {
    let total = TotalLimits {
        instances: count(raw.instances, default(defaults::MAX_INSTANCES)),
        memory: raw.memory.as_ref().and_then(|memory| reader.parse(memory)).map(|size| size.0),
        code_memory: raw
            .code_memory
            .as_ref()
            .and_then(|code| reader.parse(code))
            .map(|size| size.0),
    };
    reader.report_faults(total.faults(), &["total"]);
    total
}
