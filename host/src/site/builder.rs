//! Builds sites: reads files, opens grants, loads and proves components.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesOrdered, StreamExt as _};
use host_certs::CertificateStore;
use host_manifest::{ComponentConfig, Manifest, Stamp};
use host_telemetry::{ComponentUsage, GenerationTraffic, Traffic};

use super::app::{App, Deployment, WatchedSource};
use super::backlog::Backlog;
use super::permits::Permits;
use super::slot::Site;
use crate::component::{Blueprint, Loader, Rejected, Settings, Step, Unmade, Urgency, Wanted};

/// Makes the settings that a component is loaded with out of its entry in the manifest. May open
/// databases. Its errors say in one line what is wrong.
type Provision = Box<dyn Fn(&ComponentConfig) -> Result<Settings, String> + Send + Sync>;

/// Reads the manifest. Its errors say what is wrong, with file and line.
type ReadManifest = Box<dyn Fn() -> Result<Manifest, Rejected> + Send + Sync>;

/// Puts files in the place of sources that are none. Its errors say in one line what is wrong.
type FillSources = Arc<
    dyn Fn(Manifest) -> Pin<Box<dyn Future<Output = Result<Manifest, Rejected>> + Send>>
        + Send
        + Sync,
>;

/// Builds the first site, and what a reload changes of it.
pub struct SiteBuilder {
    /// In force since the start.
    pub(super) first: Manifest,
    provision: Arc<Provision>,
    /// Instances of all components together.
    total: Arc<Permits>,
    /// How many there are, and what waits for them.
    workers: (usize, Backlog),
    /// What is served is counted there.
    pub(super) traffic: Arc<Traffic>,
    /// Those of listeners; none if no listener has TLS.
    pub(super) certificates: Option<Arc<CertificateStore>>,
    file: Option<ManifestFile>,
    fill: Option<FillSources>,
}

/// The file of the manifest.
struct ManifestFile {
    path: PathBuf,
    /// What it was when the manifest in force was read.
    stamp: Mutex<Stamp>,
    read: Arc<ReadManifest>,
}

impl ManifestFile {
    fn stamp(&self) -> MutexGuard<'_, Stamp> {
        self.stamp.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SiteBuilder {
    /// Builds what a manifest made of flags says, for so many `workers`, to be counted in `traffic`. That never
    /// changes.
    #[must_use]
    pub fn fixed(
        manifest: Manifest,
        workers: usize,
        traffic: Arc<Traffic>,
        provision: impl Fn(&ComponentConfig) -> Result<Settings, String> + Send + Sync + 'static,
    ) -> Self {
        let total = Arc::new(Permits::new(manifest.total.instances));
        let provision = Arc::new(Box::new(provision) as Provision);
        let workers = (workers, Backlog::default());
        let certificates = None;
        Self {
            first: manifest,
            provision,
            total,
            workers,
            traffic,
            certificates,
            file: None,
            fill: None,
        }
    }

    /// Has each reload read the manifest from `path`. It was read before when the file was as `stamp` says.
    #[must_use]
    pub fn with_file(
        self,
        path: PathBuf,
        stamp: Stamp,
        read: impl Fn() -> Result<Manifest, Rejected> + Send + Sync + 'static,
    ) -> Self {
        let (stamp, read) = (Mutex::new(stamp), Arc::new(Box::new(read) as ReadManifest));
        Self { file: Some(ManifestFile { path, stamp, read }), ..self }
    }

    /// Has `fill` put files in the place of sources that are none: now, and at each reload.
    ///
    /// # Errors
    /// What it says of the first manifest.
    pub async fn with_sources<F>(
        self,
        fill: impl Fn(Manifest) -> F + Send + Sync + 'static,
    ) -> Result<Self, Rejected>
    where
        F: Future<Output = Result<Manifest, Rejected>> + Send + 'static,
    {
        let fill: FillSources = Arc::new(move |manifest| Box::pin(fill(manifest)));
        let first = fill(self.first).await?;
        Ok(Self { first, fill: Some(fill), ..self })
    }

    /// Has guests start as this backlog of the workers says.
    #[must_use]
    pub fn with_backlog(self, backlog: Backlog) -> Self {
        Self { workers: (self.workers.0, backlog), ..self }
    }

    /// Has each reload read the certificates of listeners too.
    #[must_use]
    pub fn with_certificates(self, certificates: Arc<CertificateStore>) -> Self {
        let certificates = Some(certificates).filter(|store| !store.is_empty());
        Self { certificates, ..self }
    }

    /// The manifest's file, if there is one, and what it was when the manifest in force was read.
    pub(super) fn manifest(&self) -> Option<(&Path, Stamp)> {
        self.file.as_ref().map(|file| (file.path.as_path(), *file.stamp()))
    }

    /// The first site: everything is compiled, loaded and proven. Each component is proven once, as soon as its code is
    /// there, so that no more code need be mapped at once than may be.
    ///
    /// # Errors
    /// The first component that cannot serve.
    pub async fn build(&self, loader: &Arc<Loader>) -> Result<Site, Rejected> {
        let (mut proven, mut held) = (BTreeMap::new(), Vec::new());
        for _ in 0..MAX_ATTEMPTS {
            match self.prove_all(loader, &mut proven).await {
                Ok(()) => {
                    let apps: Vec<_> = proven.into_values().collect();
                    return Ok(Site::new(apps, &self.first.routes, &self.traffic));
                }
                Err(Unmade::Rejected(why)) => return Err(why),
                Err(Unmade::Uncompiled) => {}
            }
            held.push(loader.compile(self.wanted(&self.first), Urgency::Start, || {}).await?);
        }
        Err(Rejected::for_now(Step::Compile, KEEPS_CHANGING))
    }

    /// Whether a start would serve each component. All are checked, whatever becomes of one.
    pub async fn check(
        &self,
        loader: &Arc<Loader>,
    ) -> Vec<(ComponentConfig, Result<(), Rejected>)> {
        let mut checked = Vec::new();
        for component in self.first.components.values() {
            checked.push((component.clone(), self.check_component(component, loader).await));
        }
        checked
    }

    async fn check_component(
        &self,
        component: &ComponentConfig,
        loader: &Arc<Loader>,
    ) -> Result<(), Rejected> {
        let mut held = Vec::new();
        for _ in 0..MAX_ATTEMPTS {
            let next = match self.load(component, loader, Urgency::Start).await {
                Ok(next) => next,
                Err(Unmade::Rejected(why)) => return Err(why),
                Err(Unmade::Uncompiled) => {
                    let wanted = Wanted::new(None, component.source.clone(), self.usage(component))
                        .with_snapshot(component.snapshot);
                    held.push(loader.compile([wanted], Urgency::Start, || {}).await?);
                    continue;
                }
            };
            return self.prove(next, None, loader).await.map(drop);
        }
        Err(Rejected::for_now(Step::Compile, KEEPS_CHANGING))
    }

    /// Loads the components that have not been `proven`, some at once, and proves one after the other.
    async fn prove_all(
        &self,
        loader: &Loader,
        proven: &mut BTreeMap<Arc<str>, Arc<App>>,
    ) -> Result<(), Unmade> {
        let mut left = self.first.components.values();
        let mut under_way = FuturesOrdered::new();
        loop {
            while under_way.len() < LOADS
                && let Some(component) = left.next()
            {
                if !proven.contains_key(&component.name) {
                    under_way.push_back(self.load(component, loader, Urgency::Start));
                }
            }
            let Some(next) = under_way.next().await else { return Ok(()) };
            let app = self.prove(next?, None, loader).await?;
            proven.insert(app.manifest.name.clone(), Arc::new(app));
        }
    }

    /// The files of all components, to be compiled.
    pub(super) fn wanted(&self, manifest: &Manifest) -> Vec<Wanted> {
        let named = self.file.is_some();
        let wanted = |component: &ComponentConfig| {
            let name = named.then(|| component.name.clone());
            Wanted::new(name, component.source.clone(), self.usage(component))
                .with_snapshot(component.snapshot)
        };
        manifest.components.values().map(wanted).collect()
    }

    fn usage(&self, component: &ComponentConfig) -> Arc<ComponentUsage> {
        self.traffic.component(&component.name).usage().clone()
    }

    /// Reads the manifest, and says what its file was when it was read.
    pub(super) async fn read_manifest(&self) -> Result<(Manifest, Stamp), Rejected> {
        let Some(file) = &self.file else {
            return Err(Rejected::at(Step::Manifest, "there is no manifest to read"));
        };
        let (path, read) = (file.path.clone(), file.read.clone());
        let read = move || {
            let stamp = Stamp::at(&path);
            Ok((read()?, stamp))
        };
        let (manifest, stamp) = in_time("reading the manifest", Step::Manifest, read).await?;
        let manifest = match &self.fill {
            Some(fill) => fill(manifest).await?,
            None => manifest,
        };
        Ok((manifest, stamp))
    }

    /// The manifest with this stamp is in force.
    pub(super) fn note_stamp(&self, stamp: Stamp) {
        if let Some(file) = &self.file {
            *file.stamp() = stamp;
        }
    }

    /// Opens the grants of a component, reads its file and links it.
    pub(super) async fn load(
        &self,
        component: &ComponentConfig,
        loader: &Loader,
        pace: Urgency,
    ) -> Result<LoadedComponent, Unmade> {
        let (provision, entry) = (self.provision.clone(), component.clone());
        // A file, a server or a descriptor that is not there now says nothing of the component.
        let open = move || provision(&entry).map_err(|why| Rejected::for_now(Step::Grants, why));
        let settings = in_time("opening what it is granted", Step::Grants, open)
            .await
            .map_err(|why| self.named(component, why))?;
        let settings = Arc::new(settings);
        let load = async {
            let source = loader.read(&component.source).await?;
            let watched = WatchedSource::new(&source);
            Ok((watched, loader.make(source, &settings, pace).await?))
        };
        let (source, blueprint) = load.await.map_err(|why| self.named_unmade(component, why))?;
        let component = Arc::new(component.clone());
        Ok(LoadedComponent { component, settings, source, blueprint, same_entry: false })
    }

    /// Has a component show that it can serve. `before` is what serves under its name.
    pub(super) async fn prove(
        &self,
        next: LoadedComponent,
        before: Option<Arc<App>>,
        loader: &Loader,
    ) -> Result<App, Rejected> {
        let LoadedComponent { component, settings, source, blueprint, same_entry } = next;
        let proven = loader.prove(blueprint).await;
        let generation = proven.map_err(|why| self.named(&component, why))?;
        Ok(match before {
            Some(before) if same_entry => before.with_generation(generation, source),
            before => {
                let traffic = GenerationTraffic::new(&self.traffic.component(&component.name));
                let deployment = Deployment::new(component, generation, traffic);
                App::new(
                    settings,
                    source,
                    deployment,
                    &self.total,
                    &self.workers,
                    before.as_deref(),
                )
            }
        })
    }

    pub(super) fn named_unmade(&self, component: &ComponentConfig, why: Unmade) -> Unmade {
        match why {
            Unmade::Rejected(why) => self.named(component, why).into(),
            Unmade::Uncompiled => Unmade::Uncompiled,
        }
    }

    /// A manifest may name several components: then a refusal says which one it is about.
    pub(super) fn named(&self, component: &ComponentConfig, why: Rejected) -> Rejected {
        match &self.file {
            None => why,
            Some(_) => why.for_component(&component.name),
        }
    }
}

/// A component that is loaded, and has not shown yet that it can serve.
pub(super) struct LoadedComponent {
    pub(super) component: Arc<ComponentConfig>,
    pub(super) settings: Arc<Settings>,
    pub(super) source: WatchedSource,
    pub(super) blueprint: Arc<Blueprint>,
    /// Its entry is what it was: limits, counts and queues go on.
    pub(super) same_entry: bool,
}

/// Components that are loaded at once at a start.
const LOADS: usize = 4;

/// How often something is compiled before it is loaded: the file may be another one by then.
pub(super) const MAX_ATTEMPTS: usize = 3;

/// Why that is given up.
pub(super) const KEEPS_CHANGING: &str =
    "a file was another one each time when it had been compiled; ask again when it stays";

/// Files take no longer, unless the file system has gone.
const FILE_PATIENCE: Duration = Duration::from_secs(10);

/// Does `work`, which waits for files, on a thread of its own. A thread that hangs is left behind.
pub(super) async fn in_time<T: Send + 'static>(
    what: &str,
    step: Step,
    work: impl FnOnce() -> Result<T, Rejected> + Send + 'static,
) -> Result<T, Rejected> {
    match host_clock::timeout(FILE_PATIENCE, tokio::task::spawn_blocking(work)).await {
        Ok(done) => done.unwrap_or_else(|why| Err(Rejected::for_now(step, why.to_string()))),
        Err(_) => {
            Err(Rejected::for_now(step, format!("{what} took longer than {FILE_PATIENCE:?}")))
        }
    }
}

impl fmt::Debug for SiteBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteBuilder").field("manifest", &self.manifest()).finish_non_exhaustive()
    }
}
