//! What the commands need to know, checked.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::log::{BadLogFilter, log_filter};
use host_manifest::{
    AccessLogFormat, AccessLogTarget, DashboardAddr, HealthAddr, ListenerConfig, LogConfig,
    LogFilter, LogFormat, Manifest, Stamp, TrustedProxies,
};
use host_manifest::{RegistryConfig, TraceConfig};
use tracing_subscriber::EnvFilter;

/// Everything `host serve` needs to know, checked before any socket, component or compile.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// What is served, where, with which limits and grants.
    pub manifest: Manifest,
    /// Flags that stand above a manifest.
    pub overrides: Overrides,
    /// The manifest's file, to be read again; none if it is made of flags.
    pub file: Option<ManifestFile>,
    /// Where compiled code is kept.
    pub cache: CacheSetting,
    /// Worker threads for connections and guests.
    pub threads: NonZeroUsize,
    /// Where operators give commands.
    pub control: ControlSetting,
    /// Load and prove everything, then exit.
    pub dry_run: bool,
}

/// Everything that `host check` needs to know.
#[derive(Clone, Debug)]
pub struct CheckConfig {
    /// What would be served.
    pub serve: ServeConfig,
    /// JSON instead of text.
    pub json: bool,
    /// A warning is a failure.
    pub strict: bool,
}

/// Everything that `host compile` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileConfig {
    /// The component.
    pub app: PathBuf,
    /// Where its code is written; `-` is stdout.
    pub output: PathBuf,
    /// How long it may take.
    pub time: Duration,
    /// Memory that it may take, in bytes.
    pub memory: u64,
}

/// Everything that `host new` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewConfig {
    /// The folder to make.
    pub folder: PathBuf,
    /// What the component is called.
    pub name: String,
    /// `rust`, `js`, `python` or `c`.
    pub lang: String,
    /// `app` or `plugin`.
    pub kind: String,
    /// `0.2` or `0.3`; the newest that there is if none.
    pub wasi: Option<String>,
}

/// Everything that `host init` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitConfig {
    /// The component.
    pub app: PathBuf,
    /// What the manifest calls it.
    pub name: String,
}

/// Everything that `host dev` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevConfig {
    /// A folder with a dev.toml, a component or a manifest.
    pub app: PathBuf,
    /// Flags of `host serve`, not parsed yet.
    pub flags: Vec<OsString>,
}

/// Everything that `host lock` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockConfig {
    /// What is pinned.
    pub sources: Vec<Arc<str>>,
    /// How registries are spoken to, and the lock file.
    pub registry: RegistryConfig,
}

/// Everything that `host push` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushConfig {
    /// The component.
    pub app: PathBuf,
    /// Where it goes, `oci://…`.
    pub to: String,
    /// What is said of it there.
    pub annotations: BTreeMap<String, String>,
    /// The private key to sign it with.
    pub key: Option<PathBuf>,
    /// How the registry is spoken to.
    pub registry: RegistryConfig,
}

/// Everything that `host sign` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignConfig {
    /// A file, or an image.
    pub what: String,
    /// The private key.
    pub key: PathBuf,
    /// How the registry is spoken to.
    pub registry: RegistryConfig,
}

/// Everything that `host verify` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyConfig {
    /// A file, or an image.
    pub what: String,
    /// Public keys. One is enough.
    pub keys: Vec<PathBuf>,
    /// How the registry is spoken to.
    pub registry: RegistryConfig,
}

/// Everything that `host drain-test` needs to know.
#[derive(Clone, Debug)]
pub struct DrainTestConfig {
    /// Which server, which load, what stops it.
    pub plan: host_drain_test::Plan,
    /// JSON instead of a table.
    pub json: bool,
}

/// Where a manifest stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFile {
    /// Its path.
    pub path: PathBuf,
    /// The file there when it was read.
    pub stamp: Stamp,
}

/// What flags say of the process beside a manifest. They win, at the start and at each reload.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Where to listen instead, unless it is empty.
    pub listeners: Vec<ListenerConfig>,
    /// Whom the host believes who the client is instead, unless it is empty.
    pub trusted_proxies: TrustedProxies,
    /// Where health is answered instead, or that it is not.
    pub health: Option<HealthAddr>,
    /// Where the dashboard is shown instead, or that it is not.
    pub dashboard: Option<DashboardAddr>,
    /// Swap when a file changes.
    pub watch: bool,
    /// What of the process no guest may change, with what to call it.
    pub own: Vec<(String, PathBuf)>,
    /// What is logged, how, and where it goes instead.
    pub log: LogOverrides,
}

/// What flags say of logs.
#[derive(Clone, Debug, Default)]
pub struct LogOverrides {
    /// What the host logs of itself.
    pub level: Option<LogFilter>,
    /// How its lines are written.
    pub format: Option<LogFormat>,
    /// Where a line is written for each exchange.
    pub access: Option<AccessLogTarget>,
    /// How those lines are written.
    pub access_format: Option<AccessLogFormat>,
    /// They have the query of a request.
    pub query: bool,
    /// Where spans go.
    pub trace: TraceConfig,
}

impl LogOverrides {
    /// What a manifest says, with what the flags say in its place. Its level stays: the environment goes before it.
    pub(super) fn over(&self, manifest: LogConfig) -> LogConfig {
        LogConfig {
            level: manifest.level,
            format: self.format.unwrap_or(manifest.format),
            access: self.access.clone().unwrap_or(manifest.access),
            access_format: self.access_format.unwrap_or(manifest.access_format),
            query: self.query || manifest.query,
            trace: TraceConfig {
                endpoint: self.trace.endpoint.clone().or(manifest.trace.endpoint),
                sample: self.trace.sample.or(manifest.trace.sample),
            },
        }
    }
}

impl ServeConfig {
    /// What is to be logged.
    ///
    /// # Errors
    /// What the environment says of it cannot be read.
    pub fn log_filter(&self) -> Result<EnvFilter, BadLogFilter> {
        log_filter(self.overrides.log.level.as_ref(), self.manifest.log.level.as_ref())
    }
}

impl Overrides {
    /// The manifest, with what the flags say in place of what it says.
    #[must_use]
    pub fn apply(&self, mut manifest: Manifest) -> Manifest {
        if !self.listeners.is_empty() {
            manifest.listen.listeners.clone_from(&self.listeners);
        }
        if !self.trusted_proxies.is_empty() {
            manifest.listen.trusted_proxies.clone_from(&self.trusted_proxies);
        }
        if let Some(health) = self.health {
            manifest.listen.health = health.0;
        }
        if let Some(dashboard) = self.dashboard {
            manifest.listen.dashboard = dashboard.0;
        }
        manifest.swap.watch |= self.watch;
        manifest.log = self.log.over(manifest.log);
        manifest
    }
}

/// Where operators give commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlSetting {
    /// Nowhere: signals are all there is.
    Off,
    /// In the user's runtime directory, if there is one.
    Default,
    /// At this path.
    Path(PathBuf),
}

impl ControlSetting {
    /// At `path`, or nowhere if that is `off`.
    pub(super) fn at(path: &Path) -> Self {
        if path.as_os_str() == "off" { Self::Off } else { Self::Path(path.to_owned()) }
    }

    /// The socket, or the directory that it will be in.
    pub(super) fn place(&self) -> Option<PathBuf> {
        match self {
            Self::Off => None,
            Self::Path(path) => Some(path.clone()),
            Self::Default => {
                let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
                let base = base.filter(|path| path.is_absolute());
                Some(base.unwrap_or_else(|| "/run".into()).join("host"))
            }
        }
    }
}

/// Where compiled code is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheSetting {
    /// Nowhere: every start compiles.
    Off,
    /// In the user's cache directory.
    Default,
    /// In this directory.
    Directory(PathBuf),
}

impl CacheSetting {
    /// The directory: the one asked for, or the user's, or the system's for root without a home.
    #[must_use]
    pub fn directory(&self) -> Option<PathBuf> {
        let base = match self {
            Self::Off => return None,
            Self::Directory(directory) => return Some(directory.clone()),
            Self::Default => std::env::var_os("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"))),
        };
        Some(base.unwrap_or_else(|| "/var/cache".into()).join("host"))
    }
}
