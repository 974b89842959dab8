//! `host serve`, composed: reads like the list of what happens.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context as _;
use host_keyvalue::Stores;
use host_manifest::escape;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use crate::advice;
use crate::component::{
    CodeCacheSetting, CpuScheduler, EpochClock, IdleRoom, Keeper, Loader, LoaderConfig,
    MemoryBudget, ShutdownGrant,
};
use crate::config::{self, ListenAddr, Manifest, ServeConfig};
use crate::descriptors;
use crate::exit::Exit;
use crate::http::{Exchanges, Terms};
use crate::lifecycle::{
    self, Cause, Commander, Ending, Hangups, Lifecycle, Phase, PhaseWatch, Ready, StopPlan, Tracker,
};
use crate::log;
use crate::net::{self, Acceptor, Listener};
use crate::operate::{self, Operations, Operator};
use crate::outfit::Outfit;
use crate::outlet;
use crate::progress;
use crate::resources;
use crate::site::{
    Reloads, RetirementPolicy, Site, SiteBuilder, Slot, SwapOutcome, Swapper, Swaps, Trigger,
};
use crate::terminal;
use crate::threads;
use crate::watch::Watch;

/// How the process may come to its end.
enum Outcome {
    Ended(Ending),
    NoStart(anyhow::Error),
}

/// Serves until stopped, and logs what `log_filter` lets pass. Returns what the process should exit
/// with, and leaves runtimes running: their drop could wait for a guest that spins.
#[must_use]
pub fn run(config: &ServeConfig, log_filter: EnvFilter) -> Exit {
    descriptors::hold_back();
    let descriptors = descriptors::raise();
    if let Err(why) = threads::check(resources::threads(config)) {
        return say_without_log(&format!("host: cannot start: {why}"));
    }
    let log = match log::start(log_filter) {
        Ok(log) => log,
        Err(why) => {
            return say_without_log(&format!("host: cannot start: no thread for the log: {why}"));
        }
    };
    resources::say_descriptors(config, descriptors);
    let mut operations = None;
    let outcome = live(config, &mut operations).unwrap_or_else(Outcome::NoStart);
    let (exit, last_line) = match &outcome {
        Outcome::Ended(ending @ Ending::Stopped(report)) => (ending.into(), report.to_string()),
        Outcome::Ended(ending @ Ending::BeforeReady) => {
            (ending.into(), "stopped before it was ready".to_owned())
        }
        Outcome::Ended(ending @ Ending::Broken) => (
            ending.into(),
            "host: failed: the thread that carries out stops has panicked".to_owned(),
        ),
        Outcome::NoStart(why) => (Exit::NoStart, format!("host: cannot start: {why:#}")),
    };
    if !host_keyvalue::wait_until_closed(CLOSE_PATIENCE) {
        warn!("a key-value database is not closed yet; the next start will check it");
    }
    log.end(&last_line);
    if let Some(operations) = operations {
        operations.end(exit, last_line);
    }
    exit
}

/// Databases that are being closed, because nobody uses them any more, have this long at the end. What
/// they have acknowledged is on the disk already.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// A line waits this long for a reader who does not read: neither start nor end may hang.
const LINE_PATIENCE: Duration = Duration::from_secs(1);

/// Says why nothing runs where there is no log yet.
fn say_without_log(why: &str) -> Exit {
    // Whoever closed our stderr does not want to read it.
    let line = format!("{}\n", escape::lines(why));
    drop(outlet::stderr().within(LINE_PATIENCE).write_all(line.as_bytes()));
    Exit::NoStart
}

/// A start that is given up lets go of what it has bound within this time: a guest yields every few
/// milliseconds.
const UNSTART_PATIENCE: Duration = Duration::from_secs(1);

/// Lives from armed signals to the outcome. What operators use is left in `operations`, open.
fn live(config: &ServeConfig, operations: &mut Option<Operations>) -> anyhow::Result<Outcome> {
    let lifecycle = Lifecycle::arm().context("arming the signal handlers")?;
    host_clock::start().context("starting the thread that notices lost time")?;
    let mut process = Process {
        health: None,
        phase: lifecycle.watch(),
        trackers: lifecycle.trackers(),
        commander: lifecycle.commander(),
        hangups: lifecycle.hangups(),
    };
    let (ended, outcome) = mpsc::channel();
    let commander = process.commander.clone();
    let operations =
        operations.insert(operate::open(config, resources::connections(config), &lifecycle)?);
    process.health = operations.health();
    let operator = operations.operator();
    let ready = lifecycle.run(plan(&config.manifest.stop), terminal::progress_line, {
        let ended = ended.clone();
        // The main thread may have left with another outcome.
        move |ending| drop(ended.send(Outcome::Ended(ending)))
    })?;

    let runtime = threads::runtime(config.threads.get())?;
    let start = runtime.spawn(start(config.clone(), ready, process, operator));
    let unstarted = start.abort_handle();
    runtime.spawn(async move {
        match start.await {
            Ok(Ok(doors)) => watch_over(doors, &commander).await,
            Ok(Err(why)) => drop(ended.send(Outcome::NoStart(why))),
            Err(why) => drop(ended.send(Outcome::NoStart(why.into()))),
        }
    });
    let ending = outcome.recv().context("the lifecycle is gone")?;
    if matches!(ending, Outcome::Ended(Ending::BeforeReady)) {
        // Paths of Unix sockets go with the listeners, and those with what was to serve them.
        unstarted.abort();
        drop(outcome.recv_timeout(UNSTART_PATIENCE));
    }
    // Its threads may be in a guest that never yields.
    runtime.shutdown_background();
    Ok(ending)
}

/// Raises the alarm when the task of a listener or of swaps has failed: nothing else ends one before
/// a drain does.
async fn watch_over(mut doors: JoinSet<()>, commander: &Commander) {
    while let Some(door) = doors.join_next().await {
        if let Err(why) = door {
            error!(%why, "a task has failed that the process cannot do without; stopping");
            commander.fail();
        }
    }
}

/// What the rest of the process has of the lifecycle.
#[derive(Clone)]
struct Process {
    /// Where health is answered: no guest may ask there.
    health: Option<SocketAddr>,
    phase: PhaseWatch,
    trackers: lifecycle::Trackers,
    commander: Commander,
    hangups: Hangups,
}

/// Bind, load, prove, listen, and say so. Gives the tasks of the listeners and of swaps.
async fn start(
    config: ServeConfig,
    ready: Ready,
    process: Process,
    operator: Arc<Operator>,
) -> anyhow::Result<JoinSet<()>> {
    let manifest = &config.manifest;
    let mut listeners = bind(&manifest.listen.addresses)?;
    net::warn_of_refusals(&listeners);
    let memory = resources::memory(&config);
    let Process { phase, trackers, .. } = process.clone();
    let loader = Arc::new(Loader::new(&workshop(&config, memory)?));
    let watch = manifest.swap.watch.then(Watch::start).transpose().context("watching files")?;
    let stores = Stores::default();
    operator.keeps(stores.clone());
    let builder = site_builder(&config, &process, (stores, memory));
    let slot = Arc::new(Slot::new(load(&builder, &loader).await?));
    let scarcity = net::Scarcity::new();
    let service = Exchanges::new(slot.clone(), &trackers, terms(manifest), scarcity.clone());
    let context = net::Context {
        phase,
        connections: trackers.connections.clone(),
        limits: connection_limits(manifest),
        scarcity,
    };
    let room = net::Room::new(resources::connections(&config), trackers.connections.clone());
    let line = ready_line(&listeners);
    operator.listens(listeners.iter().map(Listener::address).collect());
    let tokens: Vec<_> = listeners.iter().map(|_| trackers.listeners.token()).collect();
    // Before the first handshake is completed for us: from here on a stop drains.
    let mut doors = JoinSet::new();
    if !ready.announce() {
        return Ok(doors);
    }
    for listener in &mut listeners {
        listener.listen()?;
    }
    for (listener, token) in listeners.into_iter().zip(tokens) {
        let acceptor = Acceptor::new(listener, context.clone(), service.clone(), room.clone())?;
        doors.spawn(acceptor.run(token));
    }
    operator.serves(slot.clone());
    let changes = Changes { slot, loader, builder, watch };
    operator.swaps(swap_when_asked(changes, &config, &process, &mut doors));
    say(&line).await;
    Ok(doors)
}

/// Lets components be in flight without knowing what that means.
fn keeper(tracker: Tracker) -> Keeper {
    Keeper::new(move |what| Box::new(tracker.guard(Arc::new(what))))
}

/// What it takes to change what is served.
struct Changes {
    slot: Arc<Slot>,
    loader: Arc<Loader>,
    builder: SiteBuilder,
    watch: Option<Watch>,
}

/// Starts what carries out swaps, and what asks for them, among the `tasks` that are watched over.
fn swap_when_asked(
    changes: Changes,
    config: &ServeConfig,
    process: &Process,
    tasks: &mut JoinSet<()>,
) -> Swaps {
    let swap = &config.manifest.swap;
    let policy = RetirementPolicy { timeout: swap.retire, at_most: swap.retired };
    let stopping = CancellationToken::new();
    let keeper = keeper(process.trackers.swaps.clone());
    let Changes { slot, loader, builder, watch } = changes;
    let (swapper, swaps) =
        Swapper::new(slot.clone(), loader, builder, policy, stopping.clone(), keeper);
    tasks.spawn(swapper.run());
    tasks.spawn(tell_guests_of_the_stop(swaps.clone(), process.phase.clone(), stopping));
    tasks.spawn(reload_on_hangup(swaps.clone(), process.hangups.clone()));
    if config.file.is_some() {
        tasks.spawn(advise(swaps.clone(), slot));
    }
    if let Some(watch) = watch {
        tasks.spawn(watch.run(swaps.clone()));
    }
    swaps
}

async fn tell_guests_of_the_stop(swaps: Swaps, phase: PhaseWatch, stopping: CancellationToken) {
    let stop = phase.stop_asked().await;
    stopping.cancel();
    phase.reached(Phase::Draining).await;
    swaps.end_all(stop.deadline);
    phase.reached(Phase::Cut).await;
    swaps.cut_all();
}

async fn reload_on_hangup(swaps: Swaps, hangups: Hangups) {
    let mut reloads = Reloads::new(swaps, Trigger::Hangup);
    loop {
        tokio::select! {
            () = hangups.next() => reloads.ask(),
            // It is in the log.
            outcome = reloads.next() => drop(outcome),
        }
    }
}

/// Says what is served to no purpose: at the start, and after each change.
async fn advise(swaps: Swaps, slot: Arc<Slot>) {
    let mut outcomes = swaps.watch();
    loop {
        for advice in advice::of_what_serves(&slot) {
            warn!("{advice}");
        }
        loop {
            if outcomes.changed().await.is_err() {
                return;
            }
            let last = outcomes.borrow_and_update();
            if last.as_ref().is_some_and(|last| !matches!(last.outcome, SwapOutcome::Rejected(_))) {
                break;
            }
        }
    }
}

fn bind(addresses: &[ListenAddr]) -> anyhow::Result<Vec<Listener>> {
    addresses
        .iter()
        .map(|address| {
            let address = match address {
                ListenAddr::Tcp(address) => net::Address::Tcp(*address),
                ListenAddr::Unix(path) => net::Address::Unix(path),
            };
            Ok(net::bind(&address)?)
        })
        .collect()
}

/// Loads the first generations, with everything that a swap would ask of them.
pub(crate) async fn load(builder: &SiteBuilder, loader: &Arc<Loader>) -> anyhow::Result<Site> {
    let site = builder.build(loader).await?;
    for app in site.apps() {
        let (component, kind) = (app.generation.name(), app.generation.kind());
        info!(component, %kind, generation = app.generation.number(), "component is ready");
    }
    Ok(site)
}

/// `ready addr=127.0.0.1:8080 pid=4242`, with one `addr=` per listener.
fn ready_line(listeners: &[Listener]) -> String {
    let addresses: String =
        listeners.iter().map(|listener| format!("addr={} ", listener.address())).collect();
    format!("ready {addresses}pid={}", process::id())
}

/// The one line on stdout. Nobody reading it is no reason not to serve.
async fn say(line: &str) {
    if let Err(why) = outlet::to_stdout(format!("{line}\n"), LINE_PATIENCE).await {
        error!(%why, "the ready line could not be written");
    }
    info!("{line}");
}

fn plan(stop: &host_manifest::StopConfig) -> StopPlan {
    StopPlan { delay: stop.delay, timeout: stop.timeout }
}

/// What all loads have in common. `memory`: of all guests together.
pub(crate) fn workshop(config: &ServeConfig, memory: Option<u64>) -> anyhow::Result<LoaderConfig> {
    let manifest = &config.manifest;
    // Idle instances stay in the pool beside those that bulkheads count, as many at most. A manifest may
    // come to say so at a reload.
    let reuses = config.file.is_some()
        || manifest.components.values().any(|component| component.reuse.is_some());
    let times = if reuses { 2 } else { 1 };
    Ok(LoaderConfig {
        instances: manifest.total.instances.saturating_mul(times),
        cache: cache(&config.cache),
        bounds: resources::compile(manifest.swap.compile, manifest.swap.compile_memory),
        largest: resources::file(manifest.swap.compile_memory),
        memory,
        report: progress::log,
        clock: EpochClock::start().context("the clock of guests")?,
    })
}

/// What makes of the manifest what is served, now and at every reload.
fn site_builder(
    config: &ServeConfig,
    process: &Process,
    (stores, memory): (Stores, Option<u64>),
) -> SiteBuilder {
    let commander = process.commander.clone();
    let outfit = Outfit {
        named: config.file.is_some(),
        keeper: keeper(process.trackers.instances.clone()),
        memory: MemoryBudget::new(memory, None),
        idle: IdleRoom::new(config.manifest.total.instances),
        turns: CpuScheduler::new(config.threads.get()),
        shutdown: ShutdownGrant::new(move || commander.stop(Cause::Guest)),
        stores,
        forbidden: process.health.into_iter().collect(),
        look: false,
    };
    outfit.site_builder(config)
}

fn terms(manifest: &Manifest) -> Terms {
    let connection = &manifest.connection;
    Terms {
        headers: connection.headers,
        min_rate: connection.min_rate,
        prefetch: connection.prefetch,
    }
}

fn connection_limits(manifest: &Manifest) -> net::Limits {
    let connection = &manifest.connection;
    net::Limits {
        head: connection.head,
        keep_alive: connection.keep_alive,
        stall: connection.body_idle,
        min_rate: connection.min_rate,
        linger: manifest.stop.linger,
        header_size: connection.header_size,
        headers: connection.headers,
    }
}

fn cache(cache: &config::CacheSetting) -> CodeCacheSetting {
    cache.directory().map_or(CodeCacheSetting::Off, CodeCacheSetting::Directory)
}
