//! What a reload compares a manifest with: what is served of each component, and what was read of it last.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use host_manifest::ComponentConfig;

use super::app::App;
use super::slot::Slot;
use crate::component::Settings;

/// The components that are served, by name.
pub(super) type Entries = BTreeMap<Arc<str>, Entry>;

/// A component before a reload. Holds nothing of its generations: only exchanges may.
pub(super) struct Entry {
    /// What serves.
    pub(super) current: Version,
    /// What takes over from it, while a canary is under way.
    pub(super) candidate: Option<Version>,
    /// What the manifest has said of it last.
    read: Arc<ComponentConfig>,
    /// Of its file, when that was read last.
    read_digest: Arc<str>,
}

/// A version that serves or is to serve.
pub(super) struct Version {
    pub(super) entry: Arc<ComponentConfig>,
    pub(super) settings: Arc<Settings>,
    digest: Arc<str>,
    path: PathBuf,
}

/// Where a version is that a manifest asks for.
pub(super) enum Place {
    Current,
    Candidate,
}

/// What is served.
pub(super) fn entries(slot: &Slot) -> Entries {
    let entry = |app: &Arc<App>| Entry {
        current: Version::new(app),
        candidate: app.candidate().map(|candidate| Version::new(candidate)),
        read: app.entry.clone(),
        read_digest: app.source.digest.clone(),
    };
    slot.current().apps().map(|app| (app.manifest.name.clone(), entry(app))).collect()
}

impl Entry {
    /// Whether it is enough to look at the file of a component.
    pub(super) fn knows(&self, component: &ComponentConfig, only_changed: bool) -> bool {
        let is_same = |version: &Version| version.entry.is_same_version(component);
        is_same(&self.current)
            || self.candidate.as_ref().is_some_and(is_same)
            || only_changed && self.read.is_same_version(component)
    }

    /// Whether all of this was read before.
    pub(super) fn was_read(&self, component: &ComponentConfig, digest: &Arc<str>) -> bool {
        self.read.is_same_version(component) && self.read_digest == *digest
    }

    /// Where the version of this entry and this file is, if it is anywhere.
    pub(super) fn holds(&self, component: &ComponentConfig, digest: &Arc<str>) -> Option<Place> {
        let is_it = |version: &Version| {
            version.entry.is_same_version(component)
                && version.digest == *digest
                && version.path == component.source
        };
        if self.candidate.as_ref().is_some_and(is_it) {
            return Some(Place::Candidate);
        }
        is_it(&self.current).then_some(Place::Current)
    }
}

impl Version {
    fn new(app: &App) -> Self {
        Self {
            entry: app.manifest.clone(),
            settings: app.settings.clone(),
            digest: app.generation().digest().clone(),
            path: app.generation().path().to_owned(),
        }
    }
}
