//! Who has to vouch for what is loaded.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use host_manifest::TrustConfig;
use host_registry::{ContentDigest, OciReference, RegistrySignature};
use host_trust::{
    ImageIdentity, ImageSignature, KeyName, PublicKey, TrustPolicy, Untrusted, Vouched,
};
use tracing::warn;

/// A signature is a line.
const LARGEST_SIGNATURE: u64 = 16 << 10;

/// The keys that count now, and what they have vouched for.
#[derive(Debug, Default)]
pub(crate) struct TrustInForce {
    policy: Mutex<TrustPolicy>,
    /// Components that came from a registry, and whose images were signed.
    accepted: Mutex<BTreeSet<ContentDigest>>,
}

/// Reads the keys of a manifest. Blocks for a moment.
pub(crate) fn read_keys(config: &TrustConfig) -> Result<TrustPolicy, String> {
    let key = |path: &PathBuf| {
        let text =
            fs::read(path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
        let name = KeyName::new(path.display().to_string());
        PublicKey::from_pem(&name, &text).map_err(|why| format!("trust.keys: {why}"))
    };
    let keys = config.keys.iter().map(key).collect::<Result<_, String>>()?;
    Ok(TrustPolicy::new(keys, config.require))
}

impl TrustInForce {
    /// By these keys, and nothing accepted yet.
    pub(super) fn new(policy: TrustPolicy) -> Self {
        Self { policy: Mutex::new(policy), accepted: Mutex::default() }
    }

    /// From now on the other one counts.
    pub(super) fn replace(&self, other: Self) {
        let Self { policy, accepted } = other;
        *lock(&self.policy) = policy.into_inner().unwrap_or_else(PoisonError::into_inner);
        *lock(&self.accepted) = accepted.into_inner().unwrap_or_else(PoisonError::into_inner);
    }

    /// Whether signatures are looked at.
    pub(super) fn asks(&self) -> bool {
        let policy = lock(&self.policy);
        policy.requires() || !policy.keys().is_empty()
    }

    /// Whether what nobody has signed is refused.
    pub(super) fn requires(&self) -> bool {
        lock(&self.policy).requires()
    }

    /// A component with this digest may be loaded, and code that is in it may run: a key has signed it.
    pub(super) fn accept(&self, component: ContentDigest) {
        lock(&self.accepted).insert(component);
    }

    /// Whether a key has signed an image.
    ///
    /// # Errors
    /// If none has, and one has to.
    pub(super) fn vouch_image(
        &self,
        image: &OciReference,
        manifest: ContentDigest,
        signatures: &[RegistrySignature],
    ) -> Result<bool, Untrusted> {
        let signatures: Vec<ImageSignature> = signatures
            .iter()
            .map(|it| ImageSignature {
                payload: it.payload.clone(),
                signature: it.signature.clone(),
            })
            .collect();
        let (repository, digest) = (image.identity(), manifest.to_string());
        let identity = ImageIdentity { repository: &repository, digest: &digest };
        match lock(&self.policy).verify(identity, &signatures)? {
            Vouched::By(_) => Ok(true),
            Vouched::Nobody(_) => Ok(false),
        }
    }

    /// Whether a file may be loaded: it came from a registry and was accepted, or a key has signed it beside it, in
    /// `FILE.sig`. A bundle, whose code will run, always needs a key. Called with the bytes that are loaded. Blocks for a
    /// moment.
    ///
    /// # Errors
    /// In one line, why not.
    pub(crate) fn vouch(&self, path: &Path, bytes: &[u8], is_bundle: bool) -> Result<(), String> {
        let code = || {
            format!(
                "{} has compiled code in it, which is run only if a key of [trust] has signed it (host sign): else \
                 name the component that it was made from",
                path.display()
            )
        };
        if is_bundle && !self.asks() {
            return Err(code());
        }
        if !self.asks() || lock(&self.accepted).contains(&ContentDigest::of(bytes)) {
            return Ok(());
        }
        let beside = signature_path(path);
        let signature = read_signature(&beside)
            .map_err(|why| format!("cannot read {}: {why}", beside.display()))?;
        let vouched = lock(&self.policy).verify_blob(bytes, signature.as_deref());
        match vouched {
            Ok(Vouched::By(_)) => Ok(()),
            Ok(Vouched::Nobody(why)) if is_bundle => Err(format!("{}; {why}", code())),
            Ok(Vouched::Nobody(why)) => {
                if signature.is_some() {
                    warn!(file = %path.display(), "the signature beside it counts for nothing: {why}");
                }
                Ok(())
            }
            Err(why) => Err(format!("{}: {why}", path.display())),
        }
    }
}

/// Where the signature of a file stands: beside it.
pub(crate) fn signature_path(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sig");
    beside.into()
}

fn read_signature(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why),
        Ok(meta) if !meta.is_file() || meta.len() > LARGEST_SIGNATURE => {
            Err(io::Error::other("it is no signature"))
        }
        Ok(_) => fs::read(path).map(Some),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
