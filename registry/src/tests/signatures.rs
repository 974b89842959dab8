//! Signatures beside an image, on a server that keeps what it is sent.

use crate::{ContentDigest, RegistryError, RegistrySignature};

use super::fake_registry::{FakeRegistry, Reply, manifest};
use super::{client, nobody};
use crate::image::BlobDescriptor;
use crate::push::json;

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// A registry that has so many signatures of anything.
async fn with_signatures(count: usize, size: u64) -> FakeRegistry {
    FakeRegistry::answering(move |heard| {
        if heard.target.contains("/blobs/") {
            return Reply::new(200, "payload");
        }
        let mut signatures = manifest();
        let mut layer = BlobDescriptor::of(PAYLOAD, b"payload");
        layer.size = size;
        layer.annotations.insert("dev.cosignproject.cosign/signature".into(), "c2ln".into());
        signatures.layers = vec![layer; count];
        // What is no signature, or has none, is none.
        signatures.layers.push(BlobDescriptor::of("text/plain", b"x"));
        signatures.layers.push(BlobDescriptor::of(PAYLOAD, b"y"));
        Reply::new(200, json(&signatures))
    })
    .await
}

async fn signatures(registry: &FakeRegistry) -> Result<Vec<RegistrySignature>, RegistryError> {
    client().signatures(&registry.image("app:1"), ContentDigest::of(b"m"), &nobody()).await
}

#[tokio::test]
async fn all_signatures_beside_an_image_are_read() {
    let registry = with_signatures(2, 7).await;
    let one = RegistrySignature { payload: b"payload".to_vec(), signature: "c2ln".into() };
    assert_eq!(signatures(&registry).await.unwrap(), [one.clone(), one]);
    let tag = format!("/v2/app/manifests/sha256-{}.sig", ContentDigest::of(b"m").hex());
    assert_eq!(registry.heard()[0].target, tag);
}

#[tokio::test]
async fn an_image_without_signatures_has_none_and_a_registry_that_fails_is_told() {
    let registry = FakeRegistry::answering(|_| Reply::new(404, "")).await;
    assert_eq!(signatures(&registry).await.unwrap(), []);
    let registry = FakeRegistry::answering(|_| Reply::new(500, "")).await;
    assert!(signatures(&registry).await.unwrap_err().is_transient());
}

#[tokio::test]
async fn too_many_signatures_and_too_large_ones_are_refused() {
    let error = signatures(&with_signatures(31, 7).await).await.unwrap_err();
    assert!(error.to_string().contains("33 signatures, where 32 are the most"), "{error}");
    let error = signatures(&with_signatures(1, 65_537).await).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 65_536, .. }), "{error}");
    let error = signatures(&with_signatures(1, 8).await).await.unwrap_err();
    assert!(matches!(error, RegistryError::OtherSize { said: 8, found: 7, .. }), "{error}");
}
