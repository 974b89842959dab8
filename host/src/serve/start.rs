//! The steps of a start. Each one takes what the step before has made, so that none can be left out or come
//! too early:
//!
//! ```text
//! Bound ──→ Loaded ──────────→ Announced ────────→ Listening ────→ tasks
//!    the addresses are     everything can      from here on     from here on
//!    ours, closed          serve               a stop drains    clients connect
//! ```

use std::io::{self, IsTerminal as _};
use std::num::NonZeroUsize;
use std::process;
use std::sync::Arc;

use anyhow::Context as _;
use host_certs::CertificateStore;
use host_clock::MinRate;
use host_handover::StopPoint;
use host_lifecycle::Ready;
use host_manifest::{MinRateConfig, Rate};
use host_net::{Acceptor, ClientBounds, ClientConnectionLimits, Listener, NetCounts};
use host_ratelimit::Burst;
use host_telemetry::EventKind;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{error, info};

use super::loading::{load_certificates, load_site, loader_config, site_builder};
use super::manager::{KeptSocket, Served};
use super::process::{LINE_PATIENCE, Process};
use super::sockets::{GivenSocket, GivenSockets, to_be_kept};
use super::swapping::Swapping;
use crate::admin::Serving;
use crate::cgroup;
use crate::component::Loader;
use crate::config::{ListenAddr, ListenConfig, ListenerConfig, Manifest, ServeConfig};
use crate::http::{Exchanges, Terms};
use crate::resources;
use crate::site::{ReloadScope, SiteBuilder, Slot};
use crate::supply::Supply;
use crate::upgrade::{Predecessor, Upgrader, prove};
use crate::watch::Watch;
use host_log::outlet;

/// Where a start tells operators, once, what is served.
pub(crate) type Announcement = watch::Sender<Option<Serving>>;

/// Binds, loads, proves, listens, and says so. Returns the tasks of the listeners and of swaps; none if a
/// stop came first.
pub(super) async fn start(
    config: ServeConfig,
    process: Process,
    sockets: GivenSockets,
    (ready, announcement): (Ready, Announcement),
) -> anyhow::Result<JoinSet<()>> {
    let certificates = load_certificates(&config).await?;
    process.upgrader.set_certificates(certificates.clone());
    let bound = Bound::bind(&config.manifest.listen, sockets, certificates)?;
    let loaded = bound.load(&config, &process).await?;
    let Some(announced) = loaded.announce(&config, &process, ready, &announcement) else {
        return Ok(JoinSet::new());
    };
    let listening = announced.listen()?;
    let (addresses, served) = (listening.addresses(), listening.served());
    let (tasks, kept) = listening.serve(&config, process.clone())?;
    let manager = process.manager;
    let ready = move || manager.ready(served, kept);
    match process.predecessor {
        None => {
            say_ready(&addresses).await;
            ready();
        }
        Some(predecessor) => {
            take_over(&predecessor, &process.upgrader).await?;
            let (pid, version) = predecessor.who();
            let from = format!("has taken over from process {pid}, host {version}");
            process.events.note(EventKind::Start, None, &from);
            say_ready(&addresses).await;
            let (upgrader, stores) = (process.upgrader, process.stores);
            let (phase, commander) = (process.phase, process.commander);
            // A stop of the service is one of both: when this process ends, a service manager kills what is left.
            let guard = process.trackers.upgrades.guard(Arc::new("the old process"));
            // It ends with the predecessor.
            drop(tokio::spawn(async move {
                let settled = || {
                    upgrader.gate().settle();
                    ready();
                };
                let heard = (&phase, &commander);
                let ended = predecessor.outlive(upgrader.offers(), heard, settled).await;
                stores.keep();
                drop(guard);
                if let Some(connections) = ended {
                    info!(connections, "upgrade: the old host has ended");
                }
            }));
        }
    }
    Ok(tasks)
}

/// Shows that everything serves, and takes over. From here on this process accepts.
async fn take_over(predecessor: &Predecessor, upgrader: &Upgrader) -> anyhow::Result<()> {
    StopPoint::NewLoaded.reached();
    prove(upgrader.offers()).await?;
    StopPoint::NewProved.reached();
    let tickets = upgrader.certificates().map(|certificates| certificates.tickets());
    predecessor.take_over(upgrader.gate(), tickets).await
}

/// The addresses are ours. No client can connect yet.
struct Bound {
    listeners: Vec<Listener>,
    certificates: Arc<CertificateStore>,
}

impl Bound {
    /// Listeners for which there is no socket are bound.
    fn bind(
        listen: &ListenConfig,
        sockets: GivenSockets,
        certificates: Arc<CertificateStore>,
    ) -> anyhow::Result<Self> {
        let listeners = listen.listeners.iter().zip(sockets).enumerate();
        let trusted = Arc::new(listen.trusted_proxies.clone());
        let bind = |(place, (listener, given)): (usize, (&ListenerConfig, _))| {
            let address = match &listener.address {
                ListenAddr::Tcp(address) => host_net::ListenAddress::Tcp(*address),
                ListenAddr::Unix(path) => host_net::ListenAddress::Unix(path),
            };
            let bound = match given {
                Some(GivenSocket { socket, giver }) => host_net::inherit(socket, &address, giver)?,
                None => host_net::bind(&address)?,
            };
            let bound = match listener.proxy_protocol {
                true => bound.with_proxy_protocol(trusted.clone()),
                false => bound,
            };
            Ok(match certificates.receiver(place) {
                Some(configs) => bound.with_tls(configs),
                None => bound,
            })
        };
        let listeners = listeners.map(bind).collect::<anyhow::Result<Vec<_>>>()?;
        host_net::warn_of_refusals(&listeners);
        Ok(Self { listeners, certificates })
    }

    /// Loads the first generations, with everything that a swap would ask of them.
    async fn load(self, config: &ServeConfig, process: &Process) -> anyhow::Result<Loaded> {
        let cgroup = cgroup::memory_limit();
        let memory = resources::memory(config, cgroup);
        let supply = Supply::new(&config.cache);
        let loading = loader_config(config, memory, cgroup, &supply)?;
        let loader = Arc::new(Loader::new(&loading));
        let scopes = [
            (ReloadScope::All, config.manifest.swap.watch),
            (ReloadScope::Certificates, !self.certificates.is_empty()),
        ];
        let scopes = scopes.into_iter().filter(|(_, watched)| *watched);
        let watches = scopes.map(|(scope, _)| Watch::start(scope)).collect::<Result<_, _>>();
        let watches = watches.context("watching files")?;
        let ticks = loading.clock.ticks();
        let builder = site_builder(config, process, memory, ticks, &supply).await?;
        let builder = builder.with_certificates(self.certificates);
        let slot = Arc::new(Slot::new(load_site(&builder, &loader).await?));
        Ok(Loaded { listeners: self.listeners, loader, builder, slot, watches, supply })
    }
}

/// Everything that is to be served has shown that it can.
struct Loaded {
    listeners: Vec<Listener>,
    loader: Arc<Loader>,
    builder: SiteBuilder,
    slot: Arc<Slot>,
    watches: Vec<Watch>,
    supply: Arc<Supply>,
}

impl Loaded {
    /// Says that the process is ready: from here on a stop drains, and waits for the token of each
    /// listener. None if a stop came first: then no client may be let in.
    fn announce(
        self,
        config: &ServeConfig,
        process: &Process,
        ready: Ready,
        announcement: &Announcement,
    ) -> Option<Announced> {
        let Self { listeners, loader, builder, slot, watches, supply } = self;
        let addresses = listeners.iter().map(Listener::address).collect();
        let swapping =
            Swapping::new(slot.clone(), (loader, builder), (watches, supply), config, process);
        let (swaps, runtime) = (swapping.swaps(), Handle::current());
        announcement.send_replace(Some(Serving::new(addresses, slot.clone(), swaps, runtime)));
        let with_token = |listener| (listener, process.trackers.listeners.token());
        let listeners = listeners.into_iter().map(with_token).collect();
        ready.announce().then_some(Announced { listeners, slot, swapping })
    }
}

/// A stop drains from now on, so it is safe to let clients in.
struct Announced {
    listeners: Vec<(Listener, TaskTrackerToken)>,
    slot: Arc<Slot>,
    swapping: Swapping,
}

impl Announced {
    /// Has the kernel complete handshakes: from here on clients connect.
    fn listen(mut self) -> anyhow::Result<Listening> {
        for (listener, _) in &mut self.listeners {
            listener.listen()?;
        }
        let Self { listeners, slot, swapping } = self;
        Ok(Listening { listeners, slot, swapping })
    }
}

/// Clients connect. Their requests wait in the queues of the listeners.
struct Listening {
    listeners: Vec<(Listener, TaskTrackerToken)>,
    slot: Arc<Slot>,
    swapping: Swapping,
}

impl Listening {
    fn addresses(&self) -> Vec<String> {
        self.listeners.iter().map(|(listener, _)| listener.address()).collect()
    }

    /// What is served, for whoever tells of it.
    fn served(&self) -> Served {
        let (slot, addresses) = (self.slot.clone(), self.listeners.len());
        Served { slot, addresses, outcomes: self.swapping.swaps().watch() }
    }

    /// Spawns what accepts connections, and what changes what is served.
    /// Gives what the service manager is to keep too.
    fn serve(
        self,
        config: &ServeConfig,
        process: Process,
    ) -> anyhow::Result<(JoinSet<()>, Vec<KeptSocket>)> {
        let Self { listeners, slot, swapping } = self;
        let mut tasks = JoinSet::new();
        let (manifest, trackers) = (&config.manifest, &process.trackers);
        let (phase, scarcity) = (process.phase.clone(), host_net::Scarcity::new());
        let flights = (trackers.exchanges.clone(), trackers.afterwork.clone());
        let observers = (process.traffic.clone(), process.observers.clone());
        let service = Exchanges::new(slot, flights, terms(manifest), scarcity.clone(), observers);
        let context = host_net::ConnectionContext {
            phase,
            gate: process.upgrader.gate().clone(),
            handing: process.upgrader.handing().clone(),
            connections: trackers.connections.clone(),
            counts: process.connections.clone(),
            limits: connection_limits(manifest),
            clients: client_bounds(manifest, process.connections.clone()),
            scarcity,
            room: host_net::Room::new(resources::connections(config), trackers.connections.clone()),
        };
        let mut kept = Vec::new();
        for ((listener, token), said) in listeners.into_iter().zip(&manifest.listen.listeners) {
            let acceptor = Acceptor::new(listener, context.clone(), service.clone())?;
            if process.manager.keeps_sockets() {
                kept.extend(to_be_kept(said, &acceptor.handle())?);
            }
            process.upgrader.offers().guests(&said.address, &acceptor);
            tasks.spawn(acceptor.run(token));
        }
        swapping.spawn(process, &mut tasks);
        Ok((tasks, kept))
    }
}

/// Prints the one line on stdout: `ready addr=127.0.0.1:8080 pid=4242`, with one `addr=` per listener. If it has no
/// reader, that is no reason not to serve. The log has it too, unless both are the terminal of the same person.
async fn say_ready(addresses: &[String]) {
    let each: String = addresses.iter().map(|address| format!("addr={address} ")).collect();
    let pid = process::id();
    let line = format!("ready {each}pid={pid}\n");
    let printed = outlet::to_stdout(line, LINE_PATIENCE).await;
    if let Err(why) = &printed {
        error!(%why, "the ready line could not be written");
    }
    if printed.is_err() || !(io::stdout().is_terminal() && io::stderr().is_terminal()) {
        info!(addr = addresses.join(", "), pid, "ready");
    }
}

fn terms(manifest: &Manifest) -> Terms {
    let connection = &manifest.connection;
    Terms {
        headers: connection.headers,
        min_rate: connection.min_rate.map(min_rate),
        prefetch: connection.prefetch,
        encoders: resources::encoders(),
        trusted: Arc::new(manifest.listen.trusted_proxies.clone()),
    }
}

fn connection_limits(manifest: &Manifest) -> host_net::PeerLimits {
    let connection = &manifest.connection;
    host_net::PeerLimits {
        head: connection.head,
        handshake: connection.handshake,
        keep_alive: connection.keep_alive,
        stall: connection.body_idle,
        min_rate: connection.min_rate.map(min_rate),
        linger: manifest.stop.linger,
        header_size: connection.header_size,
        headers: connection.headers,
    }
}

fn client_bounds(manifest: &Manifest, counts: NetCounts) -> Arc<ClientBounds> {
    let (connection, trusted) = (&manifest.connection, &manifest.listen.trusted_proxies);
    let burst = |rate: Rate| Burst { of: rate.count, refilled_in: rate.refills(rate.count) };
    let limits = ClientConnectionLimits {
        connections: connection.per_client.and_then(NonZeroUsize::new),
        rate: connection.client_rate.map(burst),
        accept_rate: connection.accept_rate.map(burst),
        // A trusted proxy brings the connections of many.
        exempt: (!trusted.is_empty()).then(|| {
            let trusted = trusted.clone();
            Box::new(move |address| trusted.has(Some(address))) as _
        }),
    };
    ClientBounds::new(limits, counts)
}

fn min_rate(config: MinRateConfig) -> MinRate {
    let MinRateConfig { bytes_per_second, window, grace } = config;
    MinRate { bytes_per_second, window, grace }
}
