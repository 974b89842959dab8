//! The process as operators see it: what the control socket asks, answered by the lifecycle, the network and
//! what is served.

use std::collections::BTreeMap;
use std::future::ready;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use host_certs::CertificateStore;
use host_lifecycle::{Cause, Commander, Lifecycle, NotNow, Phase, PhaseWatch, Trackers};
use host_net::NetCounts;
use host_telemetry::{LastMinute, SpanCounts, Traffic, UsageMeter, Window};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::limits::limits;
use super::rate_limits::{self, RateLimitView};
use super::seen::Seen;
use super::{convert, keyvalue, tls, traffic};
use crate::config::ServeConfig;
use crate::control::schema::{
    BucketName, BucketStatus, CanaryRequest, CanaryStatus, ChangeOutcome, CommandError,
    ComponentStatus, ConnectionStatus, GenerationStatus, InstanceCount, SCHEMA, Status, StopEnd,
    StopProgress, StopStatus, TrafficHistory, TrafficReport, UpgradeRequest, UsageStatus,
};
use crate::control::{
    BucketFuture, BucketOperation, BucketRefusal, CommandFuture, Host, UpgradeFuture,
};
use crate::resources;
use crate::site::{App, GenerationInfo, Slot, SwapCommand, Swaps};
use crate::upgrade::{UpgradeOrder, Upgrader};

/// Answers for the process. Dropping it changes nothing.
#[derive(Debug)]
pub(super) struct Admin {
    began: Instant,
    phase: PhaseWatch,
    trackers: Trackers,
    commander: Commander,
    instances: u64,
    limits: BTreeMap<String, String>,
    seen: Seen,
    window: Window,
    upgrader: Upgrader,
    usage: UsageMeter,
    /// None while the process starts.
    serving: watch::Receiver<Option<Serving>>,
    ended: watch::Receiver<Option<StopEnd>>,
}

/// What is served, once it is.
#[derive(Clone, Debug)]
pub(crate) struct Serving(Arc<Served>);

#[derive(Debug)]
struct Served {
    began: Instant,
    addresses: Vec<String>,
    slot: Arc<Slot>,
    swaps: Swaps,
    /// Where changes are carried out.
    runtime: Handle,
}

impl Serving {
    /// What sits in `slot` is served at `addresses`, and changed by `swaps` on `runtime`.
    pub(crate) fn new(
        addresses: Vec<String>,
        slot: Arc<Slot>,
        swaps: Swaps,
        runtime: Handle,
    ) -> Self {
        Self(Arc::new(Served { began: Instant::now(), addresses, slot, swaps, runtime }))
    }
}

impl Served {
    fn apps(&self) -> Vec<Arc<App>> {
        self.slot.current().apps().cloned().collect()
    }
}

/// What is served at a moment, for one look.
pub(super) struct SiteView {
    pub(super) apps: Vec<Arc<App>>,
    /// Newest first.
    pub(super) generations: Vec<GenerationInfo>,
    /// By outcome and step.
    pub(super) changes: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) rate_limits: Vec<RateLimitView>,
    /// None if no listener has TLS.
    pub(super) certificates: Option<Arc<CertificateStore>>,
}

impl Admin {
    pub(super) fn new(
        config: &ServeConfig,
        lifecycle: &Lifecycle,
        (seen, window, upgrader): (Seen, Window, Upgrader),
        (serving, ended): (watch::Receiver<Option<Serving>>, watch::Receiver<Option<StopEnd>>),
    ) -> Self {
        Self {
            usage: UsageMeter::new(seen.traffic.clone(), memory_of(serving.clone())),
            began: Instant::now(),
            phase: lifecycle.watch(),
            trackers: lifecycle.trackers(),
            commander: lifecycle.commander(),
            instances: config.manifest.total.instances as u64,
            limits: limits(config, resources::connections(config)),
            seen,
            window,
            upgrader,
            serving,
            ended,
        }
    }

    /// Lines that are missing, by log.
    pub(super) fn dropped_lines(&self) -> [(&'static str, u64); 3] {
        self.seen.logs.dropped()
    }

    /// What became of spans.
    pub(super) fn spans(&self) -> &SpanCounts {
        &self.seen.spans
    }

    /// What connections add up to.
    pub(super) fn net_counts(&self) -> &NetCounts {
        &self.seen.connections
    }

    /// What reads the usage of components.
    pub(super) fn usage_meter(&self) -> UsageMeter {
        self.usage.clone()
    }

    fn serving(&self) -> Option<Arc<Served>> {
        self.serving.borrow().as_ref().map(|serving| serving.0.clone())
    }

    /// Has a change carried out. It goes on if the client leaves.
    fn ask(&self, command: SwapCommand) -> CommandFuture {
        let rejected = ChangeOutcome::refused;
        let Some(serving) = self.serving() else {
            return Box::pin(ready(rejected(NotNow::Starting.to_string())));
        };
        let swaps = serving.swaps.clone();
        let asked = serving.runtime.spawn(async move { swaps.ask(command).await });
        Box::pin(async move {
            match asked.await {
                Ok(outcome) => convert::outcome(outcome),
                Err(why) if why.is_cancelled() => rejected("the host is ending".into()),
                Err(why) => rejected(why.to_string()),
            }
        })
    }

    /// Since the start of the process.
    pub(super) fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// Where the process is in its life.
    pub(super) fn phase(&self) -> Phase {
        self.phase.now()
    }

    /// Until what still runs is cut, if a stop is under way.
    pub(super) fn time_left(&self) -> Option<Duration> {
        let stop = self.phase.stopping()?;
        Some(stop.deadline.saturating_duration_since(Instant::now()))
    }

    /// Where exchanges are counted.
    pub(super) fn traffic(&self) -> &Traffic {
        &self.seen.traffic
    }

    /// What is in flight.
    pub(super) fn trackers(&self) -> &Trackers {
        &self.trackers
    }

    /// What is served, if anything is yet.
    pub(super) fn site(&self) -> Option<SiteView> {
        let serving = self.serving()?;
        Some(SiteView {
            apps: serving.apps(),
            generations: serving.swaps.generations(),
            changes: serving.swaps.counts(),
            rate_limits: rate_limits::views(&serving.slot.current()),
            certificates: serving.swaps.certificates().cloned(),
        })
    }

    fn components(&self, serving: &Served) -> Vec<ComponentStatus> {
        let minutes: BTreeMap<_, _> = self.window.components().into_iter().collect();
        let window = self.window.all().window;
        let component = |app: &Arc<App>| {
            let none = LastMinute { window, ..LastMinute::default() };
            let minute = minutes.get(&*app.manifest.name).copied().unwrap_or(none);
            convert::component(app, traffic::status(minute), serving.began)
        };
        serving.slot.current().apps().map(component).collect()
    }

    fn stopping(&self) -> Option<StopStatus> {
        self.phase.stopping().map(|stop| StopStatus {
            asked_ms_ago: convert::millis(stop.began.elapsed()),
            deadline_ms: convert::millis(stop.deadline - stop.began),
        })
    }
}

/// Says how much memory each component has that is served.
fn memory_of(
    serving: watch::Receiver<Option<Serving>>,
) -> impl Fn() -> Vec<(Arc<str>, u64)> + Send + Sync + 'static {
    move || {
        let Some(Serving(served)) = serving.borrow().clone() else { return Vec::new() };
        let site = served.slot.current();
        site.apps().map(|app| (app.manifest.name.clone(), app.settings.all_memory.used())).collect()
    }
}

impl Host for Admin {
    fn status(&self) -> Status {
        let serving = self.serving();
        let components = serving.as_ref().map_or_else(Vec::new, |serving| self.components(serving));
        Status {
            schema: SCHEMA.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            pid: process::id(),
            uptime_ms: convert::millis(self.began.elapsed()),
            phase: self.phase.now().into(),
            stopping: self.stopping(),
            addresses: serving
                .as_ref()
                .map(|serving| serving.addresses.clone())
                .unwrap_or_default(),
            connections: convert::count(&self.connections()),
            traffic: traffic::status(self.window.all()),
            exchanges_in_flight: self.trackers.exchanges.in_flight() as u64,
            afterwork_in_flight: self.trackers.afterwork.in_flight() as u64,
            instances: InstanceCount {
                in_use: components.iter().map(|component| component.instances.in_use).sum(),
                limit: self.instances,
            },
            generations: self.generations(),
            rate_limits: serving.as_ref().map_or_else(Vec::new, |serving| {
                let limits = rate_limits::views(&serving.slot.current());
                limits.into_iter().map(Into::into).collect()
            }),
            tls: serving.as_ref().map_or_else(Vec::new, |serving| tls::listeners(&serving.swaps)),
            last_swap: serving.and_then(|serving| serving.swaps.last()).map(convert::last_swap),
            components,
            stores: self.seen.stores.troubles().into_iter().map(convert::store).collect(),
            limits: self.limits.clone(),
        }
    }

    fn connections(&self) -> Vec<ConnectionStatus> {
        host_net::connections(&self.trackers.connections)
            .into_iter()
            .map(convert::connection)
            .collect()
    }

    fn generations(&self) -> Vec<GenerationStatus> {
        let Some(serving) = self.serving() else { return Vec::new() };
        let canaries = serving.swaps.canaries();
        let listed = serving.swaps.generations().into_iter();
        listed.map(|info| convert::generation(info, &canaries)).collect()
    }

    fn traffic_report(&self) -> TrafficReport {
        traffic::report(&self.window, &self.seen.events, &self.trackers.exchanges)
    }

    fn usage(&self) -> Vec<UsageStatus> {
        self.usage.components().into_iter().map(convert::usage).collect()
    }

    fn buckets(&self) -> Vec<BucketStatus> {
        self.serving().map_or_else(Vec::new, |serving| keyvalue::list(&serving.apps()))
    }

    fn key_value(&self, name: BucketName, operation: BucketOperation) -> BucketFuture {
        let refused = |why: String| Err(BucketRefusal::Refused(why));
        let Some(serving) = self.serving() else {
            return Box::pin(ready(refused(NotNow::Starting.to_string())));
        };
        let found = match keyvalue::find(&serving.apps(), &name) {
            Ok(found) => found,
            Err(why) => return Box::pin(ready(Err(why))),
        };
        // Connections to a server live where guests run.
        let done = serving.runtime.spawn(found.carry_out(operation));
        Box::pin(async move {
            match done.await {
                Ok(answer) => answer,
                Err(why) if why.is_cancelled() => refused("the host is ending".into()),
                Err(why) => refused(why.to_string()),
            }
        })
    }

    fn history(&self, at_most: usize) -> TrafficHistory {
        traffic::history(self.window.history(at_most))
    }

    fn ticks(&self) -> watch::Receiver<u64> {
        self.window.ticks()
    }

    fn reload(&self) -> CommandFuture {
        self.ask(SwapCommand::Reload)
    }

    fn reload_tls(&self) -> CommandFuture {
        self.ask(SwapCommand::ReloadTls)
    }

    fn swap(
        &self,
        component: Option<String>,
        path: PathBuf,
        canary: Option<CanaryRequest>,
    ) -> CommandFuture {
        match convert::canary_choice(canary) {
            Ok(canary) => self.ask(SwapCommand::Swap(component, path, canary)),
            Err(why) => Box::pin(ready(ChangeOutcome::refused(why))),
        }
    }

    fn rollback(&self, component: Option<String>) -> CommandFuture {
        self.ask(SwapCommand::Rollback(component))
    }

    fn promote(&self, component: Option<String>) -> CommandFuture {
        self.ask(SwapCommand::Promote(component))
    }

    fn abort(&self, component: Option<String>) -> CommandFuture {
        self.ask(SwapCommand::Abort(component))
    }

    fn canaries(&self) -> Vec<CanaryStatus> {
        let Some(serving) = self.serving() else { return Vec::new() };
        serving.swaps.canaries().into_iter().map(convert::canary).collect()
    }

    fn upgrade(&self, request: UpgradeRequest) -> UpgradeFuture {
        let UpgradeRequest { binary, config, within_ms } = request;
        let within = within_ms.map(Duration::from_millis);
        let (upgrader, order) = (self.upgrader.clone(), UpgradeOrder { binary, config, within });
        Box::pin(async move {
            let upgraded = upgrader.upgrade(order).await;
            upgraded.map(convert::upgraded).map_err(|why| CommandError { error: why.to_string() })
        })
    }

    fn drain(&self) -> Result<(), CommandError> {
        self.commander.drain().map_err(convert::refusal)
    }

    fn undrain(&self) -> Result<(), CommandError> {
        self.commander.undrain().map_err(convert::refusal)
    }

    fn stop(&self, now: bool) -> Result<(), CommandError> {
        match self.upgrader.succeeded() {
            Some(why) if !now => return Err(CommandError { error: why.to_string() }),
            _ if now => self.commander.cut(Cause::Operator),
            _ => self.commander.stop(Cause::Operator),
        }
        Ok(())
    }

    fn progress(&self) -> StopProgress {
        let stopping = self.stopping();
        StopProgress {
            phase: self.phase.now().into(),
            elapsed_ms: stopping.map_or(0, |stop| stop.asked_ms_ago),
            deadline_ms: stopping.map(|stop| stop.deadline_ms),
            exchanges: self.trackers.exchanges.in_flight() as u64,
            connections: self.trackers.connections.in_flight() as u64,
            afterwork: self.trackers.afterwork.in_flight() as u64,
            upgrades: self.trackers.upgrades.in_flight() as u64,
        }
    }

    fn ended(&self) -> watch::Receiver<Option<StopEnd>> {
        self.ended.clone()
    }
}
