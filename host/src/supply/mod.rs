//! Components that come from registries and URLs: pulled into a store, pinned by the lock file, and vouched for by the
//! keys of the manifest. What has been pulled is a file of the store from then on, and is loaded like any other.
//!
//! ```text
//! manifest ─→ Supply::fill ─→ lock file, store or registry ─→ trust ─→ the same manifest, with files for sources
//! file ─→ TrustInForce::vouch ─→ load
//! ```

mod access;
mod kept_signatures;
mod trust;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use host_manifest::{ComponentConfig, Manifest};
use host_registry::{
    ComponentSupply, ContentDigest, ContentStore, LockFile, PinnedComponent, PullBounds, Reference,
    RegistryClient, SuppliedComponent, SupplyError,
};
use tracing::{info, warn};

use crate::component::{Rejected, Step, VouchForFile};
use crate::config::CacheSetting;
use crate::site::SiteBuilder;
pub(crate) use access::RegistryAccesses;
use trust::TrustInForce;
pub(crate) use trust::{read_keys, signature_path};

/// Bytes of the store. Beyond them the components go first that have not been used for longest.
const LARGEST_STORE: u64 = 4 << 30;

/// Where the components of a process come from that are no files of the operator's.
#[derive(Debug)]
pub(crate) struct Supply {
    /// None without a cache.
    directory: Option<PathBuf>,
    client: RegistryClient,
    /// Who vouches for what is loaded.
    trust: Arc<TrustInForce>,
    /// What sources that nothing pins led to last.
    tags: Mutex<BTreeMap<Reference, Tagged>>,
}

/// What a tag led to, and how its registry is asked.
#[derive(Clone, Debug)]
struct Tagged {
    manifest: Option<ContentDigest>,
    accesses: Arc<RegistryAccesses>,
}

impl Supply {
    /// Keeps what it pulls in the cache.
    pub(crate) fn new(cache: &CacheSetting) -> Arc<Self> {
        let directory = cache.directory().map(|cache| cache.join("components"));
        let bounds = PullBounds::default();
        Arc::new(Self {
            directory,
            client: RegistryClient::new(bounds),
            trust: Arc::default(),
            tags: Mutex::default(),
        })
    }

    /// Pulls what the components of a manifest come from, and puts its files in the place of their sources. From here on
    /// the keys of this manifest count for everything that is loaded.
    ///
    /// # Errors
    /// The first that is not to be had, is another than the one that is pinned, or that nobody vouches for.
    pub(crate) async fn fill(&self, mut manifest: Manifest) -> Result<Manifest, Rejected> {
        let policy = read_keys(&manifest.trust).map_err(|why| Rejected::at(Step::Manifest, why))?;
        let trust = TrustInForce::new(policy);
        let mut tags = BTreeMap::new();
        if manifest.components.values().any(|component| component.remote.is_some()) {
            let lock = LockFile::load(&manifest.registry.lock)
                .map_err(|why| Rejected::at(Step::Manifest, why.to_string()))?;
            let accesses = RegistryAccesses::read(&manifest.registry)
                .map_err(|why| Rejected::at(Step::Manifest, why))?;
            let store = self.store()?;
            let mut pull = Pull {
                supply: ComponentSupply::new(self.client.clone(), store.clone()),
                accesses: Arc::new(accesses),
                store,
                in_use: lock.iter().map(|(_, pinned)| pinned.sha256).collect(),
                lock,
                trust: &trust,
            };
            for component in manifest.components.values_mut() {
                let name = component.name.clone();
                let named = |why: Rejected| why.for_component(&name);
                if let Some((source, pin)) = pull.component(component).await.map_err(named)? {
                    let accesses = pull.accesses.clone();
                    tags.insert(source, Tagged { manifest: pin.manifest, accesses });
                }
            }
        }
        self.trust.replace(trust);
        *self.tags.lock().unwrap_or_else(PoisonError::into_inner) = tags;
        Ok(manifest)
    }

    /// Has a builder fill its manifests: the first one now, and others as they are read.
    ///
    /// # Errors
    /// As [`Self::fill`], of the first one.
    pub(crate) async fn for_builder(
        self: &Arc<Self>,
        builder: SiteBuilder,
    ) -> Result<SiteBuilder, Rejected> {
        let supply = self.clone();
        let fill = move |manifest| {
            let supply = supply.clone();
            async move { supply.fill(manifest).await }
        };
        builder.with_sources(fill).await
    }

    /// Says whether a file may be loaded.
    pub(crate) fn vouch(&self) -> VouchForFile {
        let trust = self.trust.clone();
        VouchForFile::new(move |path, bytes, is_bundle| trust.vouch(path, bytes, is_bundle))
    }

    fn store(&self) -> Result<ContentStore, Rejected> {
        let directory = self.directory.as_ref().ok_or_else(|| {
            let why = "components from registries are kept in the cache: leave out --no-cache";
            Rejected::at(Step::Fetch, why)
        })?;
        ContentStore::open(directory, LARGEST_STORE)
            .map_err(|why| Rejected::for_now(Step::Fetch, why.to_string()))
    }

    /// Whether a tag that nothing pins leads to something else now. What cannot be asked has not moved.
    pub(crate) async fn has_moved(&self) -> bool {
        let tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (source, Tagged { manifest, accesses }) in tags {
            let access = match accesses.to(&source) {
                Ok(access) => access,
                Err(why) => {
                    warn!(%source, "cannot look where a tag leads to: {why}");
                    continue;
                }
            };
            match self.client.resolve(&source, &access).await {
                Ok(now) if Some(now) == manifest => {}
                Ok(now) => {
                    info!(%source, digest = %now, "a tag has moved");
                    return true;
                }
                Err(why) => warn!(%source, "cannot look where a tag leads to: {why}"),
            }
        }
        false
    }
}

/// Pulls the components of one manifest.
struct Pull<'a> {
    supply: ComponentSupply,
    store: ContentStore,
    accesses: Arc<RegistryAccesses>,
    lock: LockFile,
    in_use: BTreeSet<ContentDigest>,
    trust: &'a TrustInForce,
}

impl Pull<'_> {
    /// Gives a component its file. Tells what its source led to if nothing pins that.
    async fn component(
        &mut self,
        component: &mut ComponentConfig,
    ) -> Result<Option<(Reference, PinnedComponent)>, Rejected> {
        let Some(remote) = &component.remote else { return Ok(None) };
        let source: Reference = remote.parse().map_err(|why: host_registry::ReferenceError| {
            Rejected::at(Step::Manifest, why.to_string())
        })?;
        let pin = self.lock.look_up(&source).copied();
        let access = self.accesses.to(&source).map_err(|why| Rejected::at(Step::Fetch, why))?;
        let supplied = self.supply.get(&source, pin, &access, &self.in_use).await;
        let supplied = supplied.map_err(|why| refused(&why))?;
        if !supplied.was_here {
            let (digest, bytes) = (supplied.pin.sha256.to_string(), supplied.bytes.len());
            info!(component = &*component.name, %source, digest, bytes, "component pulled");
        }
        self.vouch(&source, &supplied).await?;
        self.in_use.insert(supplied.pin.sha256);
        component.source = self.store.path(supplied.pin.sha256);
        let is_tag = matches!(&source, Reference::Oci(image) if image.digest().is_none());
        Ok((is_tag && pin.is_none()).then_some((source, supplied.pin)))
    }

    /// Has the keys vouch for it, by the signatures that its registry has, or that were kept when it was asked last.
    async fn vouch(
        &self,
        source: &Reference,
        supplied: &SuppliedComponent,
    ) -> Result<(), Rejected> {
        if !self.trust.asks() {
            return Ok(());
        }
        let unsigned = |why: String| Rejected::at(Step::Fetch, format!("{source}: {why}"));
        let Reference::Oci(image) = source else {
            let why = "trust.require wants a signature, and only images of a registry carry one: push it to one";
            return if self.trust.requires() { Err(unsigned(why.into())) } else { Ok(()) };
        };
        let manifest = supplied.pin.manifest.ok_or_else(|| unsigned("it is no image".into()))?;
        let kept = kept_signatures::read(&self.store, manifest);
        if self.trust.vouch_image(image, manifest, &kept).is_ok_and(|is_signed| is_signed) {
            self.trust.accept(supplied.pin.sha256);
            return Ok(());
        }
        let access = self.accesses.to(source).map_err(unsigned)?;
        let asked = self.supply.client().signatures(image, manifest, &access).await;
        let found = match asked {
            Ok(found) => found,
            Err(_) if !self.trust.requires() => Vec::new(),
            Err(why) => {
                let passing = why.is_transient();
                return Err(Rejected { passing, ..unsigned(why.to_string()) });
            }
        };
        let vouched = self.trust.vouch_image(image, manifest, &found);
        let is_signed = vouched.map_err(|why| unsigned(why.to_string()))?;
        if is_signed {
            kept_signatures::write(&self.store, manifest, &found);
            self.trust.accept(supplied.pin.sha256);
        }
        Ok(())
    }
}

fn refused(why: &SupplyError) -> Rejected {
    let passing = match why {
        SupplyError::Registry(why) => why.is_transient(),
        SupplyError::Pin(_) => false,
        _ => true,
    };
    Rejected { passing, ..Rejected::at(Step::Fetch, why.to_string()) }
}
