//! The plugin `jwt` of `guest/examples`, with keys that it fetches: how often, and what becomes of changes and failures.

use std::thread;
use std::time::Instant;

use crate::example_jwt::{PARTIES, claims, with_token};
use crate::support::chain::Chain;
use crate::support::issuer::{SigningKey, jwks};
use crate::support::prelude::*;
use crate::support::upstream::Upstream;

const PATH: &str = "/jwks.json";

fn chain(issuer: &Upstream, config: &str) -> Chain {
    let origin = format!("http://127.0.0.1:{}", issuer.port());
    Chain::new(&["jwt_p3"], "info_p3")
        .say("one", PARTIES)
        .say(
            "one",
            &format!("config.jwks-url = \"{origin}{PATH}\"\ngrants.outgoing = [\"{origin}\"]"),
        )
        .say("one", "grants.keyvalue.jwks = \"main\"")
        .say("one", config)
        .and("[keyvalue.main]\nbackend = \"memory\"")
}

fn keys() -> Option<[SigningKey; 2]> {
    Some([SigningKey::new("ES256", "first")?, SigningKey::new("ES256", "second")?])
}

/// No more than one fetch for unknown keys within a day: so any second one is one too many.
const DAY: &str = "config.min-interval = \"86400\"";

#[test]
fn jwt_fetches_keys_once_for_all_instances() {
    let Some([first, _]) = keys() else { return };
    let issuer = Upstream::start();
    issuer.put(PATH, &jwks(&[&first]));
    let host = chain(&issuer, DAY).start();
    assert_eq!(issuer.requests(), 1, "when it is loaded");
    let token = first.token(&claims(""));
    for _ in 0..10 {
        assert_eq!(with_token(&host, &token).status(), 200);
    }
    assert_eq!(issuer.requests(), 1);
    assert!(issuer.heads()[0].starts_with("GET /jwks.json HTTP/1.1"), "{:?}", issuer.heads());
}

#[test]
fn jwt_finds_a_new_key_of_the_issuer_when_the_first_token_comes_and_forgets_the_old_one() {
    let Some([first, second]) = keys() else { return };
    let issuer = Upstream::start();
    issuer.put(PATH, &jwks(&[&first]));
    let host = chain(&issuer, DAY).start();
    let (old, new) = (first.token(&claims("")), second.token(&claims("")));
    assert_eq!(with_token(&host, &old).status(), 200);
    issuer.put(PATH, &jwks(&[&second]));
    // All of them come at once, and one of them fetches.
    let statuses: Vec<u16> = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..6).map(|_| scope.spawn(|| with_token(&host, &new).status())).collect();
        clients.into_iter().map(|client| client.join().expect("a client that failed")).collect()
    });
    assert_eq!(statuses, [200; 6]);
    assert_eq!(issuer.requests(), 2);
    assert_eq!(with_token(&host, &old).status(), 401, "the issuer has it no more");
}

#[test]
fn jwt_does_not_fetch_more_often_whatever_clients_send() {
    let Some([first, second]) = keys() else { return };
    let issuer = Upstream::start();
    issuer.put(PATH, &jwks(&[&first]));
    let host = chain(&issuer, DAY).start();
    for number in 0..20 {
        let header = format!("{{\"alg\":\"ES256\",\"kid\":\"made-up-{number}\"}}");
        assert_eq!(with_token(&host, &second.signed(&header, &claims(""))).status(), 401);
    }
    assert_eq!(issuer.requests(), 2, "one at the load, and one for all keys that are not known");
    // What is refused anyway makes nobody look for its key.
    let issuer = Upstream::start();
    issuer.put(PATH, &jwks(&[&first]));
    let host = chain(&issuer, DAY).start();
    let elsewhere = second.token(&claims("").replace("shop", "bank"));
    assert_eq!(with_token(&host, &elsewhere).status(), 401);
    assert_eq!(issuer.requests(), 1);
}

#[test]
fn jwt_fetches_again_when_the_interval_is_over() {
    let Some([first, second]) = keys() else { return };
    let issuer = Upstream::start();
    issuer.put(PATH, &jwks(&[&first]));
    let host = chain(&issuer, "config.min-interval = \"1\"").start();
    let new = second.token(&claims(""));
    assert_eq!(with_token(&host, &new).status(), 401, "this uses up the turn");
    issuer.put(PATH, &jwks(&[&first, &second]));
    let began = Instant::now();
    while with_token(&host, &new).status() != 200 {
        assert!(began.elapsed() < PATIENCE, "it is never fetched again");
    }
    assert_eq!(with_token(&host, &first.token(&claims(""))).status(), 200);
}

#[test]
fn jwt_fetches_what_is_old_beside_a_request_that_has_passed() {
    let Some([first, _]) = keys() else { return };
    let issuer = Upstream::start();
    issuer.put(PATH, &jwks(&[&first]));
    let host = chain(&issuer, "config.refresh = \"1\"\nconfig.min-interval = \"1\"").start();
    let token = first.token(&claims(""));
    let began = Instant::now();
    while issuer.requests() < 3 {
        assert_eq!(with_token(&host, &token).status(), 200);
        assert!(began.elapsed() < PATIENCE, "{} requests", issuer.requests());
    }
}

#[test]
fn jwt_goes_by_the_keys_that_it_has_while_the_issuer_is_away_or_answers_nonsense() {
    let Some([first, second]) = keys() else { return };
    for nonsense in [None, Some("{}"), Some("{\"keys\":[]}"), Some("<html>")] {
        let issuer = Upstream::start();
        issuer.put(PATH, &jwks(&[&first]));
        let host = chain(&issuer, "config.min-interval = \"1\"").start();
        let held = match nonsense {
            None => {
                drop(issuer);
                None
            }
            Some(text) => {
                issuer.put(PATH, text);
                Some(issuer)
            }
        };
        assert_eq!(with_token(&host, &second.token(&claims(""))).status(), 401, "{nonsense:?}");
        host.wait_log("jwt: no keys from http://127.0.0.1:");
        assert_eq!(with_token(&host, &first.token(&claims(""))).status(), 200, "{nonsense:?}");
        drop(held);
    }
}

#[test]
fn jwt_without_any_keys_fails_and_lets_nobody_pass() {
    let Some([first, _]) = keys() else { return };
    let issuer = Upstream::start();
    issuer.put(PATH, &"x".repeat(300 << 10));
    let host = chain(&issuer, "config.min-interval = \"1\"").start();
    host.wait_log("it has more than 262144 bytes");
    let token = first.token(&claims(""));
    assert_eq!(with_token(&host, &token).status(), 502, "our failure, not the client's");
    issuer.put(PATH, &jwks(&[&first]));
    let began = Instant::now();
    while with_token(&host, &token).status() != 200 {
        assert!(began.elapsed() < PATIENCE, "it is never fetched again");
    }
}

#[test]
fn jwt_is_not_loaded_without_the_bucket_for_its_keys() {
    let config = format!("{PARTIES}\nconfig.jwks-url = \"https://issuer.example/jwks\"");
    let said = crate::example_config::refusal("jwt_p3", &config);
    assert!(said.contains("the bucket `jwks` is not granted"), "{said}");
    let said = crate::example_config::refusal("jwt_p3", &config.replace("https://", "ftp://"));
    assert!(said.contains("is no URL"), "{said}");
}
