//! Bounds in a manifest that make no sense are refused, with their place and what to do.

use crate::manifest_refused::{LISTEN, all_refused, refused};
use crate::support::site::Site;

/// A route with this rate limit, whose first line is the eleventh.
fn limited(limit: &str) -> String {
    format!("[[route]]\npath = \"/\"\ncomponent = \"shop\"\n[route.rate-limit]\n{limit}\n")
}

#[test]
fn bounds_of_clients_and_profiles_that_make_no_sense_are_refused() {
    let shop = "[component.shop.limits]\n";
    all_refused(&[
        ("[limits]\nprofile = \"lax\"\n", Some((8, 11)), &["no profile", "default or strict"]),
        (&format!("{shop}profile = 1\n"), Some((8, 11)), &["profile` is text"]),
        (&format!("{shop}outgoing-per-exchange = \"5\"\n"), Some((8, 25)), &["is a number"]),
    ]);
    for (listen, words) in [
        ("max-connections-per-client = 0", "must be at least 1"),
        ("connection-rate = \"fast\"", "100/s, 600/m or 1000/h, or off"),
        ("connection-rate-per-client = \"0/s\"", "nothing at all is no rate"),
    ] {
        let manifest = format!("{LISTEN}{listen}\n[component.shop]\nsource = \"app.wasm\"\n");
        let site = Site::with(&manifest, &[("app.wasm", "version_a_p2")]);
        refused(&site, (listen, None, &[words]));
    }
}

#[test]
fn rate_limit_that_makes_no_sense_is_refused() {
    let wrong: [(&str, (usize, usize), &[&str]); 15] = [
        ("rate = \"100\"", (11, 8), &["there is no unit in it", "100/s, 600/m or 1000/h"]),
        ("rate = \"100/d\"", (11, 8), &["not a rate", "100/s, 600/m or 1000/h"]),
        ("rate = \"0/s\"", (11, 8), &["nothing at all is no rate"]),
        ("rate = \"2000000/s\"", (11, 8), &["more than a million is no limit"]),
        ("rate = \"off\"", (11, 8), &["there is no unit in it"]),
        ("rate = 100", (11, 8), &["`route.rate-limit.rate` is text"]),
        ("burst = 5", (10, 1), &["no `rate`", "add `rate = \"…\"`"]),
        ("rate = \"1/s\"\nburst = 0", (12, 9), &["a burst of 0 lets nothing through"]),
        ("rate = \"1/s\"\nburst = -1", (12, 9), &["is a number from 0 upwards"]),
        ("rate = \"1/h\"\nburst = 9000", (12, 9), &["more than a year to come back"]),
        ("rate = \"1/s\"\nkey = \"ip\"", (12, 7), &["no such key", "client, host or header:NAME"]),
        ("rate = \"1/s\"\nkey = \"header:a b\"", (12, 7), &["no name of a header"]),
        (
            "rate = \"1/s\"\nkey = \"header:X-Real-IP\"",
            (12, 7),
            &["clients say who they are as they like", "key = \"client\""],
        ),
        ("rate = \"1/s\"\nburst = 4294967296", (12, 9), &["can be at most 4294967295", "lower it"]),
        ("rate = \"1/s\"\nanswer = 500", (12, 10), &["answered with 429 or 503"]),
    ];
    for (limit, at, words) in wrong {
        all_refused(&[(&limited(limit), Some(at), words)]);
    }
    all_refused(&[(
        "[route.rate-limit]\nrate = \"1/s\"\n",
        None,
        &["`route` is a list, not a table"],
    )]);
}
