//! The plugin `jwt` of `guest/examples`, with keys of the configuration: whose tokens count.

use crate::example_config::refusal;
use crate::support::chain::Chain;
use crate::support::issuer::{SigningKey, base64url, hs256, jwks, now, unsigned};
use crate::support::prelude::*;

/// Claims that count, and more of them.
pub fn claims(more: &str) -> String {
    ending(600, more)
}

/// The same, ending in so many seconds.
fn ending(seconds: i64, more: &str) -> String {
    let end = now().checked_add_signed(seconds).expect("a time");
    format!("{{\"iss\":\"https://issuer\",\"aud\":\"shop\",\"sub\":\"ann\",\"exp\":{end}{more}}}")
}

#[track_caller]
pub fn with_token(host: &Host, token: &str) -> Response {
    ask(host, &format!("Authorization: Bearer {token}\r\n"))
}

#[track_caller]
fn ask(host: &Host, fields: &str) -> Response {
    let mut conn = host.connect();
    conn.send(format!("GET / HTTP/1.1\r\nHost: t\r\n{fields}\r\n")).unwrap();
    conn.read_response("GET").unwrap()
}

pub const PARTIES: &str = "config.issuer = \"https://issuer\"\nconfig.audience = \"shop other\"";

fn chain(keys: &[&SigningKey]) -> Chain {
    Chain::new(&["jwt_p3"], "info_p3")
        .say("one", PARTIES)
        .say("one", &format!("config.jwks = '{}'", jwks(keys)))
}

/// Why a token was refused, as its sender is told.
#[track_caller]
fn refused(answer: &Response) -> String {
    assert_eq!(answer.status(), 401, "{}", answer.text());
    let challenge = answer.header("www-authenticate").expect("a challenge").to_owned();
    assert!(challenge.starts_with("Bearer"), "{challenge}");
    assert!(!answer.text().contains("header."), "the component behind has answered");
    challenge
}

#[test]
fn jwt_lets_tokens_of_each_kind_of_key_pass_and_tells_the_component_behind_who_it_is() {
    let keys = ["RS256", "ES256", "EdDSA"].map(|kind| SigningKey::new(kind, kind));
    let [Some(rsa), Some(ec), Some(ed)] = &keys else { return };
    let more = ",\"name\":\"Zo\u{eb} 100%\\r\\n\",\"https://x/roles\":[\"a\",\"b\"],\"n\":[1,{}]";
    for forward in ["false", "true"] {
        let host = chain(&[rsa, ec, ed])
            .say("one", "config.claims = \"sub name n none https://x/roles=roles\"")
            .say("one", &format!("config.forward = {forward:?}"))
            .start();
        for key in [rsa, ec, ed] {
            let token = key.token(&claims(more));
            let answer = ask(
                &host,
                &format!(
                    "Authorization: bearer {token}\r\nX-Jwt-Sub: eve\r\nX-Jwt-Admin: 1\r\nX_JWT_Sub: eve\r\n\
                     X-Jwt-None: eve\r\n"
                ),
            );
            assert_eq!(answer.status(), 200, "{key:?} {}", answer.text());
            let text = answer.text();
            let mut told: Vec<_> = text
                .lines()
                .filter(|line| line.to_lowercase().replace('_', "-").contains("x-jwt-"))
                .collect();
            told.sort_unstable();
            assert_eq!(
                told,
                [
                    "header.x-jwt-n: [1,{}]",
                    "header.x-jwt-name: Zo%C3%AB 100%25%0D%0A",
                    "header.x-jwt-roles: a b",
                    "header.x-jwt-sub: ann"
                ]
            );
            assert_eq!(text.contains(&token), forward == "true", "the token goes on");
        }
    }
}

const ALGORITHM: &str = "the algorithm does not count here";
const MALFORMED: &str = "the token is malformed";
const SIGNATURE: &str = "the signature is wrong";
const NO_KEY: &str = "no key fits the token";
const ELSEWHERE: &str = "the token is for somebody else";

/// Each of these tokens is refused for its reason.
#[track_caller]
fn assert_refused<const N: usize>(host: &Host, tokens: [(&str, String, &str); N]) {
    for (what, token, why) in tokens {
        let challenge = refused(&with_token(host, &token));
        let expected = format!("Bearer error=\"invalid_token\", error_description=\"{why}\"");
        assert_eq!(challenge, expected, "{what}");
    }
}

#[test]
fn jwt_refuses_tokens_by_whose_algorithm_or_key_anybody_could_sign() {
    let keys = [("RS256", "r"), ("ES256", "e"), ("RS256", "r"), ("EdDSA", "d")]
        .map(|(kind, kid)| SigningKey::new(kind, kid));
    let [Some(rsa), Some(ec), Some(other), Some(ed)] = &keys else { return };
    let host = chain(&[rsa, ec]).start();
    let good = claims("");
    let token = rsa.token(&good);
    assert_eq!(with_token(&host, &token).status(), 200, "a token that counts");
    let (_, signature) = token.rsplit_once('.').expect("three parts");
    let header = |alg: &str| format!("{{\"alg\":\"{alg}\",\"kid\":\"r\"}}");
    let none = |alg: &str| unsigned(&header(alg), &good);
    let confused = |alg: &str| hs256(&header(alg), &good, &rsa.public_pem());
    let rsa_with = |header: &str| rsa.signed(header, &good);
    let along = format!("{{\"alg\":\"RS256\",\"kid\":\"x\",\"jwk\":{}}}", other.jwk());
    assert_refused(
        &host,
        [
            ("alg none", format!("{}.", none("none")), ALGORITHM),
            ("alg None", format!("{}.", none("None")), ALGORITHM),
            ("alg none with a signature", format!("{}.{signature}", none("none")), ALGORITHM),
            ("HS256 with the public key", confused("HS256"), ALGORITHM),
            ("the same that says RS256", confused("RS256"), SIGNATURE),
            ("RS512", rsa_with(&header("RS512")), ALGORITHM),
            ("RS256 by the key of ES256", rsa_with(r#"{"alg":"RS256","kid":"e"}"#), NO_KEY),
            ("ES256 by the key of RS256", ec.signed(&header("ES256"), &good), NO_KEY),
            ("EdDSA by a key that is not there", ed.token(&good), NO_KEY),
            ("another key of that name", other.token(&good), SIGNATURE),
            ("another key name", rsa_with(r#"{"alg":"RS256","kid":"x"}"#), NO_KEY),
            ("its own key along", other.signed(&along, &good), NO_KEY),
            (
                "critical extensions",
                rsa_with(r#"{"alg":"RS256","kid":"r","crit":["b64"],"b64":false}"#),
                "the token has critical extensions",
            ),
            (
                "the algorithm twice",
                rsa_with(r#"{"alg":"RS256","alg":"none","kid":"r"}"#),
                MALFORMED,
            ),
        ],
    );
    assert_eq!(with_token(&host, &token).status(), 200, "it goes on");
}

#[test]
fn jwt_refuses_tokens_that_were_cut_changed_or_blown_up() {
    let Some(key) = SigningKey::new("RS256", "r") else { return };
    let host = chain(&[&key]).start();
    let token = key.token(&claims(""));
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let mut flipped = token.clone().into_bytes();
    let middle = flipped.len() - 100;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).expect("text");
    let others = unsigned(r#"{"alg":"RS256","kid":"r"}"#, &claims(",\"x\":1"));
    let no_json = format!("{}.{}.{signature}", base64url(b"{"), base64url(b"{}"));
    let half: String = signature.chars().take(signature.len() / 2 / 4 * 4).collect();
    assert_refused(
        &host,
        [
            ("cut off", token.chars().take(token.len() - 1).collect(), MALFORMED),
            ("cut at the signature", signed.to_owned(), MALFORMED),
            ("without its signature", format!("{signed}."), SIGNATURE),
            ("half a signature", format!("{signed}.{half}"), SIGNATURE),
            ("a letter changed", flipped, SIGNATURE),
            ("other claims", format!("{others}.{signature}"), SIGNATURE),
            ("four parts", format!("{token}.x"), MALFORMED),
            ("no parts", "x".to_owned(), MALFORMED),
            ("nothing in its parts", "..".to_owned(), MALFORMED),
            ("no JSON", no_json, MALFORMED),
            ("with padding", format!("{token}="), MALFORMED),
            (
                "20 KB",
                format!("{signed}{}.{signature}", "A".repeat(20_000)),
                "the token is too long",
            ),
        ],
    );
    // The host takes no head of this size, and closes while it is still sent.
    let mut conn = host.connect();
    let megabyte = "A".repeat(1 << 20);
    let sent =
        conn.send(format!("GET / HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {megabyte}\r\n\r\n"));
    match conn.read_head() {
        Ok(head) => assert_eq!(head.status, 431),
        Err(broken) => assert!(sent.is_err(), "all was taken, and no answer came: {broken:?}"),
    }
    assert_eq!(with_token(&host, &token).status(), 200, "it goes on");
}

#[test]
fn jwt_refuses_tokens_of_another_time_issuer_or_audience() {
    let Some(key) = SigningKey::new("EdDSA", "d") else { return };
    let host = chain(&[&key]).start();
    let good = claims("");
    let without_end = r#"{"iss":"https://issuer","aud":"shop"}"#;
    let text_as_end = r#"{"iss":"https://issuer","aud":"shop","exp":"9999999999"}"#;
    let issuer = "the token is of another issuer";
    assert_refused(
        &host,
        [
            ("expired", key.token(&ending(-60, "")), "the token has expired"),
            ("no end", key.token(without_end), "the token does not say when it expires"),
            ("text as its end", key.token(text_as_end), "a time in the token is no number"),
            (
                "not yet",
                key.token(&claims(&format!(",\"nbf\":{}", now() + 120))),
                "the token does not count yet",
            ),
            ("another audience", key.token(&good.replace("shop", "bank")), ELSEWHERE),
            ("an audience that begins so", key.token(&good.replace("shop", "shop2")), ELSEWHERE),
            ("no audience", key.token(&good.replace("aud", "dua")), ELSEWHERE),
            ("another issuer", key.token(&good.replace("//issuer", "//issuer/")), issuer),
            ("no issuer", key.token(&good.replace("\"iss\"", "\"ssi\"")), issuer),
            (
                "a claim of 4 KB",
                key.token(&good.replace("ann", &"x".repeat(4000))),
                "a claim is too long",
            ),
        ],
    );
    assert_eq!(with_token(&host, &key.token(&good)).status(), 200);
}

#[test]
fn jwt_asks_for_a_token_where_there_is_none_or_more_than_one() {
    let Some(key) = SigningKey::new("ES256", "e") else { return };
    let host = chain(&[&key]).start();
    let token = key.token(&claims(""));
    for fields in
        ["", "Authorization: Basic eA==\r\n", "Authorization: Bearer\r\n", "Authorization: \r\n"]
    {
        assert_eq!(refused(&ask(&host, fields)), "Bearer", "{fields:?}");
    }
    let twice = format!("Authorization: Bearer {token}\r\n").repeat(2);
    assert!(refused(&ask(&host, &twice)).contains("invalid_request"));
}

#[test]
fn jwt_takes_clocks_that_differ_and_audiences_in_a_list() {
    let Some(key) = SigningKey::new("EdDSA", "d") else { return };
    let host = chain(&[&key]).say("one", "config.leeway = \"60\"").start();
    for (what, claims, status) in [
        ("ended 20 s ago", ending(-20, ""), 200),
        ("ended 120 s ago", ending(-120, ""), 401),
        ("begins in 20 s", claims(&format!(",\"nbf\":{}", now() + 20)), 200),
        ("begins in 120 s", claims(&format!(",\"nbf\":{}.5", now() + 120)), 401),
        ("one of several", claims("").replace("\"shop\"", "[\"x\",\"other\"]"), 200),
        ("none of several", claims("").replace("\"shop\"", "[\"x\",\"y\"]"), 401),
    ] {
        assert_eq!(with_token(&host, &key.token(&claims)).status(), status, "{what}");
    }
}

#[test]
fn jwt_without_a_key_name_takes_the_only_key_of_the_algorithm() {
    let keys = [("ES256", "a"), ("RS256", "b"), ("ES256", "c")]
        .map(|(kind, kid)| SigningKey::new(kind, kid));
    let [Some(a), Some(b), Some(c)] = &keys else { return };
    let token =
        |key: &SigningKey, alg: &str| key.signed(&format!("{{\"alg\":\"{alg}\"}}"), &claims(""));
    let one_each = chain(&[a, b]).start();
    assert_eq!(with_token(&one_each, &token(a, "ES256")).status(), 200);
    assert_eq!(with_token(&one_each, &token(b, "RS256")).status(), 200);
    let two = chain(&[a, c]).start();
    let challenge = refused(&with_token(&two, &token(a, "ES256")));
    assert!(challenge.contains("does not say which key"), "{challenge}");
    let narrow = chain(&[a, b]).say("one", "config.algorithms = \"ES256\"").start();
    assert_eq!(with_token(&narrow, &a.token(&claims(""))).status(), 200);
    assert_eq!(with_token(&narrow, &b.token(&claims(""))).status(), 401, "RS256 does not count");
}

#[test]
fn jwt_is_not_loaded_with_a_key_that_is_too_short() {
    let Some(short) = SigningKey::new("RS256 of 1024 bits", "short") else { return };
    let said = refusal("jwt_p3", &format!("{PARTIES}\nconfig.jwks = '{}'", jwks(&[&short])));
    assert!(said.contains("the key \"short\" is no good public key"), "{said}");
}
