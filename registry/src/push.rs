//! Putting a component into a registry.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Serialize;

use crate::client::{RegistryAccess, RegistryClient, manifest_url};
use crate::digest::ContentDigest;
use crate::error::RegistryError;
use crate::image::{BlobDescriptor, ImageManifest, OCI_MANIFEST, WASM_CONFIG, WASM_LAYER};
use crate::redirect;
use crate::reference::OciReference;
use crate::session::{Call, RegistrySession};

const CREATED: &str = "org.opencontainers.image.created";
const AUTHORS: &str = "org.opencontainers.image.authors";

/// Where nothing says when a component was made: the same component then has the same digest whenever it is pushed.
const SOME_TIME: &str = "1970-01-01T00:00:00Z";

/// What is pushed.
#[derive(Clone, Debug, Default)]
pub struct ComponentToPush {
    /// The component.
    pub bytes: Bytes,
    /// What is said of it in the manifest of its image: `org.opencontainers.image.…` and others.
    pub annotations: BTreeMap<String, String>,
    /// The interfaces that it imports, and those that it exports, for the configuration of its image. Tools show them.
    pub interfaces: Option<ComponentInterfaces>,
}

/// The interfaces of a component: `wasi:http/types@0.2.3`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ComponentInterfaces {
    /// What it exports.
    pub exports: Vec<String>,
    /// What it imports.
    pub imports: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WasmConfig<'a> {
    created: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<&'a str>,
    architecture: &'static str,
    os: &'static str,
    layer_digests: [String; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<&'a ComponentInterfaces>,
}

impl RegistryClient {
    /// Puts a component where the reference says, by its tag. The digest of the manifest is returned. What the registry
    /// has already is not sent.
    ///
    /// # Errors
    /// If the registry does not take it, or takes longer than the bounds allow.
    pub async fn push(
        &self,
        component: &ComponentToPush,
        image: &OciReference,
        access: &RegistryAccess,
    ) -> Result<ContentDigest, RegistryError> {
        let layer = BlobDescriptor::of(WASM_LAYER, &component.bytes);
        let config = Bytes::from(config(component, &layer));
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            artifact_type: Some(WASM_CONFIG.to_owned()),
            config: BlobDescriptor::of(WASM_CONFIG, &config),
            layers: vec![layer],
            annotations: component.annotations.clone(),
        };
        let mut session = self.session(image, access, "pull,push").await?;
        put_blob(&mut session, image, component.bytes.clone()).await?;
        put_blob(&mut session, image, config).await?;
        put_manifest(&mut session, image, &manifest).await
    }
}

fn config(component: &ComponentToPush, layer: &BlobDescriptor) -> Vec<u8> {
    let annotation = |name| component.annotations.get(name).map(String::as_str);
    json(&WasmConfig {
        created: annotation(CREATED).unwrap_or(SOME_TIME),
        author: annotation(AUTHORS),
        architecture: "wasm",
        os: "wasip2",
        layer_digests: [layer.digest.clone()],
        component: component.interfaces.as_ref(),
    })
}

/// Texts and numbers in maps of texts: there is nothing that JSON cannot write.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Puts a part of an image into its repository, unless it is there.
pub(crate) async fn put_blob(
    session: &mut RegistrySession,
    image: &OciReference,
    bytes: Bytes,
) -> Result<(), RegistryError> {
    let digest = ContentDigest::of(&bytes).to_string();
    let repository = image.repository();
    let there = session.address(&format!("/v2/{repository}/blobs/{digest}"));
    if session.answer(Call::new(Method::HEAD, there)).await?.status.is_success() {
        return Ok(());
    }
    let uploads = session.address(&format!("/v2/{repository}/blobs/uploads/"));
    let answer = session.call(Call::new(Method::POST, uploads.clone())).await?;
    expect(session, answer.status, StatusCode::ACCEPTED)?;
    let mut place = redirect::target(&uploads, &answer)?;
    place.query_pairs_mut().append_pair("digest", &digest);
    let put = Call::new(Method::PUT, place);
    let put = Call { content: Some(("application/octet-stream", bytes)), ..put };
    let answer = session.call(put).await?;
    expect(session, answer.status, StatusCode::CREATED)
}

/// Puts a manifest where a reference says.
pub(crate) async fn put_manifest(
    session: &mut RegistrySession,
    image: &OciReference,
    manifest: &ImageManifest,
) -> Result<ContentDigest, RegistryError> {
    let text = json(manifest);
    let digest = ContentDigest::of(&text);
    if let Some(asked) = image.digest().filter(|asked| *asked != digest) {
        let what = format!("what is pushed to {image}");
        return Err(RegistryError::OtherDigest { what, asked, found: digest });
    }
    let put = Call::new(Method::PUT, manifest_url(session, image));
    let put = Call { content: Some((OCI_MANIFEST, text.into())), ..put };
    let answer = session.call(put).await?;
    expect(session, answer.status, StatusCode::CREATED)?;
    Ok(digest)
}

fn expect(
    session: &RegistrySession,
    status: StatusCode,
    expected: StatusCode,
) -> Result<(), RegistryError> {
    if status == expected {
        return Ok(());
    }
    let why = format!("it says {status} where {expected} is wanted");
    Err(RegistryError::Protocol { host: session.host(), why })
}
