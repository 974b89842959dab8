//! Signatures of images, kept beside them: a start without a network checks them again.

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use host_registry::{ContentDigest, ContentStore, RegistrySignature};
use serde::{Deserialize, Serialize};
use tracing::debug;

#[derive(Serialize, Deserialize)]
struct KeptSignature {
    /// In base64.
    payload: String,
    signature: String,
}

fn path(store: &ContentStore, manifest: ContentDigest) -> PathBuf {
    store.path(manifest).with_extension("signatures")
}

/// What was kept; nothing if there is nothing that can be read. It is worth what the keys say of it.
pub(super) fn read(store: &ContentStore, manifest: ContentDigest) -> Vec<RegistrySignature> {
    let text = fs::read(path(store, manifest)).unwrap_or_default();
    let kept: Vec<KeptSignature> = serde_json::from_slice(&text).unwrap_or_default();
    let signature = |KeptSignature { payload, signature }: KeptSignature| {
        Some(RegistrySignature { payload: BASE64_STANDARD.decode(payload).ok()?, signature })
    };
    kept.into_iter().filter_map(signature).collect()
}

/// Keeps them. Without them, the registry is asked again.
pub(super) fn write(
    store: &ContentStore,
    manifest: ContentDigest,
    signatures: &[RegistrySignature],
) {
    let kept: Vec<KeptSignature> = signatures
        .iter()
        .map(|it| KeptSignature {
            payload: BASE64_STANDARD.encode(&it.payload),
            signature: it.signature.clone(),
        })
        .collect();
    let path = path(store, manifest);
    let written = serde_json::to_vec(&kept).map_err(Into::into).and_then(|text| {
        let new = path.with_extension("signatures-new");
        fs::write(&new, text)?;
        fs::rename(&new, &path)
    });
    if let Err(why) = written {
        debug!(path = %path.display(), %why, "signatures are not kept");
    }
}
