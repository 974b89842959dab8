//! What is served, checked: every default filled in, every reference resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use host_forwarded::TrustedProxies;
use strum::{Display, EnumString, VariantNames};

use crate::canary::CanaryConfig;
use crate::compress::CompressConfig;
use crate::config_values::WasiConfigValues;
use crate::grants::GrantsConfig;
use crate::headers::RouteHeaders;
use crate::listener::ListenerConfig;
use crate::log::LogConfig;
use crate::rate_limit::{Rate, RateLimitConfig};
use crate::registry::{RegistryConfig, TrustConfig};
use crate::routes::RoutePattern;
use crate::units::{MinRateConfig, SmokeCheck};

/// A manifest in force. `host serve app.wasm` makes one of a single component from its flags.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Where the process listens and is operated. Stays until a restart.
    pub listen: ListenConfig,
    /// Deadlines of a stop. Stay until a restart.
    pub stop: StopConfig,
    /// What connections may do. Stays until a restart.
    pub connection: ConnectionLimits,
    /// Bounds of all components together. Stay until a restart.
    pub total: TotalLimits,
    /// How a swap goes. Stays until a restart.
    pub swap: SwapConfig,
    /// What is logged, how, and where it goes. Stays until a restart.
    pub log: LogConfig,
    /// How registries are spoken to.
    pub registry: RegistryConfig,
    /// Who has to vouch for components.
    pub trust: TrustConfig,
    /// What can serve, by name.
    pub components: BTreeMap<Arc<str>, ComponentConfig>,
    /// Which requests go where, in the order of the file.
    pub routes: Vec<Route>,
    /// Where each component begins; empty if there is no file.
    pub places: BTreeMap<Arc<str>, ManifestPlace>,
}

/// A place in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestPlace {
    /// The file: the manifest's, or one that it includes.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

/// What is to be known beside the text of a manifest: what it does not say, or not any more.
#[derive(Clone, Debug)]
pub struct LoadContext {
    /// Files and directories of the process that no guest may change, with what to call them in a
    /// sentence: `the code cache`.
    pub own: Vec<(String, PathBuf)>,
    /// Bounds that are in force whatever the manifest says now; those of the manifest if none.
    pub total: Option<TotalLimits>,
    /// Whether a source that is no file can be pulled from; else what to write.
    pub check_remote: fn(&str) -> Result<(), String>,
}

impl Default for LoadContext {
    /// Every source will do.
    fn default() -> Self {
        Self { own: Vec::new(), total: None, check_remote: |_| Ok(()) }
    }
}

/// Where a process listens, and how it is operated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// At least one.
    pub listeners: Vec<ListenerConfig>,
    /// The control socket; none if the manifest does not say, the path `off` if there shall be none.
    pub control: Option<PathBuf>,
    /// Where health is answered, if it is.
    pub health: Option<SocketAddr>,
    /// Where the dashboard is shown, if it is.
    pub dashboard: Option<SocketAddr>,
    /// Whom the host believes who the client is.
    pub trusted_proxies: TrustedProxies,
}

impl ListenConfig {
    /// Whether `[listen]` says the same here and there.
    #[must_use]
    pub fn is_same_table(&self, other: &Self) -> bool {
        let table = |it: &Self| {
            let mut table = it.clone();
            table.listeners.retain(ListenerConfig::is_short);
            table
        };
        table(self) == table(other)
    }

    /// What the listeners are called, here or there, that a reload of the tables `[[listener]]` cannot make the
    /// other ones. Which certificates are whose goes by their order.
    #[must_use]
    pub fn other_listeners(&self, other: &Self) -> BTreeSet<String> {
        let tables = |it: &Self| {
            let tables = it.listeners.iter().filter(|listener| !listener.is_short());
            tables.cloned().collect::<Vec<_>>()
        };
        let (ours, theirs) = (tables(self), tables(other));
        let pairs = (0..ours.len().max(theirs.len())).map(|at| (ours.get(at), theirs.get(at)));
        let others = pairs.filter(|pair| match pair {
            (Some(one), Some(other)) => !one.is_same_place(other),
            _ => true,
        });
        others.flat_map(|(one, other)| [one, other]).flatten().map(ListenerConfig::label).collect()
    }
}

/// Deadlines of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopConfig {
    /// Not ready, but still accepting, for this long.
    pub delay: Duration,
    /// From the signal to the cut; the delay is part of it.
    pub timeout: Duration,
    /// An idle kept-alive connection may still send its next request for this long.
    pub linger: Duration,
}

/// Limits of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open at once, over all listeners.
    pub connections: usize,
    /// Open at once, of one client; as many as there are if none.
    pub per_client: Option<usize>,
    /// New ones, of all clients together.
    pub accept_rate: Option<Rate>,
    /// New ones, of one client.
    pub client_rate: Option<Rate>,
    /// From the first byte of a head (or from accept, for the first one) to its end.
    pub head: Duration,
    /// The handshake of TLS.
    pub handshake: Duration,
    /// Idle between two requests.
    pub keep_alive: Duration,
    /// No byte of a body moved for this long.
    pub body_idle: Duration,
    /// The slowest that a peer may send a body or take an answer; none for any.
    pub min_rate: Option<MinRateConfig>,
    /// Bytes of a request body, of a length that its head says, that is read before an instance is
    /// taken; 0 for never.
    pub prefetch: u64,
    /// Bytes of one request head, and of one header.
    pub header_size: usize,
    /// Headers in one request.
    pub headers: usize,
}

/// Bounds of all components together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TotalLimits {
    /// Instances at once.
    pub instances: usize,
    /// Bytes of linear memory; no bound but that of each instance if none.
    pub memory: Option<u64>,
    /// Bytes of compiled code that are mapped; no bound if none.
    pub code_memory: Option<u64>,
}

/// How a swap goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwapConfig {
    /// Swap when a file changes.
    pub watch: bool,
    /// How long compiling may take.
    pub compile: Duration,
    /// Memory that compiling one component may take, in bytes.
    pub compile_memory: u64,
    /// From the swap to the cut of what still runs on the version before.
    pub retire: Duration,
    /// Replaced versions of one component that may linger.
    pub retired: usize,
}

/// One component with what it is given and what it may use.
#[derive(Clone, Debug, PartialEq)]
pub struct ComponentConfig {
    /// What it is called in routes, chains, logs and `host ctl`.
    pub name: Arc<str>,
    /// Its file. Of one that comes from elsewhere, that in the store; empty until it has been pulled.
    pub source: PathBuf,
    /// Where it comes from, if that is elsewhere.
    pub remote: Option<Arc<str>>,
    /// What it may use.
    pub limits: ComponentLimits,
    /// How far instances are reused; a fresh one for each request without.
    pub reuse: Option<ReuseConfig>,
    /// Instances begin where one was behind its `on-start`.
    pub snapshot: bool,
    /// What it is given. Nothing by default.
    pub grants: GrantsConfig,
    /// What a new version must answer before it serves, in this order.
    pub smoke: Vec<SmokeCheck>,
    /// Puts it aside for a while when it keeps failing; never without.
    pub breaker: Option<BreakerConfig>,
    /// How a new version takes over from the one before; at once without.
    pub canary: Option<CanaryConfig>,
    /// What becomes of a request when it fails as a plugin of a chain.
    pub fail: Fail,
    /// The file that what it prints goes to, in place of the log of the host.
    pub log: Option<PathBuf>,
    /// The component that its outgoing requests go through, as a plugin.
    pub egress: Option<Arc<str>>,
    /// What `wasi:config` answers it on routes that say so, each once.
    pub route_configs: RouteConfigs,
}

/// With which configurations a component is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteConfigs {
    /// Each on its own is one of a route, and all of it.
    pub own: Vec<Arc<WasiConfigValues>>,
    /// No route has it with the configuration of the component alone: that need not be whole.
    pub only_own: bool,
}

impl ComponentConfig {
    /// Whether another entry asks for the same version of the component: how a version takes over is no part of it.
    #[must_use]
    pub fn is_same_version(&self, other: &Self) -> bool {
        Self { canary: other.canary.clone(), ..self.clone() } == *other
    }
}

/// Limits that go together. Each of them can be written beside the profile, and wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Display, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = no_profile)]
pub enum LimitsProfile {
    /// For components of one's own.
    #[default]
    Default,
    /// For components of strangers, who may mean harm: what a request of theirs may take is what Fastly grants, or
    /// less.
    Strict,
}

fn no_profile(_: &str) -> String {
    "no profile; write default or strict (for components of strangers)".into()
}

/// What one component may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComponentLimits {
    /// What those come from that are not written.
    pub profile: LimitsProfile,
    /// Instances at once.
    pub instances: usize,
    /// Exchanges that wait for an instance.
    pub queue: usize,
    /// How long they wait.
    pub queue_wait: Duration,
    /// Bytes of linear memory of one instance, all its memories together.
    pub memory: usize,
    /// Bytes of linear memory of all its instances together.
    pub memory_total: Option<u64>,
    /// CPU time of one exchange.
    pub cpu: Duration,
    /// From the end of the request's head to the head of the response.
    pub response_head: Duration,
    /// No body frame for this long, in either direction.
    pub body_idle: Duration,
    /// The whole exchange; none unless asked for, because a stream may be meant to last.
    pub total: Option<Duration>,
    /// Work after the answer.
    pub after: Duration,
    /// How long a lifecycle hook may take.
    pub hook: Duration,
    /// Bytes of a request body.
    pub request_body: u64,
    /// Bytes of a response body.
    pub response_body: Option<u64>,
    /// Handles of one instance to what the host has for it: streams, headers, files.
    pub handles: usize,
    /// Outgoing requests at once, of all its instances.
    pub outgoing: usize,
    /// Outgoing requests that one exchange begins, from its beginning to its end.
    pub outgoing_per_exchange: usize,
    /// Bytes of the body of the response to one outgoing request.
    pub outgoing_response_body: u64,
    /// Bytes of what is in its own buckets together, and of one value.
    pub keyvalue: u64,
    /// Bytes per second that it may add to the log; none for as many as it likes.
    pub log_rate: Option<u64>,
}

/// How far instances are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReuseConfig {
    /// Requests that one instance serves in its life.
    pub exchanges: u32,
    /// Requests that one instance of 0.3 serves at once.
    pub concurrency: u32,
    /// How long one waits for its next request.
    pub idle: Duration,
}

/// Where buckets are kept. Two that are equal are one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreConfig {
    /// In memory, for as long as something that is served has a bucket there; by the name of the
    /// store.
    Memory(String),
    /// In a database file.
    Disk(PathBuf),
    /// In a Redis server, by its URL.
    Redis(String),
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(name) => f.debug_tuple("Memory").field(name).finish(),
            Self::Disk(path) => f.debug_tuple("Disk").field(path).finish(),
            // A password may stand in it.
            Self::Redis(_) => f.write_str("Redis(..)"),
        }
    }
}

/// When a component that keeps failing is put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures of the guest (traps, time-outs) that open it,
    pub failures: u32,
    /// within this time.
    pub within: Duration,
    /// How long requests get 503 then.
    pub pause: Duration,
}

/// What becomes of a request when a plugin of its chain fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = no_fail)]
pub enum Fail {
    /// It goes on without the plugin.
    Open,
    /// It gets 502 or 504.
    #[default]
    Closed,
}

fn no_fail(_: &str) -> String {
    "neither open nor closed; write open (a request goes on without the plugin) or closed".into()
}

/// A plugin of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainEntry {
    /// The component.
    pub plugin: Arc<str>,
    /// What `wasi:config` answers it on this route, all of it; none for what it answers everywhere.
    pub config: Option<Arc<WasiConfigValues>>,
}

/// Which requests go to a component, and through which plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which requests.
    pub pattern: RoutePattern,
    /// Plugins before the component, the first one first.
    pub chain: Vec<ChainEntry>,
    /// What answers them.
    pub component: Arc<str>,
    /// The component sees the path without the prefix.
    pub strip_prefix: bool,
    /// How many requests it takes; all if none.
    pub rate_limit: Option<RateLimitConfig>,
    /// How its responses are compressed, if they are.
    pub compress: Option<CompressConfig>,
    /// What is done with headers, if anything is.
    pub headers: Option<Arc<RouteHeaders>>,
}
