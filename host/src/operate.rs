//! The process as operators see it: what the control socket asks, answered by the lifecycle, the
//! network and the configuration.

use std::collections::BTreeMap;
use std::future::ready;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use host_keyvalue::{Stores, Trouble};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::component::Rejected;
use crate::config::{self, Manifest, ServeConfig};
use crate::control::schema::{
    Component, Connection, ConnectionCounts, Doing, Ended, Generation, GenerationState, Instances,
    LastSwap, Outcome, Progress, Protocol, Refused, SCHEMA, Status, Stopping, StoreTrouble,
};
use crate::control::{self, Choice, Health, Host, Pending, Server};
use crate::exit::Exit;
use crate::lifecycle::{Cause, Commander, Lifecycle, NotNow, PhaseWatch, Trackers};
use crate::net;
use crate::site::{
    self, App, BreakerState, GenerationInfo, GenerationRole, Slot, SwapCommand, SwapOutcome, Swaps,
};

/// Who follows the stop over the control socket has this long to read how it ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The control socket and health, open. Dropping it closes both.
#[derive(Debug)]
pub(crate) struct Operations {
    operator: Arc<Operator>,
    server: Option<Server>,
    health: Option<Health>,
}

/// Opens what operators use, before anything is loaded. `connections`: those that there may be.
pub(crate) fn open(
    config: &ServeConfig,
    connections: usize,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Operations> {
    let runtime = lifecycle.runtime();
    let operator = Operator::new(config, connections, lifecycle);
    let commander = lifecycle.commander();
    let health = config.manifest.listen.health.map(|address| {
        Health::start(address, lifecycle.watch(), commander.alarm("health"), &runtime)
            .with_context(|| format!("cannot answer health on {address}"))
    });
    let health = health.transpose()?;
    let choice = match &config.control {
        config::ControlSetting::Off => Choice::Off,
        config::ControlSetting::Default => Choice::Default,
        config::ControlSetting::Path(path) => Choice::Path(path.clone()),
    };
    let server = control::open(&choice)?
        .map(|socket| Server::start(socket, operator.clone(), commander.alarm("control"), &runtime))
        .transpose()
        .context("serving the control socket")?;
    Ok(Operations { operator, server, health })
}

impl Operations {
    /// Where health is answered, if it is.
    pub(crate) fn health(&self) -> Option<SocketAddr> {
        self.health.as_ref().map(Health::address)
    }

    /// The process as operators see it, to be told what becomes known later.
    pub(crate) fn operator(&self) -> Arc<Operator> {
        self.operator.clone()
    }

    /// Tells who follows the stop how it ended, and closes. Blocks for at most [`LAST_WORDS`].
    pub(crate) fn end(self, exit: Exit, report: String) {
        self.operator.ended.send_replace(Some(Ended { exit: exit.code(), report }));
        if let Some(server) = self.server {
            server.close(LAST_WORDS);
        }
    }
}

/// Answers for the process.
#[derive(Debug)]
pub(crate) struct Operator {
    began: Instant,
    phase: PhaseWatch,
    trackers: Trackers,
    commander: Commander,
    instances: u64,
    limits: BTreeMap<String, String>,
    addresses: OnceLock<Vec<String>>,
    site: OnceLock<Arc<Slot>>,
    stores: OnceLock<Stores>,
    swaps: OnceLock<(Swaps, Handle)>,
    ended: watch::Sender<Option<Ended>>,
}

impl Operator {
    fn new(config: &ServeConfig, connections: usize, lifecycle: &Lifecycle) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            phase: lifecycle.watch(),
            trackers: lifecycle.trackers(),
            commander: lifecycle.commander(),
            instances: config.manifest.total.instances as u64,
            limits: limits(config, connections),
            addresses: OnceLock::new(),
            site: OnceLock::new(),
            stores: OnceLock::new(),
            swaps: OnceLock::new(),
            ended: watch::Sender::new(None),
        })
    }

    /// Takes note of where the process listens.
    pub(crate) fn listens(&self, addresses: Vec<String>) {
        self.addresses.get_or_init(|| addresses);
    }

    /// Takes note of what is served.
    pub(crate) fn serves(&self, site: Arc<Slot>) {
        self.site.get_or_init(|| site);
    }

    /// Takes note of where buckets are kept.
    pub(crate) fn keeps(&self, stores: Stores) {
        self.stores.get_or_init(|| stores);
    }

    /// The stores that fail.
    fn stores(&self) -> Vec<StoreTrouble> {
        let troubles = self.stores.get().map(Stores::troubles).unwrap_or_default();
        let trouble = |Trouble { store, why, since }| StoreTrouble {
            store,
            why,
            failing_ms: millis(since.elapsed()),
        };
        troubles.into_iter().map(trouble).collect()
    }

    fn components(&self) -> Vec<Component> {
        let Some(site) = self.site.get() else { return Vec::new() };
        site.current().apps().map(|app| component(app)).collect()
    }

    /// Takes note of what swaps the component. Called on the runtime where swaps run.
    pub(crate) fn swaps(&self, swaps: Swaps) {
        self.swaps.get_or_init(|| (swaps, Handle::current()));
    }

    /// Has a swap carried out. It goes on when nobody waits for its outcome any more.
    fn ask(&self, ask: SwapCommand) -> Pending {
        let Some((swaps, runtime)) = self.swaps.get() else {
            let why = NotNow::Starting.to_string();
            return Box::pin(ready(Outcome::Rejected { step: "ask".into(), why }));
        };
        let swaps = swaps.clone();
        let asked = runtime.spawn(async move { swaps.ask(ask).await });
        Box::pin(async move {
            match asked.await {
                Ok(done) => outcome(done),
                Err(why) if why.is_cancelled() => {
                    Outcome::Rejected { step: "ask".into(), why: "the host is ending".into() }
                }
                Err(why) => Outcome::Rejected { step: "ask".into(), why: why.to_string() },
            }
        })
    }

    fn stopping(&self) -> Option<Stopping> {
        self.phase.stopping().map(|stop| Stopping {
            asked_ms_ago: millis(stop.began.elapsed()),
            deadline_ms: millis(stop.deadline - stop.began),
        })
    }
}

impl Host for Operator {
    fn status(&self) -> Status {
        let exchanges = self.trackers.exchanges.in_flight() as u64;
        let components = self.components();
        let afterwork = self.trackers.afterwork.in_flight() as u64;
        Status {
            schema: SCHEMA.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            pid: process::id(),
            uptime_ms: millis(self.began.elapsed()),
            phase: self.phase.now().into(),
            stopping: self.stopping(),
            addresses: self.addresses.get().cloned().unwrap_or_default(),
            connections: count(&self.connections()),
            exchanges_in_flight: exchanges,
            afterwork_in_flight: afterwork,
            instances: Instances {
                in_use: components.iter().map(|component| component.instances.in_use).sum(),
                limit: self.instances,
            },
            generations: self.generations(),
            last_swap: self.swaps.get().and_then(|(swaps, _)| swaps.last()).map(last_swap),
            components,
            stores: self.stores(),
            limits: self.limits.clone(),
        }
    }

    fn connections(&self) -> Vec<Connection> {
        net::connections(&self.trackers.connections).into_iter().map(connection).collect()
    }

    fn generations(&self) -> Vec<Generation> {
        let Some((swaps, _)) = self.swaps.get() else { return Vec::new() };
        swaps.generations().into_iter().map(generation).collect()
    }

    fn reload(&self) -> Pending {
        self.ask(SwapCommand::Reload)
    }

    fn swap(&self, component: Option<String>, path: PathBuf) -> Pending {
        self.ask(SwapCommand::Swap(component, path))
    }

    fn rollback(&self, component: Option<String>) -> Pending {
        self.ask(SwapCommand::Rollback(component))
    }

    fn drain(&self) -> Result<(), Refused> {
        self.commander.drain().map_err(refused)
    }

    fn undrain(&self) -> Result<(), Refused> {
        self.commander.undrain().map_err(refused)
    }

    fn stop(&self, now: bool) {
        if now {
            self.commander.cut(Cause::Operator);
        } else {
            self.commander.stop(Cause::Operator);
        }
    }

    fn progress(&self) -> Progress {
        let stopping = self.stopping();
        Progress {
            phase: self.phase.now().into(),
            elapsed_ms: stopping.map_or(0, |stop| stop.asked_ms_ago),
            deadline_ms: stopping.map(|stop| stop.deadline_ms),
            exchanges: self.trackers.exchanges.in_flight() as u64,
            connections: self.trackers.connections.in_flight() as u64,
            afterwork: self.trackers.afterwork.in_flight() as u64,
        }
    }

    fn ended(&self) -> watch::Receiver<Option<Ended>> {
        self.ended.subscribe()
    }
}

fn refused(why: NotNow) -> Refused {
    Refused { error: why.to_string() }
}

fn outcome(done: SwapOutcome) -> Outcome {
    match done {
        SwapOutcome::Swapped { from, to, took } => {
            Outcome::Swapped { from, to, took_ms: millis(took) }
        }
        SwapOutcome::Unchanged { generation } => Outcome::Unchanged { generation },
        SwapOutcome::Reloaded(done) => Outcome::Reloaded {
            added: done.added,
            changed: done.changed,
            removed: done.removed,
            routes: done.routes,
            left: done.left,
            restart: done.restart,
            took_ms: millis(done.took),
        },
        SwapOutcome::Rejected(Rejected { step, why, .. }) => {
            Outcome::Rejected { step: step.name().into(), why }
        }
    }
}

fn last_swap(last: site::SwapRecord) -> LastSwap {
    LastSwap {
        ago_ms: millis(last.at.elapsed()),
        outcome: outcome(last.outcome),
        trigger: last.trigger.name().into(),
    }
}

fn component(app: &App) -> Component {
    let limit = app.limits().instances;
    let standing = app.breaker.as_ref().map(|breaker| breaker.state());
    Component {
        name: app.manifest.name.to_string(),
        generation: app.generation.number(),
        instances: Instances {
            in_use: limit.saturating_sub(app.bulkhead.free()) as u64,
            limit: limit as u64,
        },
        memory: app.settings.memory.used(),
        put_aside_ms: match standing {
            Some(BreakerState::Open(left)) => Some(millis(left)),
            Some(BreakerState::Closed) | None => None,
        },
    }
}

fn generation(listed: GenerationInfo) -> Generation {
    Generation {
        number: listed.number,
        component: listed.component,
        path: listed.path.into(),
        digest: listed.digest,
        kind: listed.kind.to_string(),
        state: match listed.role {
            GenerationRole::Current => GenerationState::Current,
            GenerationRole::Previous => GenerationState::Previous,
            GenerationRole::Retired => GenerationState::Retired,
        },
        in_flight: listed.in_flight as u64,
        since_ms: millis(listed.since.elapsed()),
        deadline_ms: listed
            .deadline
            .map(|deadline| millis(deadline.saturating_duration_since(Instant::now()))),
    }
}

fn connection(state: net::ConnectionInfo) -> Connection {
    Connection {
        id: state.id,
        peer: state.peer,
        listener: state.listener,
        protocol: match state.protocol {
            net::Protocol::Unknown => Protocol::Unknown,
            net::Protocol::Http1 => Protocol::Http1,
            net::Protocol::Http2 => Protocol::Http2,
        },
        state: match state.doing {
            net::Doing::Idle => Doing::Idle,
            net::Doing::Reading => Doing::Reading,
            net::Doing::Serving => Doing::Serving,
            net::Doing::Writing => Doing::Writing,
        },
        age_ms: millis(state.age),
        idle_ms: millis(state.idle),
        exchanges_served: state.served,
        exchanges_in_flight: state.in_flight as u64,
    }
}

fn count(connections: &[Connection]) -> ConnectionCounts {
    let mut counts = ConnectionCounts { open: connections.len() as u64, ..Default::default() };
    for connection in connections {
        *match connection.state {
            Doing::Idle => &mut counts.idle,
            Doing::Reading => &mut counts.reading,
            Doing::Serving => &mut counts.serving,
            Doing::Writing => &mut counts.writing,
        } += 1;
    }
    counts
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes as the flags take them: in the largest unit that says it exactly.
pub(crate) fn size(bytes: u64) -> String {
    let exact = |(shift, _): &(u32, &str)| bytes != 0 && bytes.trailing_zeros() >= *shift;
    let (shift, unit) =
        [(30, "GiB"), (20, "MiB"), (10, "KiB")].into_iter().find(exact).unwrap_or((0, "B"));
    format!("{}{unit}", bytes >> shift)
}

/// A rate as the flag takes it.
fn rate(bytes_per_second: Option<u64>) -> String {
    bytes_per_second.map_or_else(|| "off".into(), |bytes| size(bytes) + "/s")
}

/// The limits in force, by their flags: those of the process, and those of the component where there
/// is no manifest. A manifest says them itself.
fn limits(config: &ServeConfig, connections: usize) -> BTreeMap<String, String> {
    let time = |span: Duration| humantime::format_duration(span).to_string();
    let Manifest { stop, connection, swap, total, components, .. } = &config.manifest;
    let mut limits: BTreeMap<String, String> = [
        ("drain-delay", time(stop.delay)),
        ("drain-timeout", time(stop.timeout)),
        ("linger", time(stop.linger)),
        ("retire-timeout", time(swap.retire)),
        ("max-retired", swap.retired.to_string()),
        ("compile-timeout", time(swap.compile)),
        ("max-instances", total.instances.to_string()),
        ("max-header-size", size(connection.header_size as u64)),
        ("max-headers", connection.headers.to_string()),
        ("request-head-timeout", time(connection.head)),
        ("min-rate", rate(connection.min_rate.map(|rate| rate.bytes_per_second))),
        ("prefetch-body", size(connection.prefetch)),
        ("max-connections", connections.to_string()),
        ("keep-alive-timeout", time(connection.keep_alive)),
    ]
    .map(|(flag, value)| (flag.to_owned(), value))
    .into();
    if config.file.is_none()
        && let Some(component) = components.values().next()
    {
        let guest = &component.limits;
        let of_the_component = [
            ("hook-timeout", time(guest.hook)),
            ("reuse", component.reuse.map_or(1, |reuse| reuse.exchanges).to_string()),
            ("max-queue", guest.queue.to_string()),
            ("queue-timeout", time(guest.queue_wait)),
            ("max-memory", size(guest.memory as u64)),
            ("cpu-time", time(guest.cpu)),
            ("response-head-timeout", time(guest.response_head)),
            ("body-idle-timeout", time(guest.body_idle)),
            ("exchange-timeout", guest.total.map_or_else(|| "off".into(), time)),
            ("after-timeout", time(guest.after)),
            ("max-request-body", size(guest.request_body)),
            ("guest-log-rate", rate(guest.log_rate)),
        ];
        limits.extend(of_the_component.map(|(flag, value)| (flag.to_owned(), value)));
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_as_the_flags_take_them() {
        for text in ["0B", "1B", "1025B", "32KiB", "128MiB", "1536MiB", "4GiB"] {
            let bytes: host_manifest::ByteSize = text.parse().unwrap();
            assert_eq!(size(bytes.0), text);
        }
    }
}
