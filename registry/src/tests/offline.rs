//! What is in the store is given without a word to anybody.

use std::collections::BTreeSet;
use std::fs;

use tempfile::TempDir;

use crate::{
    ComponentSupply, ContentDigest, ContentStore, LockFile, PinnedComponent, Reference,
    SuppliedComponent, SupplyError,
};

use super::fake_registry::{FakeRegistry, Reply, manifest};
use super::{COMPONENT, client, nobody};
use crate::push::json;

fn supply(place: &TempDir) -> ComponentSupply {
    ComponentSupply::new(client(), ContentStore::open(place.path(), 1_000_000).unwrap())
}

async fn get(
    supply: &ComponentSupply,
    source: &Reference,
    pin: Option<PinnedComponent>,
) -> Result<SuppliedComponent, SupplyError> {
    supply.get(source, pin, &nobody(), &BTreeSet::new()).await
}

fn manifest_digest() -> ContentDigest {
    ContentDigest::of(&json(&manifest()))
}

#[tokio::test]
async fn a_tag_with_a_pin_is_given_out_of_the_store() {
    let (place, registry) = (TempDir::new().unwrap(), FakeRegistry::with_component().await);
    let source = Reference::Oci(registry.image("app:1"));
    let pulled = get(&supply(&place), &source, None).await.unwrap();
    assert_eq!((pulled.bytes.as_slice(), pulled.was_here), (COMPONENT, false));
    let size = u64::try_from(COMPONENT.len()).unwrap();
    let pin = PinnedComponent {
        manifest: Some(manifest_digest()),
        sha256: ContentDigest::of(COMPONENT),
        size,
    };
    assert_eq!(pulled.pin, pin);
    let asked = registry.heard().len();
    for supply in [supply(&place), supply(&place).offline()] {
        let kept = get(&supply, &source, Some(pin)).await.unwrap();
        assert_eq!((kept.bytes.as_slice(), kept.was_here, kept.pin), (COMPONENT, true, pin));
    }
    assert_eq!(registry.heard().len(), asked, "nobody was asked");
}

#[tokio::test]
async fn a_digest_in_a_source_is_a_pin() {
    let (place, registry) = (TempDir::new().unwrap(), FakeRegistry::with_component().await);
    get(&supply(&place), &Reference::Oci(registry.image("app:1")), None).await.unwrap();
    drop(registry);
    let offline = supply(&place).offline();
    let by_digest: Reference =
        format!("oci://gone.invalid/app@{}", manifest_digest()).parse().unwrap();
    assert_eq!(get(&offline, &by_digest, None).await.unwrap().bytes, COMPONENT);
    let digest = ContentDigest::of(COMPONENT).hex();
    let file: Reference = format!("https://gone.invalid/app.wasm#sha256={digest}").parse().unwrap();
    assert_eq!(get(&offline, &file, None).await.unwrap().pin.manifest, None);
}

#[tokio::test]
async fn what_is_not_in_the_store_is_not_to_be_had_offline() {
    let place = TempDir::new().unwrap();
    let offline = supply(&place).offline();
    for text in [
        "oci://gone.invalid/app:1".to_owned(),
        format!("oci://gone.invalid/app@{}", manifest_digest()),
    ] {
        let error = get(&offline, &text.parse().unwrap(), None).await.unwrap_err();
        assert!(matches!(error, SupplyError::Offline { .. }), "{error}");
        assert!(error.to_string().starts_with(&text), "{error}");
    }
}

#[tokio::test]
async fn what_is_damaged_in_the_store_is_pulled_again_by_its_pin() {
    let place = TempDir::new().unwrap();
    let registry = FakeRegistry::answering(|heard| match heard.target.as_str() {
        // The tag leads elsewhere meanwhile.
        target if target.ends_with(&manifest_digest().to_string()) => {
            Reply::new(200, json(&manifest()))
        }
        target if target.contains("/blobs/") => Reply::new(200, COMPONENT),
        _ => Reply::new(500, ""),
    })
    .await;
    let source = Reference::Oci(registry.image("app:1"));
    let pin = PinnedComponent {
        manifest: Some(manifest_digest()),
        sha256: ContentDigest::of(COMPONENT),
        size: 19,
    };
    assert!(!get(&supply(&place), &source, Some(pin)).await.unwrap().was_here);
    let file = place.path().join("sha256").join(pin.sha256.hex());
    fs::write(&file, "damaged").unwrap();
    let again = get(&supply(&place), &source, Some(pin)).await.unwrap();
    assert_eq!((again.bytes.as_slice(), again.was_here), (COMPONENT, false));
    assert_eq!(fs::read(&file).unwrap(), COMPONENT);
}

#[tokio::test]
async fn a_pin_that_disagrees_is_refused_with_both_digests() {
    let (place, registry) = (TempDir::new().unwrap(), FakeRegistry::with_component().await);
    let other = ContentDigest::of(b"other");
    let by_digest = Reference::Oci(registry.image("app:1").pinned(manifest_digest()));
    let pin = PinnedComponent { manifest: Some(other), sha256: other, size: 1 };
    let error = get(&supply(&place), &by_digest, Some(pin)).await.unwrap_err().to_string();
    assert!(
        error.contains(&other.to_string()) && error.contains(&manifest_digest().to_string()),
        "{error}"
    );
    assert!(registry.heard().is_empty());
    // The manifest of the lock file is right, what it says of the component is not.
    let pin = PinnedComponent { manifest: Some(manifest_digest()), sha256: other, size: 1 };
    let registry = FakeRegistry::answering(|heard| {
        if heard.target.contains("/blobs/") {
            Reply::new(200, COMPONENT)
        } else {
            Reply::new(200, json(&manifest()))
        }
    })
    .await;
    let source = Reference::Oci(registry.image("app:1"));
    let error = get(&supply(&place), &source, Some(pin)).await.unwrap_err();
    assert!(matches!(error, SupplyError::Pin(_)), "{error}");
}

#[tokio::test]
async fn what_was_supplied_is_what_a_lock_file_says() {
    let (place, registry) = (TempDir::new().unwrap(), FakeRegistry::with_component().await);
    let source = Reference::Oci(registry.image("app:1"));
    let found = get(&supply(&place), &source, None).await.unwrap();
    let mut lock = LockFile::default();
    lock.pin(&source, found.pin);
    let path = place.path().join("host.lock");
    lock.save(&path).unwrap();
    let pin = LockFile::load(&path).unwrap().look_up(&source).copied();
    drop(registry);
    assert!(get(&supply(&place).offline(), &source, pin).await.unwrap().was_here);
}
