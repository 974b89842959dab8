//! A manifest, put into force as one transaction: everything is loaded and proven first, then one
//! pointer is stored.

use std::collections::BTreeSet;
use std::sync::Arc;

use host_certs::PreparedCertificates;
use host_manifest::{ComponentConfig, ConnectionLimits, LogConfig, Manifest, TraceConfig};

use super::app::{App, WatchedSource};
use super::builder::{LoadedComponent, SiteBuilder};
use super::canary::Canary;
use super::entries::{Entries, Entry, Place, entries};
use super::outcome::Reloaded;
use super::slot::{Site, Slot};
use crate::component::{Loader, Rejected, Unmade, Urgency, Wanted};

/// What a reload leaves alone.
#[derive(Clone, Copy)]
pub(super) struct ReloadRules<'a> {
    /// A component that was rolled back, or swapped by hand, stays so while its file is as it was.
    pub(super) only_changed: bool,
    /// Changes that were asked for later have decided about these components: they stay as they are.
    pub(super) settled: &'a BTreeSet<Arc<str>>,
}

impl ReloadRules<'_> {
    /// Whether this component stays as it is.
    fn leave(&self, name: &Arc<str>, old: &Entries) -> bool {
        self.settled.contains(name) && old.contains_key(name)
    }

    /// Whether the reload decides what serves this component.
    fn decide(&self, name: &Arc<str>, diff: &Diff) -> bool {
        let says_nothing = self.only_changed && matches!(diff, Diff::Nothing);
        !says_nothing && !self.settled.contains(name)
    }
}

/// What a manifest comes to.
pub(super) struct Rebuilt {
    /// What is to be served; none if that is what is served already.
    pub(super) site: Option<Site>,
    pub(super) reloaded: Reloaded,
    /// The components that the reload has decided about.
    pub(super) decided: BTreeSet<Arc<str>>,
    /// Those of the site, which have not begun.
    pub(super) canaries: Vec<Arc<Canary>>,
    /// What is to be shown from the next handshake on; none without TLS.
    pub(super) certificates: Option<PreparedCertificates>,
}

/// How a component differs from what serves.
enum Diff {
    /// Not at all.
    Nothing,
    /// Not at all; its file has been read.
    SourceRead(WatchedSource),
    /// It is the current one, beside which a candidate takes over.
    Back(WatchedSource),
    /// It is another one.
    Next(LoadedComponent),
}

impl Reloaded {
    /// Notes a version of a component that is new, and puts it where it belongs: in the place of `before`, or beside
    /// that.
    fn place(
        &mut self,
        next: Arc<App>,
        before: Option<&App>,
        canaries: &mut Vec<Arc<Canary>>,
    ) -> Arc<App> {
        let name = next.manifest.name.to_string();
        match (before, &next.manifest.canary) {
            (None, _) => self.added.push(name),
            (Some(_), None) => self.changed.push(name),
            (Some(before), Some(config)) => {
                self.canaries.push(name);
                let canary = Canary::new(&before.deployment, &next.deployment, config.clone());
                let app = Arc::new(before.with_candidate(next, canary.split()));
                canaries.push(canary);
                return app;
            }
        }
        next
    }
}

impl SiteBuilder {
    /// The files that the manifest names now, to be compiled.
    pub(super) async fn wanted_now(
        &self,
        rules: &ReloadRules<'_>,
    ) -> Result<Vec<Wanted>, Rejected> {
        let (manifest, _) = self.read_manifest().await?;
        let mut wanted = self.wanted(&manifest);
        let is_settled = |name: &Arc<str>| rules.settled.contains(name);
        wanted.retain(|wanted| !wanted.component.as_ref().is_some_and(is_settled));
        Ok(wanted)
    }

    /// The site that the manifest asks for now, loaded and proven. Nothing of it serves yet.
    pub(super) async fn rebuild(
        &self,
        slot: &Slot,
        loader: &Loader,
        rules: &ReloadRules<'_>,
    ) -> Result<Rebuilt, Unmade> {
        let (manifest, stamp) = self.read_manifest().await?;
        let certificates = self.prove_certificates(Some(&manifest)).await?;
        let mut reloaded = Reloaded { restart: self.restart(&manifest), ..Reloaded::default() };
        let old = entries(slot);
        let diffs = self.compare(&manifest, (slot, &old), loader, rules).await?;
        let left = diffs.iter().filter(|(name, _)| rules.leave(name, &old));
        reloaded.left = left.map(|(name, _)| name.to_string()).collect();
        // All that has to be compiled has been by now: nothing of it is proven twice.
        let (mut apps, mut noted) = (Vec::new(), false);
        let (mut decided, mut canaries) = (BTreeSet::new(), Vec::new());
        for (name, diff) in diffs {
            let before = slot.current().app(&name).cloned();
            if rules.decide(&name, &diff) {
                decided.insert(name.clone());
            }
            let app = match (diff, &before) {
                (Diff::Next(next), _) => {
                    let next = Arc::new(self.prove(next, before.clone(), loader).await?);
                    reloaded.place(next, before.as_deref(), &mut canaries)
                }
                (Diff::Nothing, Some(before)) => before.clone(),
                (Diff::SourceRead(source), Some(before)) => {
                    Arc::new(App { source, ..(**before).clone() })
                }
                (Diff::Back(source), Some(before)) => {
                    Arc::new(App { source, ..before.without_candidate() })
                }
                (_, None) => continue,
            };
            let app = match manifest.components.get(&name) {
                Some(entry) if *entry != *app.entry => {
                    Arc::new(App { entry: Arc::new(entry.clone()), ..(*app).clone() })
                }
                _ => app,
            };
            noted |= before.is_none_or(|before| !Arc::ptr_eq(&before, &app));
            apps.push(app);
        }
        let removed = old.keys().filter(|name| !manifest.components.contains_key(*name));
        reloaded.removed = removed.clone().map(ToString::to_string).collect();
        decided.extend(removed.cloned());
        let current = slot.current();
        reloaded.routes = **current.routes() != *manifest.routes;
        let site = match reloaded.routes {
            true => Some(current.with_routes(apps, &manifest.routes, &self.traffic)),
            false if noted || reloaded.changes_something() => Some(current.with_apps(apps)),
            false => None,
        };
        self.note_stamp(stamp);
        Ok(Rebuilt { site, reloaded, decided, canaries, certificates })
    }

    /// How each component of the manifest differs from what serves.
    ///
    /// # Errors
    /// The first component that cannot be loaded, or has to be compiled first.
    async fn compare(
        &self,
        manifest: &Manifest,
        (slot, old): (&Slot, &Entries),
        loader: &Loader,
        rules: &ReloadRules<'_>,
    ) -> Result<Vec<(Arc<str>, Diff)>, Unmade> {
        let mut diffs = Vec::new();
        for (name, component) in &manifest.components {
            let diff = match old.get(name) {
                Some(_) if rules.leave(name, old) => self.note_file(slot, component, loader).await,
                Some(entry) if entry.knows(component, rules.only_changed) => {
                    self.refresh(entry, component, loader, rules).await?
                }
                _ => Diff::Next(self.load(component, loader, Urgency::BesideTraffic).await?),
            };
            diffs.push((name.clone(), diff));
        }
        Ok(diffs)
    }

    /// Reads the file of a component that stays as a later change has left it, so that the file is
    /// nothing new to the next reload.
    async fn note_file(&self, slot: &Slot, component: &ComponentConfig, loader: &Loader) -> Diff {
        let stays = |app: &Arc<App>| app.source.path == component.source;
        let is_its_file = slot.current().app(&component.name).is_some_and(stays);
        match loader.read(&component.source).await {
            Ok(source) if is_its_file => Diff::SourceRead(WatchedSource::new(&source)),
            Ok(_) | Err(_) => Diff::Nothing,
        }
    }

    /// Loads a component again whose entry is the same, if its file has changed.
    async fn refresh(
        &self,
        entry: &Entry,
        component: &ComponentConfig,
        loader: &Loader,
        rules: &ReloadRules<'_>,
    ) -> Result<Diff, Unmade> {
        let source =
            loader.read(&component.source).await.map_err(|why| self.named(component, why))?;
        let watched = WatchedSource::new(&source);
        if rules.only_changed && entry.was_read(component, &watched.digest) {
            return Ok(Diff::Nothing);
        }
        match entry.holds(component, &watched.digest) {
            Some(Place::Current) if entry.candidate.is_some() => return Ok(Diff::Back(watched)),
            Some(Place::Current | Place::Candidate) => return Ok(Diff::SourceRead(watched)),
            None => {}
        }
        if !entry.current.entry.is_same_version(component) {
            return self.load(component, loader, Urgency::BesideTraffic).await.map(Diff::Next);
        }
        let settings = entry.current.settings.clone();
        let blueprint = loader.make(source, &settings, Urgency::BesideTraffic).await;
        let blueprint = blueprint.map_err(|why| self.named_unmade(component, why))?;
        let component = Arc::new(component.clone());
        let same_entry = true;
        let next = LoadedComponent { component, settings, source: watched, blueprint, same_entry };
        Ok(Diff::Next(next))
    }

    /// The parts that differ from the first manifest and take a restart.
    fn restart(&self, now: &Manifest) -> Vec<String> {
        let first = &self.first;
        // It comes from the limits of components. Less of it is no loss: connections wait for longer
        // than the components do, which end what takes them too long.
        let body_idle = first.connection.body_idle;
        let connection = ConnectionLimits { body_idle, ..now.connection };
        let parts = [
            (
                "[listen]",
                !first.listen.is_same_table(&now.listen) || first.connection != connection,
            ),
            ("body-idle-timeout", now.connection.body_idle > body_idle),
            ("[log]", without_trace(&first.log) != without_trace(&now.log)),
            ("[trace]", first.log.trace != now.log.trace),
            ("[stop]", first.stop != now.stop),
            ("[swap]", first.swap != now.swap),
            ("[total]", first.total != now.total),
        ];
        let tables =
            parts.iter().filter(|(_, differs)| *differs).map(|(part, _)| (*part).to_owned());
        let listeners = first.listen.other_listeners(&now.listen);
        tables.chain(listeners.iter().map(|name| format!("[[listener]] {name}"))).collect()
    }
}
fn without_trace(log: &LogConfig) -> LogConfig {
    LogConfig { trace: TraceConfig::default(), ..log.clone() }
}
