//! `host serve`, composed: reads like the list of what happens.

use std::io::{self, Write as _};
use std::process;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::component::{self, Cache, Generation, Slot};
use crate::config::{self, Address, Serve};
use crate::exit::Exit;
use crate::http::{self, Exchanges};
use crate::lifecycle::{self, Commander, Ending, Lifecycle, PhaseWatch, Plan, Ready};
use crate::log;
use crate::net::{self, Acceptor, Listener};

/// How the process may come to its end.
enum Outcome {
    Ended(Ending),
    NoStart(anyhow::Error),
}

/// Serves until stopped. Returns what the process should exit with, and leaves runtimes running:
/// their drop could wait for a guest that spins.
#[must_use]
pub fn run(config: &Serve) -> Exit {
    let log = log::start();
    let outcome = live(config).unwrap_or_else(Outcome::NoStart);
    let (exit, last_line) = match &outcome {
        Outcome::Ended(ending @ Ending::Stopped(report)) => (ending.into(), report.to_string()),
        Outcome::Ended(ending) => (ending.into(), "stopped before it was ready".to_owned()),
        Outcome::NoStart(why) => (Exit::NoStart, format!("host: cannot start: {why:#}")),
    };
    // What has been logged comes before the last line.
    drop(log);
    say_last(last_line);
    exit
}

/// The last line waits this long for a reader of stderr who does not read.
const LAST_LINE_PATIENCE: Duration = Duration::from_secs(1);

/// Writes the last line, on a thread that is left behind should nobody read it: the exit may not
/// hang.
fn say_last(line: String) {
    let (written, done) = mpsc::channel();
    let writer = thread::Builder::new().name("last-line".into()).spawn(move || {
        drop(writeln!(io::stderr(), "{line}"));
        written.send(()).ok();
    });
    if writer.is_ok() {
        done.recv_timeout(LAST_LINE_PATIENCE).ok();
    }
}

fn live(config: &Serve) -> anyhow::Result<Outcome> {
    let lifecycle = Lifecycle::arm().context("arming the signal handlers")?;
    let (watch, work) = (lifecycle.watch(), lifecycle.work());
    let (ended, outcome) = mpsc::channel();
    let commander = lifecycle.commander();
    let ready = lifecycle.run(plan(&config.stop), {
        let ended = ended.clone();
        // The main thread may have left with another outcome.
        move |ending| drop(ended.send(Outcome::Ended(ending)))
    })?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.threads.get())
        .thread_name("worker")
        .enable_all()
        .build()?;
    let start = start(config.clone(), ready, watch, work);
    runtime.spawn(async move {
        match tokio::spawn(start).await {
            Ok(Ok(doors)) => watch_over(doors, &commander).await,
            Ok(Err(why)) => drop(ended.send(Outcome::NoStart(why))),
            Err(why) => drop(ended.send(Outcome::NoStart(why.into()))),
        }
    });
    let outcome = outcome.recv().context("the lifecycle is gone")?;
    // Its threads may be in a guest that never yields.
    runtime.shutdown_background();
    Ok(outcome)
}

/// Raises the alarm when a listener's task has failed: nothing else ends one before a drain does.
async fn watch_over(mut doors: JoinSet<()>, commander: &Commander) {
    while let Some(door) = doors.join_next().await {
        if let Err(why) = door {
            error!(%why, "a listener has failed; stopping");
            commander.fail();
        }
    }
}

/// Bind, load, prove, listen, and say so. Gives the tasks of the listeners.
async fn start(
    config: Serve,
    ready: Ready,
    phase: PhaseWatch,
    work: lifecycle::Work,
) -> anyhow::Result<JoinSet<()>> {
    let listeners = bind(&config.addresses)?;
    check_descriptors(config.connection.connections);
    let generation = load(&config).await?;
    let slot = Slot::new(generation);
    let service = Exchanges::new(slot, phase.clone(), &work, exchange_limits(&config));
    let context = net::Context {
        phase,
        connections: work.connections.clone(),
        limits: connection_limits(&config),
    };
    let permits = Arc::new(Semaphore::new(config.connection.connections));
    let line = ready_line(&listeners);
    let tokens: Vec<_> = listeners.iter().map(|_| work.doors.token()).collect();
    // Before the first handshake is completed for us: from here on a stop drains.
    let mut doors = JoinSet::new();
    if !ready.announce() {
        return Ok(doors);
    }
    for listener in &listeners {
        listener.listen()?;
    }
    for (listener, token) in listeners.into_iter().zip(tokens) {
        let acceptor = Acceptor::new(listener, context.clone(), service.clone(), permits.clone())?;
        doors.spawn(acceptor.run(token));
    }
    say(&line);
    Ok(doors)
}

fn bind(addresses: &[Address]) -> anyhow::Result<Vec<Listener>> {
    addresses
        .iter()
        .map(|address| {
            let address = match address {
                Address::Tcp(address) => net::Address::Tcp(*address),
                Address::Unix(path) => net::Address::Unix(path),
            };
            Ok(net::bind(&address)?)
        })
        .collect()
}

/// Compiles off the threads that serve, then proves that an instance can be made.
async fn load(config: &Serve) -> anyhow::Result<Generation> {
    let (app, limits, cache) = (config.app.clone(), guest_limits(config), cache(&config.cache));
    let generation =
        tokio::task::spawn_blocking(move || component::load(&app, &limits, &cache)).await??;
    generation.prove().await.with_context(|| format!("{} does not start", config.app.display()))?;
    let (component, kind) = (generation.name(), generation.kind());
    info!(component, %kind, generation = generation.number(), "component is ready");
    Ok(generation)
}

/// `ready addr=127.0.0.1:8080 pid=4242`, with one `addr=` per listener.
fn ready_line(listeners: &[Listener]) -> String {
    let addresses: String =
        listeners.iter().map(|listener| format!("addr={} ", listener.address())).collect();
    format!("ready {addresses}pid={}", process::id())
}

/// The one line on stdout. Nobody reading it is no reason not to serve.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    if let Err(why) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        error!(%why, "the ready line could not be written");
    }
    info!("{line}");
}

/// Descriptors beside those of connections: listeners, log, epoll, the cache.
const DESCRIPTORS_OF_OUR_OWN: u64 = 64;

/// Warns when connections would run out of file descriptors before they reach their limit.
fn check_descriptors(connections: usize) {
    let limit = std::fs::read_to_string("/proc/self/limits").ok().and_then(|limits| {
        let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
        line.split_ascii_whitespace().nth(3)?.parse::<u64>().ok()
    });
    if let Some(limit) = limit
        && limit < connections as u64 + DESCRIPTORS_OF_OUR_OWN
    {
        warn!(
            limit,
            connections,
            "fewer file descriptors than connections allowed: raise `ulimit -n` (systemd: \
             LimitNOFILE=) or lower --max-connections"
        );
    }
}

fn plan(stop: &config::Stop) -> Plan {
    Plan { delay: stop.delay, timeout: stop.timeout }
}

fn guest_limits(config: &Serve) -> component::Limits {
    let config::GuestLimits { instances, memory, cpu } = config.guest;
    component::Limits { instances, memory, cpu, start: config.exchange.response_head }
}

fn exchange_limits(config: &Serve) -> http::Limits {
    let exchange = &config.exchange;
    http::Limits {
        instances: config.guest.instances,
        queue: exchange.queue,
        queue_wait: exchange.queue_wait,
        response_head: exchange.response_head,
        body_idle: exchange.body_idle,
        total: exchange.total,
        after: exchange.after,
        headers: config.connection.headers,
        request_body: exchange.request_body,
    }
}

fn connection_limits(config: &Serve) -> net::Limits {
    let connection = &config.connection;
    net::Limits {
        connections: connection.connections,
        head: connection.head,
        keep_alive: connection.keep_alive,
        stall: connection.body_idle,
        linger: config.stop.linger,
        header_size: connection.header_size,
        headers: connection.headers,
    }
}

/// The directory of the code cache: the one asked for, or the user's, or the system's for root
/// without a home.
fn cache(cache: &config::Cache) -> Cache {
    let directory = match cache {
        config::Cache::Off => return Cache::Off,
        config::Cache::Directory(directory) => return Cache::Directory(directory.clone()),
        config::Cache::Default => std::env::var_os("XDG_CACHE_HOME")
            .map(std::path::PathBuf::from)
            .or_else(|| Some(std::path::PathBuf::from(std::env::var_os("HOME")?).join(".cache"))),
    };
    Cache::Directory(directory.unwrap_or_else(|| "/var/cache".into()).join("host"))
}
