//! A component by its source: from the store where it is known what the source leads to and it is there, else from its
//! registry, and into the store.

use std::collections::BTreeSet;

use thiserror::Error;
use tokio::task;

use crate::client::{PulledComponent, RegistryAccess, RegistryClient};
use crate::digest::ContentDigest;
use crate::error::RegistryError;
use crate::image::ImageManifest;
use crate::lock_file::{PinMismatch, PinnedComponent};
use crate::reference::Reference;
use crate::store::{ContentStore, StoreFailure};

/// Gives components by their sources.
#[derive(Clone, Debug)]
pub struct ComponentSupply {
    client: RegistryClient,
    store: ContentStore,
    online: bool,
}

/// A component, and what its source led to.
#[derive(Clone, PartialEq, Eq)]
pub struct SuppliedComponent {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What its source led to.
    pub pin: PinnedComponent,
    /// Nobody was asked: it was in the store.
    pub was_here: bool,
}

/// A component that is not to be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SupplyError {
    /// The registry has not given it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreFailure),
    /// The source leads to something else than what is pinned.
    #[error(transparent)]
    Pin(#[from] PinMismatch),
    /// It is not in the store, and nobody may be asked.
    #[error(
        "{source_name} is not in the store, and nothing may be pulled; pull it first, while there is a network"
    )]
    Offline {
        /// The source.
        source_name: String,
    },
    /// The thread that reads and writes has ended.
    #[error("the store cannot be used now: {0}")]
    NoThread(String),
}

impl std::fmt::Debug for SuppliedComponent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bytes, pin, was_here } = self;
        write!(f, "SuppliedComponent({} bytes, {pin:?}, was_here: {was_here})", bytes.len())
    }
}

impl ComponentSupply {
    /// A supply out of this store, and from registries.
    #[must_use]
    pub fn new(client: RegistryClient, store: ContentStore) -> Self {
        Self { client, store, online: true }
    }

    /// The same, which asks nobody.
    #[must_use]
    pub fn offline(self) -> Self {
        Self { online: false, ..self }
    }

    /// Who asks registries.
    #[must_use]
    pub fn client(&self) -> &RegistryClient {
        &self.client
    }

    /// Gives a component. With a pin, which is what the lock file says of the source, it is exactly that one: from the
    /// store without a word to anybody, or from the registry by the digest of its manifest, wherever its tag leads to
    /// now. A source with a digest in it is pinned by itself. What is given as in use stays in the store.
    ///
    /// # Errors
    /// If it is not to be had, or is another one.
    pub async fn get(
        &self,
        source: &Reference,
        pin: Option<PinnedComponent>,
        access: &RegistryAccess,
        in_use: &BTreeSet<ContentDigest>,
    ) -> Result<SuppliedComponent, SupplyError> {
        agrees(source, pin)?;
        if let Some(found) = self.kept(source, pin).await? {
            return Ok(found);
        }
        if !self.online {
            return Err(SupplyError::Offline { source_name: source.to_string() });
        }
        let asked = match (source, pin.and_then(|pin| pin.manifest)) {
            (Reference::Oci(image), Some(manifest)) => Reference::Oci(image.pinned(manifest)),
            _ => source.clone(),
        };
        let pulled = self.client.pull(&asked, access).await?;
        let found = pin_of(&pulled);
        if let Some(pin) = pin.filter(|pin| pin.sha256 != found.sha256) {
            let (pinned, found) = (pin.sha256, found.sha256);
            return Err(PinMismatch { source_name: source.to_string(), pinned, found }.into());
        }
        let bytes = self.keep(pulled, in_use.clone()).await?;
        Ok(SuppliedComponent { bytes, pin: found, was_here: false })
    }

    /// What is in the store, if it is known what the source leads to.
    async fn kept(
        &self,
        source: &Reference,
        pin: Option<PinnedComponent>,
    ) -> Result<Option<SuppliedComponent>, SupplyError> {
        let (store, source) = (self.store.clone(), source.clone());
        blocking(move || kept(&store, &source, pin)).await?
    }

    async fn keep(
        &self,
        pulled: PulledComponent,
        mut in_use: BTreeSet<ContentDigest>,
    ) -> Result<Vec<u8>, SupplyError> {
        let store = self.store.clone();
        blocking(move || {
            in_use.insert(ContentDigest::of(&pulled.bytes));
            if let Some(manifest) = &pulled.manifest {
                in_use.insert(store.write(manifest, &in_use)?);
            }
            store.write(&pulled.bytes, &in_use)?;
            Ok(pulled.bytes)
        })
        .await?
    }
}

/// Whether the pin is of what the source itself says.
fn agrees(source: &Reference, pin: Option<PinnedComponent>) -> Result<(), PinMismatch> {
    let Some(pin) = pin else { return Ok(()) };
    let (said, pinned) = match source {
        Reference::Oci(image) => (image.digest(), pin.manifest),
        Reference::File(file) => (Some(file.sha256()), Some(pin.sha256)),
    };
    match (said, pinned) {
        (Some(found), Some(pinned)) if found != pinned => {
            Err(PinMismatch { source_name: source.to_string(), pinned, found })
        }
        _ => Ok(()),
    }
}

fn kept(
    store: &ContentStore,
    source: &Reference,
    pin: Option<PinnedComponent>,
) -> Result<Option<SuppliedComponent>, SupplyError> {
    let known = match (pin, source) {
        (Some(pin), _) => Some((pin.manifest, pin.sha256)),
        (None, Reference::File(file)) => Some((None, file.sha256())),
        (None, Reference::Oci(image)) => match image.digest() {
            Some(digest) => layer(store, digest)?.map(|sha256| (Some(digest), sha256)),
            None => None,
        },
    };
    let Some((manifest, sha256)) = known else { return Ok(None) };
    Ok(store.read(sha256)?.map(|bytes| {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let pin = PinnedComponent { manifest, sha256, size };
        SuppliedComponent { bytes, pin, was_here: true }
    }))
}

/// The layer of a manifest that is in the store.
fn layer(
    store: &ContentStore,
    manifest: ContentDigest,
) -> Result<Option<ContentDigest>, StoreFailure> {
    let Some(text) = store.read(manifest)? else { return Ok(None) };
    let read = ImageManifest::parse(&text).and_then(|read| read.component());
    Ok(read.ok().map(|layer| layer.digest))
}

fn pin_of(pulled: &PulledComponent) -> PinnedComponent {
    PinnedComponent {
        manifest: pulled.manifest_digest(),
        sha256: ContentDigest::of(&pulled.bytes),
        size: u64::try_from(pulled.bytes.len()).unwrap_or(u64::MAX),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SupplyError> {
    task::spawn_blocking(work).await.map_err(|error| SupplyError::NoThread(error.to_string()))
}
