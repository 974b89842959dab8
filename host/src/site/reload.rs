//! A manifest, put into force as one transaction: everything is loaded and proven first, then one
//! pointer is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use host_manifest::{ComponentConfig, ConnectionLimits, Manifest, Stamp};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{App, Looked, Site, Slot};
use crate::component::{Blueprint, Loader, Rejected, Settings, Step, Unmade, Urgency, Wanted};

/// Makes of what a manifest says what a component is loaded with. May open databases; says what is
/// wrong in one line.
type Outfit = Box<dyn Fn(&ComponentConfig) -> Result<Settings, String> + Send + Sync>;

/// Reads the manifest; says what is wrong with file and line.
type Read = Box<dyn Fn() -> Result<Manifest, Rejected> + Send + Sync>;

/// Where sites come from.
pub struct Outfitter {
    /// In force since the start.
    first: Manifest,
    outfit: Arc<Outfit>,
    /// Instances of all components together.
    total: Arc<Semaphore>,
    manifest: Option<File>,
}

/// The manifest's.
struct File {
    path: PathBuf,
    /// The one that was read for what is in force.
    stamp: Mutex<Stamp>,
    read: Arc<Read>,
}

/// What a reload has changed, by the names of components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Serve from now on.
    pub added: Vec<String>,
    /// Serve on a new generation: other code, grants or limits.
    pub changed: Vec<String>,
    /// Do not serve any more.
    pub removed: Vec<String>,
    /// Requests may go other ways.
    pub routes: bool,
    /// Stay as a change has made them that was asked for later.
    pub left: Vec<String>,
    /// Parts of the manifest that have changed and stay as they were until a restart.
    pub restart: Vec<String>,
    /// From the turn of this reload to the pointer store.
    pub took: Duration,
}

impl Reloaded {
    /// Whether anything is served differently.
    #[must_use]
    pub fn changes_something(&self) -> bool {
        self.routes || [&self.added, &self.changed, &self.removed].iter().any(|it| !it.is_empty())
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.changes_something() {
            f.write_str("unchanged: what is served is what the manifest says")?;
        } else {
            write!(f, "reloaded in {:.3?}", self.took)?;
        }
        let lists =
            [("added", &self.added), ("changed", &self.changed), ("removed", &self.removed)];
        for (what, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "; {what}: {}", names.join(", "))?;
        }
        if !self.left.is_empty() {
            write!(f, "; left to a later change: {}", self.left.join(", "))?;
        }
        if self.routes {
            f.write_str("; routes changed")?;
        }
        if !self.restart.is_empty() {
            write!(f, "; needs a restart: {}", self.restart.join(", "))?;
        }
        Ok(())
    }
}

impl File {
    fn stamp(&self) -> MutexGuard<'_, Stamp> {
        self.stamp.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outfitter {
    /// For a manifest that is made of flags, and stays.
    #[must_use]
    pub fn fixed(
        manifest: Manifest,
        outfit: impl Fn(&ComponentConfig) -> Result<Settings, String> + Send + Sync + 'static,
    ) -> Self {
        let total = Arc::new(Semaphore::new(manifest.total.instances));
        Self { first: manifest, outfit: Arc::new(Box::new(outfit)), total, manifest: None }
    }

    /// For one that is read from `path` at every reload, and has been when its file was as `stamp` says.
    #[must_use]
    pub fn read_by(
        self,
        path: PathBuf,
        stamp: Stamp,
        read: impl Fn() -> Result<Manifest, Rejected> + Send + Sync + 'static,
    ) -> Self {
        let (stamp, read) = (Mutex::new(stamp), Arc::new(Box::new(read) as Read));
        Self { manifest: Some(File { path, stamp, read }), ..self }
    }

    /// The manifest's file, if there is one, and what it was when that was read which is in force.
    pub(super) fn manifest(&self) -> Option<(&Path, Stamp)> {
        self.manifest.as_ref().map(|file| (file.path.as_path(), *file.stamp()))
    }

    /// The first site: everything is compiled, loaded and proven.
    ///
    /// # Errors
    /// The first component that cannot serve.
    pub async fn build(&self, loader: &Arc<Loader>) -> Result<Site, Rejected> {
        let pace = Urgency::Start;
        let mut held = Vec::new();
        for _ in 0..TURNS_AT_MOST {
            match self.first(loader).await {
                Ok(site) => return Ok(site),
                Err(Unmade::Rejected(why)) => return Err(why),
                Err(Unmade::Uncompiled) => {}
            }
            held.push(loader.compile(self.wanted(&self.first), pace, || {}).await?);
        }
        Err(Rejected::for_now(Step::Compile, ALWAYS_ANOTHER))
    }

    /// What a start would make of each component: all are looked at, whatever becomes of one.
    pub async fn look(&self, loader: &Arc<Loader>) -> Vec<(ComponentConfig, Result<(), Rejected>)> {
        let mut looked = Vec::new();
        for component in self.first.components.values() {
            looked.push((component.clone(), self.look_at(component, loader).await));
        }
        looked
    }

    async fn look_at(
        &self,
        component: &ComponentConfig,
        loader: &Arc<Loader>,
    ) -> Result<(), Rejected> {
        let mut held = Vec::new();
        for _ in 0..TURNS_AT_MOST {
            let next = match self.load(component, loader, Urgency::Start).await {
                Ok(next) => next,
                Err(Unmade::Rejected(why)) => return Err(why),
                Err(Unmade::Uncompiled) => {
                    let wanted = Wanted::new(None, component.source.clone());
                    held.push(loader.compile([wanted], Urgency::Start, || {}).await?);
                    continue;
                }
            };
            return self.prove(next, None, loader).await.map(drop);
        }
        Err(Rejected::for_now(Step::Compile, ALWAYS_ANOTHER))
    }

    async fn first(&self, loader: &Loader) -> Result<Site, Unmade> {
        let mut loaded = Vec::new();
        for component in self.first.components.values() {
            loaded.push(self.load(component, loader, Urgency::Start).await?);
        }
        let mut apps = Vec::new();
        for next in loaded {
            apps.push(Arc::new(self.prove(next, None, loader).await?));
        }
        Ok(Site::new(apps, &self.first.routes))
    }

    /// The files of all components.
    fn wanted(&self, manifest: &Manifest) -> Vec<Wanted> {
        let named = self.manifest.is_some();
        let wanted = |component: &ComponentConfig| {
            Wanted::new(named.then(|| component.name.clone()), component.source.clone())
        };
        manifest.components.values().map(wanted).collect()
    }

    /// The files of what the manifest names now, to be compiled.
    pub(super) async fn wanted_now(
        &self,
        scruples: &Scruples<'_>,
    ) -> Result<Vec<Wanted>, Rejected> {
        let (manifest, _) = self.read().await?;
        let mut wanted = self.wanted(&manifest);
        let is_settled = |name: &Arc<str>| scruples.settled.contains(name);
        wanted.retain(|wanted| !wanted.component.as_ref().is_some_and(is_settled));
        Ok(wanted)
    }

    /// What the manifest says now, and how it differs. Nothing of it serves yet.
    pub(super) async fn rebuild(
        &self,
        slot: &Slot,
        loader: &Loader,
        scruples: &Scruples<'_>,
    ) -> Result<Rebuilt, Unmade> {
        let began = Instant::now();
        let (manifest, stamp) = self.read().await?;
        let mut reloaded = Reloaded { restart: self.restart(&manifest), ..Reloaded::default() };
        let old = entries(slot);
        let found = self.find(&manifest, (slot, &old), loader, scruples).await?;
        let left = found.iter().filter(|(name, _)| scruples.leaves(name, &old));
        reloaded.left = left.map(|(name, _)| name.to_string()).collect();
        // All that has to be compiled has been by now: nothing of it is proven twice.
        let (mut apps, mut decided, mut noted) = (Vec::new(), BTreeSet::new(), false);
        for (name, found) in found {
            let before = slot.current().app(&name).cloned();
            if scruples.decide(&name, &found) {
                decided.insert(name.clone());
            }
            let app = match found {
                Found::Nothing => before,
                Found::Same(looked) => {
                    noted = true;
                    before.map(|before| Arc::new(App { looked, ..(*before).clone() }))
                }
                Found::Next(next) => {
                    let list = match before {
                        Some(_) => &mut reloaded.changed,
                        None => &mut reloaded.added,
                    };
                    list.push(name.to_string());
                    Some(Arc::new(self.prove(next, before, loader).await?))
                }
            };
            apps.extend(app);
        }
        let removed = old.keys().filter(|name| !manifest.components.contains_key(*name));
        reloaded.removed = removed.clone().map(ToString::to_string).collect();
        decided.extend(removed.cloned());
        let current = slot.current();
        reloaded.routes = *current.ways != *manifest.routes;
        let site = match reloaded.routes {
            true => Some(Site::new(apps, &manifest.routes)),
            false if noted || reloaded.changes_something() => Some(current.with_all(apps)),
            false => None,
        };
        if let Some(file) = &self.manifest {
            *file.stamp() = stamp;
        }
        reloaded.took = began.elapsed();
        Ok(Rebuilt { site, reloaded, decided })
    }

    /// What there is of each component: code that is known, or it has to be compiled first.
    async fn find(
        &self,
        manifest: &Manifest,
        (slot, old): (&Slot, &Entries),
        loader: &Loader,
        scruples: &Scruples<'_>,
    ) -> Result<Vec<(Arc<str>, Found)>, Unmade> {
        let mut found = Vec::new();
        for (name, component) in &manifest.components {
            let of_it = match old.get(name) {
                Some(_) if scruples.leaves(name, old) => self.leave(slot, component, loader).await,
                Some(kept) if **kept == *component => {
                    self.refresh(slot, component, loader, scruples.only_new).await?
                }
                _ => Found::Next(self.load(component, loader, Urgency::BesideTraffic).await?),
            };
            found.push((name.clone(), of_it));
        }
        Ok(found)
    }

    /// A component that stays as a later change has made it. What its file is now has been seen, and is
    /// nothing new to the next look.
    async fn leave(&self, slot: &Slot, component: &ComponentConfig, loader: &Loader) -> Found {
        let stays = |app: &Arc<App>| app.looked.path == component.source;
        let is_looked_at = slot.current().app(&component.name).is_some_and(stays);
        match loader.read(&component.source).await {
            Ok(source) if is_looked_at => Found::Same(Looked::of(&source)),
            Ok(_) | Err(_) => Found::Nothing,
        }
    }

    async fn read(&self) -> Result<(Manifest, Stamp), Rejected> {
        let Some(file) = &self.manifest else {
            return Err(Rejected::at(Step::Manifest, "there is no manifest to read"));
        };
        let (path, read) = (file.path.clone(), file.read.clone());
        let read = move || {
            let stamp = Stamp::at(&path);
            Ok((read()?, stamp))
        };
        in_time("reading the manifest", Step::Manifest, read).await
    }

    /// A component whose entry is the same, loaded anew if its file has changed.
    async fn refresh(
        &self,
        slot: &Slot,
        component: &ComponentConfig,
        loader: &Loader,
        only_new: bool,
    ) -> Result<Found, Unmade> {
        let source = loader.read(&component.source).await.map_err(|why| self.of(component, why))?;
        let looked = Looked::of(&source);
        let settings = {
            let current = slot.current();
            let Some(app) = current.app(&component.name) else { return Ok(Found::Nothing) };
            if only_new && app.looked.digest == looked.digest {
                return Ok(Found::Nothing);
            }
            let serves = app.generation.digest() == source.digest()
                && app.generation.path() == component.source;
            if serves {
                return Ok(Found::Same(looked));
            }
            app.settings.clone()
        };
        let blueprint = loader.make(source, &settings, Urgency::BesideTraffic).await;
        let blueprint = blueprint.map_err(|why| self.unmade(component, why))?;
        let component = Arc::new(component.clone());
        Ok(Found::Next(Loaded { component, settings, looked, blueprint, stays: true }))
    }

    async fn load(
        &self,
        component: &ComponentConfig,
        loader: &Loader,
        pace: Urgency,
    ) -> Result<Loaded, Unmade> {
        let (outfit, entry) = (self.outfit.clone(), component.clone());
        // A file, a server or a descriptor that is not there now: none is of the component.
        let open = move || outfit(&entry).map_err(|why| Rejected::for_now(Step::Grants, why));
        let settings = in_time("opening what it is granted", Step::Grants, open)
            .await
            .map_err(|why| self.of(component, why))?;
        let settings = Arc::new(settings);
        let load = async {
            let source = loader.read(&component.source).await?;
            let looked = Looked::of(&source);
            Ok((looked, loader.make(source, &settings, pace).await?))
        };
        let (looked, blueprint) = load.await.map_err(|why| self.unmade(component, why))?;
        let component = Arc::new(component.clone());
        Ok(Loaded { component, settings, looked, blueprint, stays: false })
    }

    /// Has it show that it can serve. `before` is what serves under its name.
    async fn prove(
        &self,
        next: Loaded,
        before: Option<Arc<App>>,
        loader: &Loader,
    ) -> Result<App, Rejected> {
        let Loaded { component, settings, looked, blueprint, stays } = next;
        let proven = loader.prove(blueprint).await;
        let generation = Arc::new(proven.map_err(|why| self.of(&component, why))?);
        Ok(match before {
            Some(before) if stays => before.on(generation, looked),
            before => {
                App::new(component, settings, looked, generation, &self.total, before.as_deref())
            }
        })
    }

    fn unmade(&self, component: &ComponentConfig, why: Unmade) -> Unmade {
        match why {
            Unmade::Rejected(why) => self.of(component, why).into(),
            Unmade::Uncompiled => Unmade::Uncompiled,
        }
    }

    /// In a manifest there may be several: a refusal says which one it is about.
    fn of(&self, component: &ComponentConfig, why: Rejected) -> Rejected {
        match &self.manifest {
            None => why,
            Some(_) => why.of(&component.name),
        }
    }

    /// What differs from the first manifest and takes a restart.
    fn restart(&self, now: &Manifest) -> Vec<String> {
        let first = &self.first;
        // It comes from the limits of components. Less of it is no loss: connections wait for longer
        // than the components do, which end what takes them too long.
        let body_idle = first.connection.body_idle;
        let connection = ConnectionLimits { body_idle, ..now.connection };
        let parts = [
            ("[listen]", first.listen != now.listen || first.connection != connection),
            ("body-idle-timeout", now.connection.body_idle > body_idle),
            ("[stop]", first.stop != now.stop),
            ("[swap]", first.swap != now.swap),
            ("[total]", first.total != now.total),
        ];
        parts.iter().filter(|(_, differs)| *differs).map(|(part, _)| (*part).to_owned()).collect()
    }
}

/// What a reload does not do.
pub(super) struct Scruples<'a> {
    /// What was rolled back, or swapped by hand, stays so where its file is as it was.
    pub(super) only_new: bool,
    /// Changes that were asked for later have decided about these: they stay as they are.
    pub(super) settled: &'a BTreeSet<Arc<str>>,
}

impl Scruples<'_> {
    /// Whether this component stays as it is.
    fn leaves(&self, name: &Arc<str>, old: &Entries) -> bool {
        self.settled.contains(name) && old.contains_key(name)
    }

    /// Whether what was found says something about it.
    fn decide(&self, name: &Arc<str>, found: &Found) -> bool {
        let says_nothing = self.only_new && matches!(found, Found::Nothing);
        !says_nothing && !self.settled.contains(name)
    }
}

/// What a manifest comes to.
pub(super) struct Rebuilt {
    /// What is to be served; none if that is what is served already.
    pub(super) site: Option<Site>,
    pub(super) reloaded: Reloaded,
    /// The components that it has said something about.
    pub(super) decided: BTreeSet<Arc<str>>,
}

/// What a reload finds of a component.
enum Found {
    /// Nothing new.
    Nothing,
    /// What serves already, in a file that has been read.
    Same(Looked),
    /// Something else than what serves.
    Next(Loaded),
}

/// What a component is to be served from next. It has not shown yet that it can.
struct Loaded {
    component: Arc<ComponentConfig>,
    settings: Arc<Settings>,
    looked: Looked,
    blueprint: Arc<Blueprint>,
    /// Its entry is what it was: limits, counts and queues go on.
    stays: bool,
}

/// How often something is compiled before it is loaded: a file may be another one by then.
pub(super) const TURNS_AT_MOST: usize = 3;

/// It was another one each time.
pub(super) const ALWAYS_ANOTHER: &str =
    "a file was another one each time when it had been compiled; ask again when it stays";

/// Files take no longer, unless the file system has gone.
const FILE_PATIENCE: Duration = Duration::from_secs(10);

/// Does what waits for files on a thread of its own, which is left behind if it hangs.
async fn in_time<T: Send + 'static>(
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

/// What the manifest has said of each component that is served.
type Entries = BTreeMap<Arc<str>, Arc<ComponentConfig>>;

/// The entries of what is served.
fn entries(slot: &Slot) -> Entries {
    let entry = |app: &Arc<App>| (app.manifest.name.clone(), app.manifest.clone());
    slot.current().apps().map(entry).collect()
}

impl fmt::Debug for Outfitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outfitter").field("manifest", &self.manifest()).finish_non_exhaustive()
    }
}
