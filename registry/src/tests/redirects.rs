//! Where registries send us, and what goes along.

use crate::{ContentDigest, Reference, RegistryAccess, RegistryError, RegistryLogin};

use super::fake_registry::{FakeRegistry, Reply, manifest};
use super::{COMPONENT, client, nobody};
use crate::push::json;

/// A registry that sends everybody who wants a layer there.
async fn sending_to(location: String) -> FakeRegistry {
    FakeRegistry::answering(move |heard| {
        if heard.target.contains("/manifests/") {
            return Reply::new(200, json(&manifest()));
        }
        Reply::new(307, "").field("location", &location)
    })
    .await
}

async fn pull(registry: &FakeRegistry, access: &RegistryAccess) -> Result<Vec<u8>, RegistryError> {
    let source = Reference::Oci(registry.image("app:1"));
    client().pull(&source, access).await.map(|pulled| pulled.bytes)
}

#[tokio::test]
async fn a_redirect_to_another_server_is_followed_without_credentials() {
    let objects = FakeRegistry::answering(|_| Reply::new(200, COMPONENT)).await;
    let registry = sending_to(format!("http://{}/object?signature=secret", objects.host)).await;
    let access =
        RegistryAccess { login: Some(RegistryLogin::from_file(b"token").unwrap()), ..nobody() };
    assert_eq!(pull(&registry, &access).await.unwrap(), COMPONENT);
    assert!(registry.heard().iter().all(|heard| heard.authorization() == Some("Bearer token")));
    let heard = objects.heard();
    assert_eq!((heard.len(), heard[0].target.as_str()), (1, "/object?signature=secret"));
    assert!(!heard[0].head.contains("token"), "{:?}", heard[0]);
}

#[tokio::test]
async fn a_redirect_within_a_server_is_followed_with_credentials() {
    let registry = FakeRegistry::answering(|heard| match heard.target.as_str() {
        "/v2/app/manifests/1" => Reply::new(200, json(&manifest())),
        "/elsewhere" => Reply::new(200, COMPONENT),
        _ => Reply::new(302, "").field("location", "/elsewhere"),
    })
    .await;
    let access =
        RegistryAccess { login: Some(RegistryLogin::from_file(b"token").unwrap()), ..nobody() };
    assert_eq!(pull(&registry, &access).await.unwrap(), COMPONENT);
    assert_eq!(registry.heard()[2].authorization(), Some("Bearer token"));
}

#[tokio::test]
async fn redirects_to_plain_http_elsewhere_or_to_no_http_are_refused_without_their_query() {
    for (location, why) in [
        ("http://192.0.2.1/x?secret", "that is not TLS"),
        ("file:///etc/passwd", "that is no address of HTTP"),
        ("https://user:secret@example.com/", "a name or a password in an address is not sent"),
    ] {
        let registry = sending_to(location.to_owned()).await;
        let error = pull(&registry, &nobody()).await.unwrap_err();
        assert!(matches!(&error, RegistryError::Redirect { why: w, .. } if *w == why), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}

#[test]
fn another_machine_may_not_send_us_to_services_of_this_one() {
    let url = |text: &str| url::Url::parse(text).unwrap();
    let allowed = |from: &str, to: &str| crate::redirect::allowed(&url(from), &url(to)).is_ok();
    assert!(!allowed("https://registry.example.com/", "http://127.0.0.1:8500/v1/kv"));
    assert!(!allowed("https://registry.example.com/", "http://localhost/"));
    assert!(allowed("http://localhost:5000/", "http://127.0.0.1:9000/"));
    assert!(allowed("http://localhost:5000/", "https://example.com/"));
}

#[tokio::test]
async fn a_registry_that_sends_us_in_circles_is_given_up() {
    let registry =
        FakeRegistry::answering(|heard| Reply::new(307, "").field("location", &heard.target)).await;
    let error = pull(&registry, &nobody()).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Redirect { why: "there were too many of them", .. }),
        "{error}"
    );
    assert!(registry.heard().len() < 10);
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_told() {
    for (reply, part) in
        [(None, "does not say where to"), (Some("http://["), "an address that is none")]
    {
        let registry = FakeRegistry::answering(move |_| match reply {
            Some(location) => Reply::new(302, "").field("location", location),
            None => Reply::new(302, ""),
        })
        .await;
        let error = pull(&registry, &nobody()).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_is_redirected_has_its_digest_all_the_same() {
    let objects = FakeRegistry::answering(|_| Reply::new(200, "altered")).await;
    let location = format!("http://{}/x", objects.host);
    let server =
        FakeRegistry::answering(move |_| Reply::new(301, "").field("location", &location)).await;
    let digest = ContentDigest::of(COMPONENT).hex();
    let source: Reference = format!("http://{}/a#sha256={digest}", server.host).parse().unwrap();
    let error = client().pull(&source, &nobody()).await.unwrap_err();
    assert!(matches!(error, RegistryError::OtherDigest { .. }), "{error}");
}
