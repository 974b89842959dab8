//! Registries that lie, break off, are silent, or never end.

use std::time::Duration;

use crate::image::{BlobDescriptor, DOCKER_MANIFEST, WASM_LAYER};
use crate::push::json;
use crate::{ContentDigest, Reference, RegistryError};

use super::fake_registry::{FakeRegistry, Heard, Reply, Then, manifest};
use super::{COMPONENT, client, hasty, nobody};

/// A registry whose manifest is right, and that answers this when it is asked for the layer.
async fn with_layer(answer: impl Fn() -> Reply + Send + Sync + 'static) -> FakeRegistry {
    FakeRegistry::answering(move |heard| {
        if heard.target.contains("/manifests/") {
            Reply::new(200, json(&manifest()))
        } else {
            answer()
        }
    })
    .await
}

async fn with_manifest(text: impl Into<Vec<u8>>) -> FakeRegistry {
    let text = text.into();
    FakeRegistry::answering(move |heard: &Heard| {
        if heard.target.contains("/manifests/") {
            Reply::new(200, text.clone())
        } else {
            Reply::new(200, COMPONENT)
        }
    })
    .await
}

async fn pull(registry: &FakeRegistry) -> Result<(), RegistryError> {
    pull_of(registry, "app:1").await
}

async fn pull_of(registry: &FakeRegistry, name: &str) -> Result<(), RegistryError> {
    let source = Reference::Oci(registry.image(name));
    hasty().pull(&source, &nobody()).await.map(|pulled| assert_eq!(pulled.bytes, COMPONENT))
}

#[tokio::test]
async fn a_registry_that_tells_the_truth_is_believed() {
    let registry = FakeRegistry::with_component().await;
    pull(&registry).await.unwrap();
    let digest = ContentDigest::of(&json(&manifest()));
    let source = Reference::Oci(registry.image("app:1"));
    assert_eq!(client().resolve(&source, &nobody()).await.unwrap(), digest);
    let asked: Vec<String> = registry.heard().into_iter().map(|heard| heard.method).collect();
    assert_eq!(asked, ["GET", "GET", "HEAD"], "a resolve gets nothing");
}

#[tokio::test]
async fn a_registry_that_answers_no_head_is_asked_for_the_manifest() {
    let registry = FakeRegistry::answering(|heard| match heard.method.as_str() {
        "HEAD" => Reply::new(405, ""),
        _ => Reply::new(200, json(&manifest())),
    })
    .await;
    let source = Reference::Oci(registry.image("app:1"));
    let digest = client().resolve(&source, &nobody()).await.unwrap();
    assert_eq!(digest, ContentDigest::of(&json(&manifest())));
}

#[tokio::test]
async fn a_source_with_a_digest_is_resolved_without_asking() {
    let digest = ContentDigest::of(b"any");
    for text in [
        format!("oci://127.0.0.1:1/app:1@{digest}"),
        format!("https://a.invalid/b#sha256={}", digest.hex()),
    ] {
        assert_eq!(client().resolve(&text.parse().unwrap(), &nobody()).await.unwrap(), digest);
    }
}

#[tokio::test]
async fn another_manifest_than_the_digest_says_is_refused() {
    let registry = with_manifest(json(&manifest())).await;
    let asked = ContentDigest::of(b"what was asked for");
    let found = ContentDigest::of(&json(&manifest()));
    let error = pull_of(&registry, &format!("app@{asked}")).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::OtherDigest { asked: a, found: f, .. } if a == asked && f == found)
    );
    pull_of(&registry, &format!("app:other@{found}")).await.unwrap();
}

#[tokio::test]
async fn another_layer_than_the_manifest_says_is_refused() {
    let mut altered = COMPONENT.to_vec();
    altered[7] ^= 1;
    let registry = with_layer(move || Reply::new(200, altered.clone())).await;
    let error = pull(&registry).await.unwrap_err();
    assert!(matches!(error, RegistryError::OtherDigest { .. }), "{error}");
    assert!(error.to_string().contains(&ContentDigest::of(COMPONENT).to_string()), "{error}");
}

#[tokio::test]
async fn a_layer_that_is_shorter_or_longer_than_its_manifest_says_is_refused() {
    for length in [0, COMPONENT.len() - 1, COMPONENT.len() + 1] {
        let registry = with_layer(move || Reply::new(200, vec![0; length])).await;
        let error = pull(&registry).await.unwrap_err();
        assert!(matches!(error, RegistryError::OtherSize { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_layer_without_an_end_is_cut_off() {
    let head = "HTTP/1.1 200 OK\r\n";
    let registry = with_layer(move || Reply::raw(head, vec![0; 1000], Then::Repeat)).await;
    let error = pull(&registry).await.unwrap_err();
    let said = u64::try_from(COMPONENT.len()).unwrap();
    assert!(matches!(error, RegistryError::OtherSize { said: s, .. } if s == said), "{error}");
}

#[tokio::test]
async fn a_manifest_without_an_end_is_cut_off() {
    let head = "HTTP/1.1 200 OK\r\n";
    let registry =
        FakeRegistry::answering(move |_| Reply::raw(head, vec![b' '; 65536], Then::Repeat)).await;
    let error = pull(&registry).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 1_048_576, .. }), "{error}");
}

#[tokio::test]
async fn a_layer_that_says_it_is_too_large_is_not_asked_for() {
    let mut large = manifest();
    large.layers[0].size = 10_001;
    let registry = with_manifest(json(&large)).await;
    let error = pull(&registry).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 10_000, .. }), "{error}");
    assert_eq!(registry.heard().len(), 1);
}

#[tokio::test]
async fn a_layer_that_breaks_off_is_refused() {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", COMPONENT.len());
    let registry = with_layer(move || Reply::raw(&head, &COMPONENT[..5], Then::Close)).await;
    let error = pull(&registry).await.unwrap_err();
    assert!(matches!(error, RegistryError::Broken { .. }) && error.is_transient(), "{error}");
}

#[tokio::test]
async fn silence_in_the_middle_and_before_the_head_is_not_waited_out() {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", COMPONENT.len());
    for (head, body) in [(head.as_str(), &COMPONENT[..5]), ("HTTP/1.1 200 OK\r\nx: ", b"")] {
        let head = head.to_owned();
        let registry = with_layer(move || Reply::raw(&head, body, Then::Wait)).await;
        let error = pull(&registry).await.unwrap_err();
        let after = Duration::from_millis(300);
        assert_eq!(error, RegistryError::Silent { host: registry.host.clone(), after });
        assert!(error.is_transient());
    }
}

/// It says a byte often enough never to be silent.
#[tokio::test]
async fn a_registry_that_never_comes_to_an_end_is_given_up() {
    let digest = ContentDigest::of(b"x").hex();
    let registry = FakeRegistry::answering(|_| Reply::new(200, "")).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    let drops = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut went = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while went.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            went = stream.write_all(b".").await;
        }
    });
    let source: Reference = format!("http://{host}/app.wasm#sha256={digest}").parse().unwrap();
    let error = hasty().pull(&source, &nobody()).await.unwrap_err();
    assert_eq!(
        error,
        RegistryError::TooSlow { host: host.to_string(), after: Duration::from_secs(2) }
    );
    drops.await.unwrap();
    assert!(registry.heard().is_empty());
}

#[tokio::test]
async fn what_a_registry_says_of_an_error_is_told_and_what_may_pass_is_known() {
    let said = r#"{"errors": [{"code": "X", "message": "not\u001b[31m today"}]}"#;
    for (status, transient, part) in [
        (404, false, "is not there: not[31m today"),
        (403, false, "lets nobody in without credentials: not[31m today; give some for it"),
        (500, true, "says 500 Internal Server Error: not[31m today"),
        (503, true, "says 503"),
        (418, false, "says 418"),
        (204, false, "cannot be used: its manifest is not in JSON"),
    ] {
        let body = if status == 204 { "" } else { said };
        let registry = FakeRegistry::answering(move |_| Reply::new(status, body)).await;
        let error = pull(&registry).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(error.is_transient(), transient, "{error}");
    }
}

#[tokio::test]
async fn a_registry_that_wants_to_be_left_alone_says_for_how_long() {
    let registry =
        FakeRegistry::answering(|_| Reply::new(429, "{}").field("retry-after", "17")).await;
    let error = pull(&registry).await.unwrap_err();
    assert_eq!((error.again(), error.is_transient()), (Some(Duration::from_secs(17)), true));
    assert!(error.to_string().ends_with("asks to be left alone for 17s"), "{error}");
}

#[tokio::test]
async fn what_is_no_image_of_a_component_is_told_by_what_it_is() {
    let index = br#"{"schemaVersion": 2, "manifests": []}"#.to_vec();
    let list = br#"{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json"}"#;
    let mut text = manifest();
    text.layers[0].media_type = "text/plain\u{7}".into();
    let mut two = manifest();
    two.layers.push(two.layers[0].clone());
    let mut bare = manifest();
    bare.layers.clear();
    let mut other = manifest();
    other.media_type = Some("application/x-other".into());
    let mut version = manifest();
    version.schema_version = 1;
    let mut digest = manifest();
    digest.layers[0].digest = "sha512:00".into();
    for (text, part) in [
        (index, "it is a list of images, for several platforms"),
        (list.to_vec(), "it is a list of images"),
        (json(&text), "none of its layers is application/wasm (it has text/plain)"),
        (json(&bare), "none of its layers is application/wasm (it has none)"),
        (json(&two), "it has 2 layers of WebAssembly"),
        (json(&other), "its manifest is of another kind (application/x-other)"),
        (json(&version), "its manifest is of version 1, not 2"),
        (json(&digest), "its layer is named by no SHA-256"),
        (b"<html>".to_vec(), "its manifest is not in JSON"),
        (b"{}".to_vec(), "its manifest has not what one has to have"),
        (b"[1]".to_vec(), "its manifest has not what one has to have"),
    ] {
        let registry = with_manifest(text).await;
        let error = pull(&registry).await.unwrap_err();
        assert!(matches!(error, RegistryError::UnusableImage { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn images_of_older_tools_are_read() {
    for kind in [WASM_LAYER, "application/vnd.wasm.content.layer.v1+wasm"] {
        for media_type in [None, Some(DOCKER_MANIFEST.to_owned())] {
            let mut older = manifest();
            older.media_type = media_type;
            older.config = BlobDescriptor::of("application/vnd.wasm.config.v1+json", b"{}");
            older.layers[0].media_type = kind.to_owned();
            older.layers.push(BlobDescriptor::of("text/markdown", b"# README"));
            pull(&with_manifest(json(&older)).await).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told() {
    let source: Reference = "oci://127.0.0.1:1/app:1".parse().unwrap();
    let error = hasty().pull(&source, &nobody()).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Unreachable { host, .. } if host == "127.0.0.1:1"),
        "{error}"
    );
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_file_is_taken_with_its_digest_only() {
    let registry = FakeRegistry::answering(|_| Reply::new(200, COMPONENT)).await;
    let of = |digest: ContentDigest| -> Reference {
        format!("http://{}/app.wasm#sha256={}", registry.host, digest.hex()).parse().unwrap()
    };
    let pulled = client().pull(&of(ContentDigest::of(COMPONENT)), &nobody()).await.unwrap();
    assert_eq!((pulled.bytes.as_slice(), pulled.manifest), (COMPONENT, None));
    let error = client().pull(&of(ContentDigest::of(b"other")), &nobody()).await.unwrap_err();
    assert!(matches!(error, RegistryError::OtherDigest { .. }), "{error}");
}
