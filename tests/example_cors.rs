//! The plugin `cors` of `guest/examples`: what pages of other origins may do.

use crate::support::chain::Chain;
use crate::support::prelude::*;

const PAGE: &str = "https://app.example";

fn host(config: &str) -> Host {
    Chain::new(&["cors_p3"], "info_p3").say("one", config).start()
}

#[track_caller]
fn ask(host: &Host, method: &str, fields: &str) -> Response {
    let mut conn = host.connect();
    conn.send(format!("{method} / HTTP/1.1\r\nHost: t\r\n{fields}\r\n")).unwrap();
    conn.read_response(method).unwrap()
}

#[track_caller]
fn preflight(host: &Host, origin: &str, method: &str, headers: &str) -> Response {
    ask(
        host,
        "OPTIONS",
        &format!(
            "Origin: {origin}\r\nAccess-Control-Request-Method: {method}\r\n\
             Access-Control-Request-Headers: {headers}\r\n"
        ),
    )
}

const NAMED: &str = "config.origins = \"https://app.example http://b.example:8080\"\n\
    config.methods = \"GET PUT\"\nconfig.headers = \"X-Token content-type\"\n\
    config.expose = \"x-total\"\nconfig.credentials = \"true\"\nconfig.max-age = \"60\"";

#[test]
fn cors_answers_preflights_by_the_configuration_and_the_component_behind_sees_none() {
    let host = host(NAMED);
    for origin in [PAGE, "http://b.example:8080"] {
        let answer = preflight(&host, origin, "PUT", "x-token,Content-Type");
        assert_eq!((answer.status(), answer.text().as_str()), (204, ""), "{origin}");
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-methods", "GET, PUT"),
            ("access-control-allow-headers", "x-token, content-type"),
            ("access-control-allow-credentials", "true"),
            ("access-control-max-age", "60"),
            ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
    }
    for (origin, method, headers, why) in [
        ("https://app.example.evil", "PUT", "x-token", "origin"),
        ("https://APP.example", "PUT", "x-token", "origin"),
        ("http://app.example", "PUT", "x-token", "origin"),
        ("null", "PUT", "x-token", "origin"),
        (PAGE, "DELETE", "x-token", "method"),
        (PAGE, "put", "x-token", "method"),
        (PAGE, "PUT", "x-token, x-other", "headers"),
        (PAGE, "PUT", "*", "headers"),
    ] {
        let answer = preflight(&host, origin, method, headers);
        assert_eq!(answer.status(), 403, "{origin} {method} {headers}");
        assert!(answer.text().contains(why), "{}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin} {method}");
    }
}

#[test]
fn cors_names_the_origin_in_answers_and_tells_caches_that_it_matters() {
    let host = host(NAMED);
    let answer = ask(&host, "GET", &format!("Origin: {PAGE}\r\n"));
    assert_eq!(answer.status(), 200);
    assert!(answer.text().contains(&format!("header.origin: {PAGE}")), "it reaches the guest");
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.header("access-control-expose-headers"), Some("x-total"));
    assert_eq!(answer.header("vary"), Some("Origin"));
    for fields in ["Origin: https://evil.example\r\n", "", "Origin: null\r\n"] {
        let answer = ask(&host, "GET", fields);
        assert_eq!((answer.status(), answer.header("vary")), (200, Some("Origin")), "{fields:?}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{fields:?}");
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{fields:?}");
    }
    // No preflight: the guest answers for itself.
    let answer = ask(&host, "OPTIONS", &format!("Origin: {PAGE}\r\n"));
    assert_eq!((answer.status(), answer.header("access-control-allow-origin")), (200, Some(PAGE)));
}

#[test]
fn cors_for_everybody_is_a_star_and_never_with_credentials() {
    let host = host("config.origins = \"*\"");
    for origin in [PAGE, "https://other.example"] {
        for answer in [
            ask(&host, "GET", &format!("Origin: {origin}\r\n")),
            preflight(&host, origin, "POST", ""),
        ] {
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{origin}");
            assert_eq!(answer.header("access-control-allow-credentials"), None, "{origin}");
        }
    }
}

/// What the component behind says of other origins would be a second rule beside that of the configuration.
#[test]
fn cors_replaces_what_the_component_behind_says() {
    let behind = "config.response-add = \"\"\"access-control-allow-origin: *\nAccess-Control-Allow-Credentials: true\n\
        vary: accept\"\"\"";
    let host = Chain::new(&["cors_p3", "rewrite_p3"], "info_p3")
        .say("one", "config.origins = \"https://app.example\"")
        .say("two", behind)
        .start();
    let answer = ask(&host, "GET", &format!("Origin: {PAGE}\r\n"));
    let origins: Vec<_> = answer.head.headers_named("access-control-allow-origin").collect();
    assert_eq!(origins, [PAGE]);
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let vary: Vec<_> = answer.head.headers_named("vary").collect();
    assert_eq!(vary, ["accept", "Origin"]);
    let answer = ask(&host, "GET", "Origin: https://evil.example\r\n");
    assert_eq!(answer.header("access-control-allow-origin"), None);
}
