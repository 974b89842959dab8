//! What a registry keeps of a component: a manifest, a configuration and a layer, laid out as the CNCF's working group
//! on Wasm has it (`application/vnd.wasm.config.v0+json`, `application/wasm`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::ContentDigest;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
pub(crate) const WASM_LAYER: &str = "application/wasm";

/// What `wasm-to-oci` and older tools push: the same, by another name.
const OLDER_LAYERS: [&str; 2] = [
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
];

/// What is taken as a manifest. Indexes are asked for too: a registry that has one says it is there, and not that there
/// is nothing, so a sentence can say what it is.
pub(crate) const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// What a registry takes at most, by its specification.
pub(crate) const LARGEST_MANIFEST: u64 = 4 * 1024 * 1024;

/// A manifest of an image.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageManifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: BlobDescriptor,
    pub(crate) layers: Vec<BlobDescriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A part of an image.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlobDescriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// The layer that a component is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ComponentLayer {
    pub(crate) digest: ContentDigest,
    pub(crate) size: u64,
}

/// Only what tells an index from a manifest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyManifest {
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
}

impl ImageManifest {
    /// Reads a manifest. The bytes say what it is: the head of the answer is by nobody's signature.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let any: AnyManifest =
            serde_json::from_slice(text).map_err(|_| "its manifest is not in JSON".to_owned())?;
        let kind = any.media_type.unwrap_or_else(|| OCI_MANIFEST.to_owned());
        if any.manifests.is_some() || kind.contains(".index.") || kind.contains(".manifest.list.") {
            return Err("it is a list of images, for several platforms; name the manifest of the component by its \
                        digest"
                .into());
        }
        if kind != OCI_MANIFEST && kind != DOCKER_MANIFEST {
            return Err(format!("its manifest is of another kind ({})", plain(&kind)));
        }
        let read: Result<Self, _> = serde_json::from_slice(text);
        let manifest = read.map_err(|_| "its manifest has not what one has to have".to_owned())?;
        if manifest.schema_version == 2 {
            Ok(manifest)
        } else {
            Err(format!("its manifest is of version {}, not 2", manifest.schema_version))
        }
    }

    /// The one layer that is WebAssembly.
    pub(crate) fn component(&self) -> Result<ComponentLayer, String> {
        let is_wasm = |layer: &&BlobDescriptor| {
            layer.media_type == WASM_LAYER || OLDER_LAYERS.contains(&layer.media_type.as_str())
        };
        let mut layers = self.layers.iter().filter(is_wasm);
        match (layers.next(), layers.count()) {
            (Some(layer), 0) => layer.content(),
            (Some(_), more) => {
                Err(format!("it has {} layers of WebAssembly, where one is wanted", more + 1))
            }
            (None, _) => {
                let kinds: Vec<String> =
                    self.layers.iter().map(|layer| plain(&layer.media_type)).collect();
                let has = if kinds.is_empty() { "none".into() } else { kinds.join(", ") };
                Err(format!(
                    "none of its layers is {WASM_LAYER} (it has {})",
                    has.chars().take(300).collect::<String>()
                ))
            }
        }
    }
}

impl BlobDescriptor {
    pub(crate) fn of(kind: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: kind.to_owned(),
            digest: ContentDigest::of(bytes).to_string(),
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            annotations: BTreeMap::new(),
        }
    }

    /// What is named by it.
    pub(crate) fn content(&self) -> Result<ComponentLayer, String> {
        let digest = self.digest.parse();
        let digest = digest.map_err(|_| "its layer is named by no SHA-256".to_owned())?;
        Ok(ComponentLayer { digest, size: self.size })
    }
}

/// A word of somebody else's, for a sentence.
fn plain(word: &str) -> String {
    word.chars().filter(|one| !one.is_control()).take(100).collect()
}
