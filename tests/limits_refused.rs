//! Bounds in a manifest that make no sense are refused, with their place and what to do.

use crate::manifest_refused::all_refused;

/// A route with this rate limit, whose first line is the eleventh.
fn limited(limit: &str) -> String {
    format!("[[route]]\npath = \"/\"\ncomponent = \"shop\"\n[route.rate-limit]\n{limit}\n")
}

#[test]
fn rate_limit_that_makes_no_sense_is_refused() {
    let wrong: [(&str, (usize, usize), &[&str]); 12] = [
        ("rate = \"100\"", (11, 8), &["there is no unit in it", "100/s, 600/m or 1000/h"]),
        ("rate = \"100/d\"", (11, 8), &["not a rate", "100/s, 600/m or 1000/h"]),
        ("rate = \"0/s\"", (11, 8), &["nothing at all is no rate"]),
        ("rate = \"2000000/s\"", (11, 8), &["more than a million is no limit"]),
        ("rate = \"off\"", (11, 8), &["there is no unit in it"]),
        ("rate = 100", (11, 8), &["`route.rate-limit.rate` is text"]),
        ("burst = 5", (10, 1), &["no `rate`", "add `rate = \"…\"`"]),
        ("rate = \"1/s\"\nburst = 0", (12, 9), &["a burst of 0 lets nothing through"]),
        ("rate = \"1/s\"\nburst = -1", (12, 9), &["is a number from 0 upwards"]),
        ("rate = \"1/s\"\nkey = \"ip\"", (12, 7), &["no such key", "client, host or header:NAME"]),
        ("rate = \"1/s\"\nkey = \"header:a b\"", (12, 7), &["no name of a header"]),
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
