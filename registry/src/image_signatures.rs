//! The signatures of an image, as `cosign sign --key` pushes them: an image of its own beside it, with the tag
//! `sha256-HEX.sig`, one layer for each signature.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::client::{RegistryAccess, RegistryClient, blob, manifest};
use crate::digest::ContentDigest;
use crate::error::RegistryError;
use crate::image::{BlobDescriptor, ImageManifest, OCI_MANIFEST};
use crate::push::{json, put_blob, put_manifest};
use crate::reference::OciReference;
use crate::session::RegistrySession;

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// Somebody who may push could have us read for ever.
const MOST: usize = 32;
const LARGEST_PAYLOAD: u64 = 64 * 1024;

/// When nothing was made, as cosign writes it.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// A signature of an image, as a registry keeps it. Whether it is worth something, the registry does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySignature {
    /// What was signed, to the byte.
    pub payload: Vec<u8>,
    /// The signature, in base64.
    pub signature: String,
}

impl RegistryClient {
    /// The signatures of an image by the digest of its manifest; none if there are none.
    ///
    /// # Errors
    /// If they cannot be had, or are more than 32.
    pub async fn signatures(
        &self,
        image: &OciReference,
        digest: ContentDigest,
        access: &RegistryAccess,
    ) -> Result<Vec<RegistrySignature>, RegistryError> {
        let mut session = self.session(image, access, "pull").await?;
        let beside = beside(image, digest);
        let Some(manifest) = existing(&mut session, &beside).await? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for layer in manifest.layers.iter().filter(|layer| layer.media_type == PAYLOAD) {
            let Some(signature) = layer.annotations.get(SIGNATURE) else { continue };
            let none = |why| RegistryError::UnusableImage { image: beside.to_string(), why };
            let content = layer.content().map_err(none)?;
            let payload =
                blob(&mut session, &beside, content, LARGEST_PAYLOAD, "a payload").await?;
            found.push(RegistrySignature { payload, signature: signature.clone() });
        }
        Ok(found)
    }

    /// Adds a signature of an image to those that are there. Registries have no way to do that in one step: of two who
    /// add at the same moment one may have to do it again.
    ///
    /// # Errors
    /// If the registry does not take it, or has 32 already.
    pub async fn add_signature(
        &self,
        image: &OciReference,
        digest: ContentDigest,
        signature: RegistrySignature,
        access: &RegistryAccess,
    ) -> Result<(), RegistryError> {
        let mut session = self.session(image, access, "pull,push").await?;
        let beside = beside(image, digest);
        let there = existing(&mut session, &beside).await?;
        let mut layers = there.map(|manifest| manifest.layers).unwrap_or_default();
        let payload = Bytes::from(signature.payload);
        let annotations = BTreeMap::from([(SIGNATURE.to_owned(), signature.signature)]);
        let added = BlobDescriptor { annotations, ..BlobDescriptor::of(PAYLOAD, &payload) };
        let is_there = layers.iter().any(|layer| {
            layer.digest == added.digest
                && layer.annotations.get(SIGNATURE) == added.annotations.get(SIGNATURE)
        });
        if is_there {
            return Ok(());
        }
        layers.push(added);
        few(&beside, layers.len())?;
        let config = Bytes::from(config(&layers));
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config: BlobDescriptor::of(CONFIG, &config),
            layers,
            annotations: BTreeMap::new(),
        };
        put_blob(&mut session, &beside, payload).await?;
        put_blob(&mut session, &beside, config).await?;
        put_manifest(&mut session, &beside, &manifest).await.map(drop)
    }
}

/// The image that has the signatures of another.
fn beside(image: &OciReference, digest: ContentDigest) -> OciReference {
    image.tagged(format!("sha256-{}.sig", digest.hex()))
}

async fn existing(
    session: &mut RegistrySession,
    beside: &OciReference,
) -> Result<Option<ImageManifest>, RegistryError> {
    let text = match manifest(session, beside).await {
        Err(RegistryError::Missing { .. }) => return Ok(None),
        other => other?,
    };
    let none = |why| RegistryError::UnusableImage { image: beside.to_string(), why };
    let manifest = ImageManifest::parse(&text).map_err(none)?;
    few(beside, manifest.layers.len())?;
    Ok(Some(manifest))
}

fn few(beside: &OciReference, layers: usize) -> Result<(), RegistryError> {
    if layers <= MOST {
        return Ok(());
    }
    let why = format!("it has {layers} signatures, where {MOST} are the most; remove the old ones");
    Err(RegistryError::UnusableImage { image: beside.to_string(), why })
}

#[derive(Serialize)]
struct SignatureConfig<'a> {
    architecture: &'static str,
    created: &'static str,
    history: Vec<SignatureHistory>,
    os: &'static str,
    rootfs: SignatureRoot<'a>,
    config: BTreeMap<(), ()>,
}

#[derive(Serialize)]
struct SignatureHistory {
    created: &'static str,
}

#[derive(Serialize)]
struct SignatureRoot<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<&'a str>,
}

/// The configuration that cosign writes: it has the layers, and nothing else.
fn config(layers: &[BlobDescriptor]) -> Vec<u8> {
    json(&SignatureConfig {
        architecture: "",
        created: NO_TIME,
        history: layers.iter().map(|_| SignatureHistory { created: NO_TIME }).collect(),
        os: "",
        rootfs: SignatureRoot {
            kind: "layers",
            diff_ids: layers.iter().map(|layer| layer.digest.as_str()).collect(),
        },
        config: BTreeMap::new(),
    })
}
