//! The plugin `jwt` of `guest/examples`, with keys of the configuration: whose tokens count.

use crate::example_config::refusal;
use crate::support::chain::Chain;
use crate::support::issuer::{SigningKey, base64url, hs256, jwks, now, unsigned};
use crate::support::prelude::*;

/// Claims that count, and more of them.
pub fn claims(more: &str) -> String {
    format!(
        "{{\"iss\":\"https://issuer\",\"aud\":\"shop\",\"sub\":\"ann\",\"exp\":{}{more}}}",
        now() + 600
    )
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

#[test]
fn jwt_refuses_hostile_tokens_each_for_its_reason() {
    let (Some(rsa), Some(ec)) = (SigningKey::new("RS256", "r"), SigningKey::new("ES256", "e"))
    else {
        return;
    };
    let (Some(other), Some(ed)) = (SigningKey::new("RS256", "r"), SigningKey::new("EdDSA", "d"))
    else {
        return;
    };
    let host = chain(&[&rsa, &ec]).start();
    let good = claims("");
    let token = rsa.token(&good);
    assert_eq!(with_token(&host, &token).status(), 200, "a token that counts");
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let mut flipped = token.clone().into_bytes();
    let middle = flipped.len() - 100;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).expect("text");
    let swapped =
        format!("{}.{signature}", unsigned(r#"{"alg":"RS256","kid":"r"}"#, &claims(",\"x\":1")));
    let none = |alg: &str| unsigned(&format!("{{\"alg\":\"{alg}\",\"kid\":\"r\"}}"), &good);
    let confused = |alg: &str| {
        hs256(&format!("{{\"alg\":\"{alg}\",\"kid\":\"r\"}}"), &good, &rsa.public_pem())
    };
    let algorithm = "the algorithm does not count here";
    let malformed = "the token is malformed";
    let signature_wrong = "the signature is wrong";
    let no_key = "no key fits the token";
    for (what, token, why) in [
        ("alg none", format!("{}.", none("none")), algorithm),
        ("alg None", format!("{}.", none("None")), algorithm),
        ("alg none with a signature", format!("{}.{signature}", none("none")), algorithm),
        ("HS256 with the public key", confused("HS256"), algorithm),
        ("the same that says RS256", confused("RS256"), signature_wrong),
        ("RS512", rsa.signed(r#"{"alg":"RS512","kid":"r"}"#, &good), algorithm),
        ("RS256 by the key of ES256", rsa.signed(r#"{"alg":"RS256","kid":"e"}"#, &good), no_key),
        ("ES256 by the key of RS256", ec.signed(r#"{"alg":"ES256","kid":"r"}"#, &good), no_key),
        ("EdDSA by a key that is not there", ed.token(&good), no_key),
        ("another key of that name", other.token(&good), signature_wrong),
        ("another key name", rsa.signed(r#"{"alg":"RS256","kid":"x"}"#, &good), no_key),
        (
            "its own key along",
            rsa.signed(
                &format!("{{\"alg\":\"RS256\",\"kid\":\"x\",\"jwk\":{}}}", rsa.jwk()),
                &good,
            ),
            no_key,
        ),
        (
            "critical extensions",
            rsa.signed(r#"{"alg":"RS256","kid":"r","crit":["b64"],"b64":false}"#, &good),
            "the token has critical extensions",
        ),
        (
            "the algorithm twice",
            rsa.signed(r#"{"alg":"RS256","alg":"none","kid":"r"}"#, &good),
            malformed,
        ),
        ("cut off", token[..token.len() - 1].to_owned(), malformed),
        ("cut at the signature", signed.to_owned(), malformed),
        ("without its signature", format!("{signed}."), signature_wrong),
        (
            "half a signature",
            format!("{signed}.{}", &signature[..signature.len() / 2 / 4 * 4]),
            signature_wrong,
        ),
        ("a bit flipped", flipped, signature_wrong),
        ("other claims", swapped, signature_wrong),
        ("four parts", format!("{token}.x"), malformed),
        ("no parts", "x".to_owned(), malformed),
        ("nothing in its parts", "..".to_owned(), malformed),
        (
            "no JSON",
            format!("{}.{signature}", [base64url(b"{"), base64url(b"{}")].join(".")),
            malformed,
        ),
        ("with padding", format!("{token}="), malformed),
        ("20 KB", format!("{signed}{}.{signature}", "A".repeat(20_000)), "the token is too long"),
        (
            "expired",
            rsa.token(&good.replace(&(now() + 600).to_string(), &(now() - 60).to_string())),
            "the token has expired",
        ),
        (
            "no end",
            rsa.token(r#"{"iss":"https://issuer","aud":"shop"}"#),
            "the token does not say when it expires",
        ),
        (
            "an end of text",
            rsa.token(r#"{"iss":"https://issuer","aud":"shop","exp":"9999999999"}"#),
            "a time in the token is no number",
        ),
        (
            "not yet",
            rsa.token(&claims(&format!(",\"nbf\":{}", now() + 120))),
            "the token does not count yet",
        ),
        (
            "another audience",
            rsa.token(&good.replace("shop", "bank")),
            "the token is for somebody else",
        ),
        (
            "an audience that begins so",
            rsa.token(&good.replace("shop", "shop2")),
            "the token is for somebody else",
        ),
        ("no audience", rsa.token(&good.replace("aud", "dua")), "the token is for somebody else"),
        (
            "another issuer",
            rsa.token(&good.replace("https://issuer", "https://issuer/")),
            "the token is of another issuer",
        ),
        ("no issuer", rsa.token(&good.replace("iss", "ssi")), "the token is of another issuer"),
        (
            "a claim of 4 KB",
            rsa.token(&good.replace("ann", &"x".repeat(4000))),
            "a claim is too long",
        ),
    ] {
        let challenge = refused(&with_token(&host, &token));
        let expected = format!("Bearer error=\"invalid_token\", error_description=\"{why}\"");
        assert_eq!(challenge, expected, "{what}");
    }
    // The host takes no head of this size, and its guests do not see it.
    let mut conn = host.connect();
    let megabyte = format!(
        "GET / HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\n\r\n",
        "A".repeat(1 << 20)
    );
    conn.send(megabyte).ok();
    assert_eq!(conn.read_head().map(|head| head.status).unwrap_or(431), 431);
    assert_eq!(with_token(&host, &token).status(), 200, "it goes on");
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
    let ends = |seconds: i64| {
        let at = now().checked_add_signed(seconds).expect("a time");
        claims("").replace(&(now() + 600).to_string(), &at.to_string())
    };
    for (what, claims, status) in [
        ("ended 20 s ago", ends(-20), 200),
        ("ended 120 s ago", ends(-120), 401),
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
