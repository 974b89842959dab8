//! The component that a change is about.

use std::path::PathBuf;
use std::sync::Arc;

use host_manifest::CanaryConfig;

use super::app::{App, WatchedSource};
use super::slot::Slot;
use crate::component::{Generation, Rejected, Settings, Source, Step};

/// A component that is to be changed, as it is now. Holds nothing of its generation: only exchanges
/// may.
pub(super) struct SwapTarget {
    pub(super) manifest: Arc<host_manifest::ComponentConfig>,
    pub(super) settings: Arc<Settings>,
    /// What the manifest says of how a new version takes over.
    pub(super) written_canary: Option<CanaryConfig>,
    pub(super) source: WatchedSource,
    pub(super) digest: Arc<str>,
    pub(super) number: u64,
    /// Digest and number of its candidate, while a canary is under way.
    pub(super) candidate: Option<(Arc<str>, u64)>,
}

impl SwapTarget {
    /// The component of this name, or the only one.
    ///
    /// # Errors
    /// There is none of that name, or more than one and none was named.
    pub(super) fn find(slot: &Slot, name: Option<&str>) -> Result<Self, Rejected> {
        let current = slot.current();
        let names = || {
            let names: Vec<&str> = current.apps().map(|app| &*app.manifest.name).collect();
            names.join(", ")
        };
        let refused = |why: String| Rejected::at(Step::Ask, why);
        let app = match name {
            Some(name) => current.app(name).ok_or_else(|| {
                refused(format!("there is no component {name}; there are: {}", names()))
            })?,
            None => {
                let mut apps = current.apps();
                let (Some(only), None) = (apps.next(), apps.next()) else {
                    return Err(refused(format!(
                        "there is more than one component; name one with --component: {}",
                        names()
                    )));
                };
                only
            }
        };
        Ok(Self {
            manifest: app.manifest.clone(),
            written_canary: app.entry.canary.clone(),
            settings: app.settings.clone(),
            source: app.source.clone(),
            digest: app.generation().digest().clone(),
            number: app.generation().number(),
            candidate: app.candidate().map(|candidate| {
                let generation = candidate.generation();
                (generation.digest().clone(), generation.number())
            }),
        })
    }

    /// What a reload reads after a swap to this file. Where a manifest names the component's file, that
    /// stays the one to read; without a manifest it is the file of the swap.
    pub(super) fn source_after_swap(&self, has_manifest: bool, source: &Source) -> WatchedSource {
        let stays = has_manifest && source.path() != self.source.path;
        if stays { self.source.clone() } else { WatchedSource::new(source) }
    }

    /// The same after a rollback to `next`, whose file was read long ago.
    pub(super) fn source_after_rollback(
        &self,
        has_manifest: bool,
        next: &Generation,
    ) -> WatchedSource {
        let (path, digest): (PathBuf, _) = (next.path().to_owned(), next.digest().clone());
        let stays = has_manifest || path == self.source.path;
        if stays { self.source.clone() } else { WatchedSource { path, stamp: None, digest } }
    }

    /// Takes note that the file which a reload reads has been read, and changes nothing else.
    pub(super) fn note_source(&self, slot: &Slot, source: WatchedSource) {
        let current = slot.current();
        if let Some(app) = current.app(&self.manifest.name) {
            let site = current.with_app(App { source, ..(**app).clone() });
            drop(current);
            drop(slot.swap(site));
        }
    }
}
