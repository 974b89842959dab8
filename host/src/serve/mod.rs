//! `host serve`, composed: reads like the list of what happens.

mod expiry;
mod loading;
mod logs;
mod manager;
mod process;
mod sockets;
mod start;
mod swapping;
mod traces;

use std::io::Write as _;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use anyhow::Context as _;
use host_handover::StopPoint;
use host_keyvalue::Stores;
use host_lifecycle::{AcceptGate, Commander, Ending, Lifecycle, StopPlan};
use host_log::outlet;
use host_manifest::escape;
use host_net::{Handing, NetCounts};
use host_system::{descriptors, huge_pages};
use host_systemd::{HandedError, HandedSockets};
use host_telemetry::{EventLog, Observer, Observers, Traffic};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tracing::{error, warn};
use tracing_subscriber::EnvFilter;

use crate::admin::{AdminServers, Seen};
use crate::config::ServeConfig;
use crate::exit::Exit;
use crate::resources;
use crate::terminal;
use crate::upgrade::{Offers, OwnProgram, Predecessor, ToldOfUpgrade, UpgradeParts, Upgrader};

use logs::Logs;
use manager::ServiceManager;
use process::{LINE_PATIENCE, Process};
use sockets::{GivenSockets, given_sockets, taken_over};
use traces::Traces;

pub(crate) use expiry::trouble as certificate_trouble;
pub(crate) use loading::loader_config;

/// How the process comes to its end.
enum ProcessEnding {
    Ended(Ending),
    NoStart(anyhow::Error),
}

/// Serves until stopped, and logs what `log_filter` lets pass. Listeners use the `sockets` that are for them. Returns what
/// the process should exit with, and leaves runtimes running: their drop could wait for a guest that spins.
#[must_use]
pub fn run(
    config: &ServeConfig,
    log_filter: EnvFilter,
    sockets: Result<HandedSockets, HandedError>,
) -> Exit {
    let Equipped { lifecycle, runtime, logs, traces } = match Equipped::equip(config, log_filter) {
        Ok(equipped) => equipped,
        Err(why) => {
            let why = format!("host: cannot start: {why:#}");
            if Predecessor::is_named() {
                Predecessor::refuse(&why);
            }
            return complain_without_log(&why);
        }
    };
    let takes_over = Predecessor::is_named();
    let manager = ServiceManager::begin(config, &lifecycle, runtime.handle(), takes_over);
    let stores = Stores::default();
    let given = given(sockets, config, (&runtime, &manager), &stores);
    let predecessor = given.as_ref().ok().and_then(|given| given.predecessor.clone());
    let (ending, servers) = live(config, (lifecycle, &logs, &traces), given, (&runtime, &manager));
    if let Some(predecessor) = predecessor {
        // It hears nothing where it has ended, or has been taken over from.
        runtime.block_on(predecessor.say_no(&ending.exit_and_last_line().1));
    }
    // Its threads may be in a guest that never yields.
    runtime.shutdown_background();
    let (exit, last_line) = ending.exit_and_last_line();
    // What serves is not dropped: operators are still answered.
    stores.close();
    if !host_keyvalue::wait_until_closed(CLOSE_PATIENCE) {
        warn!("a key-value database is not closed yet; the next start will check it");
    }
    traces.end();
    manager.ended(&last_line, matches!(ending, ProcessEnding::Ended(_)));
    logs.end(&last_line);
    if let Some(servers) = servers {
        servers.end(exit, last_line);
    }
    exit
}

/// What this process is handed before it starts.
struct GivenStart {
    sockets: GivenSockets,
    predecessor: Option<Arc<Predecessor>>,
    stores: Stores,
}

/// What a predecessor hands over, or else the service manager.
fn given(
    sockets: Result<HandedSockets, HandedError>,
    config: &ServeConfig,
    (runtime, manager): (&Runtime, &ServiceManager),
    stores: &Stores,
) -> anyhow::Result<GivenStart> {
    let predecessor = Predecessor::meet(runtime.handle())?.map(Arc::new);
    let sockets = match &predecessor {
        Some(predecessor) => taken_over(predecessor, config),
        None => given_sockets(sockets?, config, manager)?,
    };
    Ok(GivenStart { sockets, predecessor, stores: stores.clone() })
}

/// Signals are heard, and all threads are known to be there. From here on there is a log.
struct Equipped {
    lifecycle: Lifecycle,
    runtime: Runtime,
    logs: Logs,
    traces: Traces,
}

impl Equipped {
    fn equip(config: &ServeConfig, log_filter: EnvFilter) -> anyhow::Result<Self> {
        // Where it fails there are none.
        drop(huge_pages::disable());
        descriptors::hold_back();
        let descriptors = descriptors::raise();
        let lifecycle = Lifecycle::arm().context("arming the signal handlers")?;
        let runtime = resources::runtime(config)?;
        let logs = Logs::open(&config.manifest.log, log_filter)?;
        logs.reopen_on_signal(&lifecycle);
        let traces = Traces::start(&config.manifest.log.trace)?;
        resources::say_descriptors(config, descriptors);
        Ok(Self { lifecycle, runtime, logs, traces })
    }
}

impl ProcessEnding {
    fn exit_and_last_line(&self) -> (Exit, String) {
        match self {
            Self::Ended(ending @ Ending::Stopped(report)) => (ending.into(), report.to_string()),
            Self::Ended(ending @ Ending::BeforeReady) => {
                (ending.into(), "stopped before it was ready".to_owned())
            }
            Self::Ended(ending @ Ending::Broken) => (
                ending.into(),
                "host: failed: the thread that carries out stops has panicked".to_owned(),
            ),
            Self::NoStart(why) => (Exit::NoStart, format!("host: cannot start: {why:#}")),
        }
    }
}

/// Databases have this long at the end to be closed. What they have acknowledged is on the disk already.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Says why nothing runs where there is no log yet.
fn complain_without_log(why: &str) -> Exit {
    // If stderr is closed, there is no reader to tell.
    let line = format!("{}\n", escape::lines(why));
    drop(outlet::stderr().within(LINE_PATIENCE).write_all(line.as_bytes()));
    Exit::NoStart
}

/// A start that is given up lets go of what it has bound within this time: a guest yields every few
/// milliseconds.
const UNSTART_PATIENCE: Duration = Duration::from_secs(1);

/// Lives from armed signals to the ending. Returns the servers of operators too, if they were opened:
/// they are still open.
fn live(
    config: &ServeConfig,
    (lifecycle, logs, traces): (Lifecycle, &Logs, &Traces),
    given: anyhow::Result<GivenStart>,
    (runtime, manager): (&Runtime, &ServiceManager),
) -> (ProcessEnding, Option<AdminServers>) {
    let opened =
        given.and_then(|given| Armed::open(config, lifecycle, (logs, traces), (given, manager)));
    let (armed, servers) = match opened {
        Ok(armed) => armed,
        Err(why) => return (ProcessEnding::NoStart(why), None),
    };
    let ending = armed.serve(config, runtime).unwrap_or_else(ProcessEnding::NoStart);
    (ending, Some(servers))
}

/// Signals are heard and operators are answered. Nothing has been loaded.
struct Armed {
    lifecycle: Lifecycle,
    process: Process,
    announcement: start::Announcement,
    sockets: GivenSockets,
}

impl Armed {
    fn open(
        config: &ServeConfig,
        lifecycle: Lifecycle,
        (logs, traces): (&Logs, &Traces),
        (given, manager): (GivenStart, &ServiceManager),
    ) -> anyhow::Result<(Self, AdminServers)> {
        host_clock::start().context("starting the thread that notices lost time")?;
        let GivenStart { sockets, predecessor, stores } = given;
        if predecessor.is_some() {
            // It has the same databases.
            stores.share();
        }
        let upgrader = upgrader(config, &lifecycle, (&stores, manager), predecessor.is_none());
        let (traffic, events) = (Arc::<Traffic>::default(), EventLog::default());
        let connections = NetCounts::default();
        let seen = Seen {
            stores: stores.clone(),
            traffic: traffic.clone(),
            events: events.clone(),
            logs: logs.counts(),
            spans: traces.counts(),
            connections: connections.clone(),
        };
        let upgrades = (upgrader.clone(), predecessor.as_deref());
        let (servers, announcement) = AdminServers::open(config, &lifecycle, seen, upgrades)?;
        if predecessor.is_some() {
            StopPoint::NewArmed.reached();
        }
        // It ends with the lifecycle's runtime: at the end of the process.
        drop(lifecycle.runtime().spawn(upgrader.clone().upgrade_on(lifecycle.upgrades())));
        let process = Process {
            guest_logs: logs.guests(),
            observers: observers(&traffic, logs, traces),
            traffic,
            connections,
            events,
            operators: servers.addresses(),
            stores,
            phase: lifecycle.watch(),
            upgrader,
            predecessor,
            trackers: lifecycle.trackers(),
            commander: lifecycle.commander(),
            hangups: lifecycle.hangups(),
            manager: manager.clone(),
        };
        Ok((Self { lifecycle, process, announcement, sockets }, servers))
    }

    /// Starts to serve, and waits for the ending.
    fn serve(self, config: &ServeConfig, runtime: &Runtime) -> anyhow::Result<ProcessEnding> {
        let Self { lifecycle, process, announcement, sockets } = self;
        let (ended, ending) = mpsc::channel();
        let ready = lifecycle.run(plan(&config.manifest.stop), terminal::progress_line, {
            let ended = ended.clone();
            // The main thread may have left with another ending.
            move |ending| drop(ended.send(ProcessEnding::Ended(ending)))
        })?;
        let commander = process.commander.clone();
        // Ends with the runtime, at the end of the process.
        runtime.spawn(process.stores.clone().keep_sweeping());
        let start = start::start(config.clone(), process, sockets, (ready, announcement));
        let start = runtime.spawn(start);
        let unstarted = start.abort_handle();
        runtime.spawn(async move {
            match start.await {
                Ok(Ok(tasks)) => watch_over(tasks, &commander).await,
                Ok(Err(why)) => drop(ended.send(ProcessEnding::NoStart(why))),
                Err(why) => drop(ended.send(ProcessEnding::NoStart(why.into()))),
            }
        });
        let first = ending.recv().context("the lifecycle is gone")?;
        if matches!(first, ProcessEnding::Ended(Ending::BeforeReady)) {
            // Paths of Unix sockets go with the listeners, and those with what was to serve them.
            unstarted.abort();
            drop(ending.recv_timeout(UNSTART_PATIENCE));
        }
        Ok(first)
    }
}

/// What has another process take over from this one, which accepts from the start if it `is_first`.
fn upgrader(
    config: &ServeConfig,
    lifecycle: &Lifecycle,
    (stores, manager): (&Stores, &ServiceManager),
    is_first: bool,
) -> Upgrader {
    let [manager, hushed] = std::array::from_fn(|_| manager.clone());
    Upgrader::new(UpgradeParts {
        own: OwnProgram::of(config),
        offers: Offers::default(),
        gate: AcceptGate::new(is_first),
        handing: Handing::default(),
        stores: stores.clone(),
        phase: lifecycle.watch(),
        trackers: lifecycle.trackers(),
        commander: lifecycle.commander(),
        certificates: OnceLock::new(),
        told: ToldOfUpgrade {
            hands_over: Box::new(move |yes| hushed.hush(yes)),
            settled: Box::new(move |pid| manager.succeeded_by(pid)),
        },
        running: Mutex::default(),
        succeeded_by: OnceLock::new(),
    })
}

/// Raises the alarm when the task of a listener or of swaps has failed: nothing else ends one before
/// a drain does.
async fn watch_over(mut tasks: JoinSet<()>, commander: &Commander) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(why) = ended {
            error!(%why, "a task has failed that the process cannot do without; stopping");
            commander.fail();
        }
    }
}

/// Who is told of each exchange that ends.
fn observers(traffic: &Arc<Traffic>, logs: &Logs, traces: &Traces) -> Observers {
    let mut observers: Vec<Arc<dyn Observer>> = vec![traffic.clone()];
    observers.extend(logs.access().map(|access| Arc::new(access) as _));
    observers.extend(traces.observer());
    Observers::new(observers)
}

fn plan(stop: &host_manifest::StopConfig) -> StopPlan {
    StopPlan { delay: stop.delay, timeout: stop.timeout }
}
