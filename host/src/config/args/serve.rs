//! `host serve`: what is served, and what the flags say of it.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use host_manifest::routes::{PathPattern, RoutePattern};
use host_manifest::{
    ComponentConfig, Fail, Grammar, ListenConfig, ListenerConfig, LoadContext, LogConfig, Manifest,
    RegistryConfig, Route, RouteConfigs, Stamp, TrustConfig, defaults, is_remote,
};
use host_registry::Reference;

use super::super::checked::{CacheSetting, ControlSetting, ManifestFile, Overrides, ServeConfig};
use super::super::file::read;
use super::complaint::complaint;
use super::guest::GuestArgs;
use super::limits::LimitArgs;
use super::listen::ListenArgs;
use super::log::LogArgs;
use super::operating::{CacheArgs, OperatingArgs};
use super::stop::StopArgs;
use super::swap::SwapArgs;

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The component to serve: a .wasm or .wat file that exports wasi:http/incoming-handler@0.2 or
    /// wasi:http/handler@0.3. Or a manifest, a .toml file: then everything that is said of a
    /// component is said there
    #[arg(value_name = "APP.wasm|host.toml")]
    pub(super) app: PathBuf,

    /// Load and prove everything, with its smoke requests, as a start would; then exit. Nothing is
    /// bound and no database opened: of one it is only looked whether it is one, or can be made
    /// [default: off]
    #[arg(long)]
    dry_run: bool,

    /// Worker threads for connections and guests [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    stop: StopArgs,
    #[command(flatten)]
    swap: SwapArgs,
    #[command(flatten)]
    guest: GuestArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    operating: OperatingArgs,
    #[command(flatten)]
    log: LogArgs,
}

impl ServeArgs {
    /// A manifest of one component, made of the flags.
    pub(super) fn checked(self, grammar: &Grammar) -> Result<ServeConfig, clap::Error> {
        let (threads, control, dry_run) = (self.threads(), self.operating.control(), self.dry_run);
        let mut listeners = self.listen.checked()?;
        if listeners.is_empty() {
            let address = defaults::ADDRESS.parse().map_err(|why: String| complaint(&why))?;
            listeners.push(ListenerConfig::plain(address));
        }
        let health = self.operating.health_addr.and_then(|health| health.0);
        let dashboard = self.operating.dashboard_addr.and_then(|dashboard| dashboard.0);
        let trusted_proxies = self.listen.trusted_proxies.iter().copied().collect();
        let listen = ListenConfig { listeners, control: None, health, dashboard, trusted_proxies };
        let cache = self.cache.checked();
        let component = self.component(grammar, self.own(&cache))?;
        let route = Route {
            pattern: RoutePattern {
                host: None,
                path: PathPattern::Prefix("/".into()),
                methods: Vec::new(),
            },
            chain: Vec::new(),
            component: component.name.clone(),
            strip_prefix: false,
            rate_limit: None,
            compress: None,
            headers: None,
        };
        let log = self.log.checked();
        let manifest = Manifest {
            listen,
            stop: self.stop.checked()?,
            connection: self.limits.connection()?,
            total: self.limits.total()?,
            swap: self.swap.checked()?,
            log: log.over(LogConfig::default()),
            components: [(component.name.clone(), component)].into(),
            routes: vec![route],
            registry: RegistryConfig::default(),
            trust: TrustConfig::default(),
            places: [].into(),
        };
        let overrides = Overrides { log, ..Overrides::default() };
        apart(&manifest.listen, &control)?;
        Ok(ServeConfig { manifest, overrides, file: None, cache, threads, control, dry_run })
    }

    /// The manifest, with what flags say of the process.
    pub(super) fn with_manifest(self, grammar: &Grammar) -> Result<ServeConfig, clap::Error> {
        let cache = self.cache.checked();
        let own = self.own(&cache);
        let beside = LoadContext { own: own.clone(), total: None, check_remote };
        let stamp = Stamp::at(&self.app);
        let manifest =
            read(&self.app, grammar, &beside).map_err(|why| complaint(&why.to_string()))?;
        let control = match (self.operating.control(), &manifest.listen.control) {
            (ControlSetting::Default, Some(path)) => ControlSetting::at(path),
            (control, _) => control,
        };
        let overrides = Overrides {
            listeners: self.listen.checked()?,
            trusted_proxies: self.listen.trusted_proxies.iter().copied().collect(),
            health: self.operating.health_addr,
            dashboard: self.operating.dashboard_addr,
            watch: self.swap.watch,
            own,
            log: self.log.clone().checked(),
        };
        let (threads, dry_run) = (self.threads(), self.dry_run);
        let manifest = overrides.apply(manifest);
        apart(&manifest.listen, &control)?;
        let file = Some(ManifestFile { path: self.app, stamp });
        Ok(ServeConfig { manifest, overrides, file, cache, threads, control, dry_run })
    }

    /// What no guest may change, as far as the manifest does not name it.
    fn own(&self, cache: &CacheSetting) -> Vec<(String, PathBuf)> {
        let mut own: Vec<_> =
            cache.directory().map(|path| ("the code cache".to_owned(), path)).into_iter().collect();
        let control = self.operating.control().place();
        own.extend(control.map(|path| ("the control socket".to_owned(), path)));
        own.extend(self.log.file().map(|path| ("the access log".to_owned(), path.to_owned())));
        own.extend(self.listen.own());
        own
    }

    fn threads(&self) -> NonZeroUsize {
        self.threads
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
    }

    /// `own`: what no guest may change.
    fn component(
        &self,
        grammar: &Grammar,
        mut own: Vec<(String, PathBuf)>,
    ) -> Result<ComponentConfig, clap::Error> {
        let name = self.app.file_stem().and_then(|stem| stem.to_str()).unwrap_or("component");
        let remote = self.app.to_str().filter(|app| is_remote(app));
        if let Some(remote) = remote {
            check_remote(remote).map_err(|why| complaint(&why))?;
        }
        let remote: Option<Arc<str>> = remote.map(Into::into);
        own.push(("the file of the component".to_owned(), self.app.clone()));
        let context = LoadContext { own, ..LoadContext::default() };
        let grants = self.guest.grants(&component_name(&self.app), grammar, &context)?;
        Ok(ComponentConfig {
            name: name.into(),
            source: if remote.is_some() { PathBuf::new() } else { self.app.clone() },
            remote,
            limits: self.limits.guest(self.guest.hook_timeout.0)?,
            reuse: self.guest.reuse()?,
            snapshot: self.guest.snapshot,
            grants,
            smoke: self.swap.smoke.clone(),
            breaker: None,
            canary: None,
            fail: Fail::default(),
            log: None,
            egress: None,
            route_configs: RouteConfigs::default(),
        })
    }
}

/// What a manifest would call the component of this file: small letters, digits and `-`.
pub(crate) fn component_name(file: &Path) -> String {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().to_lowercase());
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let name: String = stem.unwrap_or_default().chars().map(letter).take(63).collect();
    match name.trim_matches('-') {
        "" => "app".to_owned(),
        name => name.to_owned(),
    }
}

/// Whether a component can be pulled from there; else what to write.
pub(crate) fn check_remote(source: &str) -> Result<(), String> {
    source.parse::<Reference>().map(drop).map_err(|why| why.to_string())
}

/// Refuses places to listen at that cannot be had at once.
fn apart(listen: &ListenConfig, control: &ControlSetting) -> Result<(), clap::Error> {
    let control = match control {
        ControlSetting::Path(path) => Some(path.as_path()),
        ControlSetting::Off | ControlSetting::Default => None,
    };
    match listen.overlap(control) {
        Some(overlap) => Err(complaint(&overlap.to_string())),
        None => Ok(()),
    }
}
