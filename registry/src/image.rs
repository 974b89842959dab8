//! What a registry keeps of a component: a manifest, a configuration and a layer, laid out as the CNCF's working group
//! on Wasm has it (`application/vnd.wasm.config.v0+json`, `application/wasm`).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

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

/// A manifest of a component has 1 KiB, one of another image seldom 10. What is read of one takes some times its size.
pub(crate) const LARGEST_MANIFEST: u64 = 1024 * 1024;

/// A manifest of an image.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageManifest {
    pub(crate) schema_version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: BlobDescriptor,
    pub(crate) layers: Vec<BlobDescriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A part of an image.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlobDescriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// The layer that a component is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ComponentLayer {
    pub(crate) digest: ContentDigest,
    pub(crate) size: u64,
}

impl ImageManifest {
    /// Reads a manifest. The bytes say what it is: the head of the answer is by nobody's signature.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        // Not by types of its own: the code for them would be many times of this.
        let value: Value =
            serde_json::from_slice(text).map_err(|_| "its manifest is not in JSON".to_owned())?;
        let kind = text_at(&value, "mediaType").unwrap_or_else(|| OCI_MANIFEST.to_owned());
        let is_list = value.get("manifests").is_some();
        if is_list || kind.contains(".index.") || kind.contains(".manifest.list.") {
            return Err("it is a list of images, for several platforms; name the manifest of the \
                        component by its digest"
                .into());
        }
        if kind != OCI_MANIFEST && kind != DOCKER_MANIFEST {
            return Err(format!("its manifest is of another kind ({})", plain(&kind)));
        }
        let read = Self::read(&value);
        let manifest =
            read.ok_or_else(|| "its manifest has not what one has to have".to_owned())?;
        if manifest.schema_version == 2 {
            Ok(manifest)
        } else {
            Err(format!("its manifest is of version {}, not 2", manifest.schema_version))
        }
    }

    fn read(value: &Value) -> Option<Self> {
        let layers = value.get("layers")?.as_array()?.iter().map(BlobDescriptor::read);
        Some(Self {
            schema_version: value.get("schemaVersion")?.as_u64()?,
            media_type: text_at(value, "mediaType"),
            artifact_type: text_at(value, "artifactType"),
            config: BlobDescriptor::read(value.get("config")?)?,
            layers: layers.collect::<Option<_>>()?,
            annotations: annotations(value),
        })
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
    fn read(value: &Value) -> Option<Self> {
        Some(Self {
            media_type: text_at(value, "mediaType")?,
            digest: text_at(value, "digest")?,
            size: value.get("size")?.as_u64()?,
            annotations: annotations(value),
        })
    }

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

fn text_at(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

fn annotations(value: &Value) -> BTreeMap<String, String> {
    let written = value.get("annotations").and_then(Value::as_object);
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    written.into_iter().flat_map(Map::iter).filter_map(text).collect()
}

/// A word of somebody else's, for a sentence.
fn plain(word: &str) -> String {
    word.chars().filter(|one| !one.is_control()).take(100).collect()
}
