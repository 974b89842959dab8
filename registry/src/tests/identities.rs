//! Who we are to a registry: asked once, told once, and told to nobody else.

use crate::push::json;
use crate::{Reference, RegistryAccess, RegistryError, RegistryLogin};

use super::fake_registry::{FakeRegistry, Heard, Reply, manifest};
use super::token_server::TokenServer;
use super::{COMPONENT, client, nobody};

/// A registry that lets in whoever says this, and asks the others for it.
pub(super) async fn wanting(authorization: &'static str, challenge: String) -> FakeRegistry {
    FakeRegistry::answering(move |heard: &Heard| {
        if heard.authorization() != Some(authorization) {
            return Reply::new(401, "").field("www-authenticate", &challenge);
        }
        if heard.target.contains("/manifests/") {
            Reply::new(200, json(&manifest()))
        } else {
            Reply::new(200, COMPONENT)
        }
    })
    .await
}

fn with(login: &str) -> RegistryAccess {
    RegistryAccess { login: Some(RegistryLogin::from_file(login.as_bytes()).unwrap()), ..nobody() }
}

async fn pull(registry: &FakeRegistry, access: &RegistryAccess) -> Result<(), RegistryError> {
    let source = Reference::Oci(registry.image("app:1"));
    client().pull(&source, access).await.map(|pulled| assert_eq!(pulled.bytes, COMPONENT))
}

#[tokio::test]
async fn a_name_and_a_password_are_told_when_they_are_asked_for() {
    let registry = wanting("Basic dXNlcjpzZXNhbWU=", "Basic realm=\"r\"".into()).await;
    pull(&registry, &with("user:sesame")).await.unwrap();
    let told: Vec<bool> =
        registry.heard().iter().map(|heard| heard.authorization().is_some()).collect();
    assert_eq!(told, [false, true, true], "asked once, for all requests");
}

#[tokio::test]
async fn a_server_that_asks_again_and_again_is_told_once() {
    let registry = wanting("never", "Basic realm=\"r\"".into()).await;
    let error = pull(&registry, &with("user:sesame")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { known: true, .. }), "{error}");
    assert_eq!(registry.heard().len(), 2);
    let error = pull(&registry, &nobody()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { known: false, .. }), "{error}");
    assert!(error.to_string().contains("without credentials"), "{error}");
    let error = pull(&registry, &with("token")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { known: true, .. }), "{error}");
}

#[tokio::test]
async fn a_token_is_got_where_the_registry_says_and_for_what_it_says() {
    let tokens = TokenServer::new(r#"{"token": "t0k", "expires_in": 300}"#).await;
    let challenge = tokens.challenge(",service=\"s\",scope=\"repository:app:pull\"");
    let registry = wanting("Bearer t0k", challenge).await;
    pull(&registry, &with("user:sesame")).await.unwrap();
    let heard = tokens.heard();
    assert_eq!(heard.len(), 1, "one token for one pull");
    assert_eq!(heard[0].target, "/token?service=s&scope=repository%3Aapp%3Apull");
    assert_eq!(heard[0].authorization(), Some("Basic dXNlcjpzZXNhbWU="));
    assert!(
        registry.heard().iter().all(|heard| !heard.head.contains("Basic")),
        "only the server of tokens is told"
    );
}

#[tokio::test]
async fn without_credentials_a_token_is_asked_for_all_the_same() {
    let tokens = TokenServer::new(r#"{"access_token": "t0k"}"#).await;
    let registry = wanting("Bearer t0k", tokens.challenge("")).await;
    pull(&registry, &nobody()).await.unwrap();
    assert_eq!(tokens.heard()[0].target, "/token?scope=repository%3Aapp%3Apull");
    assert_eq!(tokens.heard()[0].authorization(), None);
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_not_got_again() {
    let tokens = TokenServer::new(r#"{"token": "t0k"}"#).await;
    let registry = wanting("never", tokens.challenge("")).await;
    let error = pull(&registry, &with("user:sesame")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }), "{error}");
    assert_eq!((registry.heard().len(), tokens.heard().len()), (2, 1));
}

#[tokio::test]
async fn a_server_of_tokens_that_gives_none_is_told() {
    for answer in ["{}", r#"{"token": ""}"#, "<html>", r#"{"token": 7}"#, "{\"token\": \"a\\nb\"}"]
    {
        let tokens = TokenServer::new(answer).await;
        let registry = wanting("never", tokens.challenge("")).await;
        let error = pull(&registry, &with("user:sesame")).await.unwrap_err();
        assert!(matches!(error, RegistryError::Protocol { .. }), "{answer}: {error}");
    }
}

#[tokio::test]
async fn credentials_go_to_no_server_of_tokens_without_tls() {
    let challenge = "Bearer realm=\"http://192.0.2.1/token\"".to_owned();
    let registry = wanting("never", challenge).await;
    let error = pull(&registry, &with("user:sesame")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Redirect { why: "that is not TLS", .. }), "{error}");
}

#[tokio::test]
async fn no_error_of_a_registry_shows_who_we_are() {
    let said = r#"{"errors": [{"message": "who are you?"}]}"#;
    let tokens = TokenServer::new(r#"{"token": "t0k"}"#).await;
    let challenge = tokens.challenge("");
    for status in [401, 403, 404, 429, 500] {
        let challenge = challenge.clone();
        let registry = FakeRegistry::answering(move |heard| {
            if heard.authorization().is_none() {
                return Reply::new(401, "").field("www-authenticate", &challenge);
            }
            Reply::new(status, said)
        })
        .await;
        let error = pull(&registry, &with("user:sesame")).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        for secret in ["sesame", "dXNlcjpzZXNhbWU", "t0k"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
