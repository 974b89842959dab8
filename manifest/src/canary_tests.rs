//! What is written, what is shown, and what is refused.

use super::*;

fn steps(share: &str) -> String {
    let canary = CanaryConfig { share: share.parse().unwrap(), ..CanaryConfig::default() };
    canary.steps().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_canary_begins_small_and_doubles_its_share() {
    assert_eq!(steps("5%"), "1% 5% 10% 20% 40%");
    assert_eq!(steps("1%"), "1% 2% 4% 8% 16% 32%");
    assert_eq!(steps("0.1%"), "0.1% 0.2% 0.4% 0.8% 1.6% 3.2% 6.4% 12.8% 25.6%");
    assert_eq!(steps("12.5%"), "1% 12.5% 25% 50%");
    assert_eq!(steps("50%"), "1% 50%");
}

#[test]
fn what_is_written_is_what_is_shown() {
    for text in ["never", "errors > 1%", "errors > 0.5%, p99 > 2x, p50 > 1.25x, p95 > 500ms"] {
        assert_eq!(text.parse::<AbortRules>().unwrap().to_string(), text);
    }
    for text in ["off", "connection", "header:x-user"] {
        assert_eq!(text.parse::<Stickiness>().unwrap().to_string(), text);
    }
    let terse = "errors>1%,p99>2x".parse::<AbortRules>().unwrap();
    assert_eq!(terse, CanaryConfig::default().abort_if);
}

#[test]
fn what_makes_no_sense_is_refused_with_the_form() {
    for (text, says) in [
        ("", "no > in it"),
        ("errors < 1%", "no > in it"),
        ("errors > 2x", "a share above 0%"),
        ("errors > 0%", "a share above 0%"),
        ("errors > 100%", "a share above 0%"),
        ("errors > 1.234%", "a share above 0%"),
        ("p100 > 2x", "errors, or p1 to p99"),
        ("latency > 2x", "errors, or p1 to p99"),
        ("p99 > 0.5x", "less than 1x"),
        ("p99 > 1001x", "between 1x and 1000x"),
        ("p99 > 4294967296x", "between 1x and 1000x"),
        ("p99 > x", "between 1x and 1000x"),
        ("p99 > fast", "neither 2x nor a time"),
        ("p99 > 500", "no unit"),
        ("p99 > 0s", "longer than nothing"),
        ("errors > 1", "a share above 0%"),
        ("errors > 1%,", "no > in it"),
    ] {
        let why = text.parse::<AbortRules>().unwrap_err();
        assert!(why.contains(says) && why.contains("write errors > 1%"), "{text}: {why}");
    }
    for text in ["5", "-5%", "5.%%", "1e1%", "0.001%", "", "%", "999999999%"] {
        let why = text.parse::<TrafficShare>().unwrap_err();
        assert!(why.contains("not a share"), "{text}: {why}");
    }
    for text in ["0%", "0.01%", "51%", "100%", "101%", "700%"] {
        let why = text.parse::<TrafficShare>().unwrap_err();
        assert!(why.contains("between 0.1% and 50%"), "{text}: {why}");
    }
    for text in ["errors > 1%, errors > 2%", "p99 > 2x,p99>2x", "p99 > 1s, p50 > 1s, p99 > 2s"] {
        let why = text.parse::<AbortRules>().unwrap_err();
        assert!(why.contains("two limits for the same"), "{text}: {why}");
    }
    // Either of them may be the stricter one.
    "p99 > 2x, p99 > 500ms, p50 > 2x".parse::<AbortRules>().unwrap();
    for text in ["", "cookie", "header:", "header:a b"] {
        text.parse::<Stickiness>().unwrap_err();
    }
}
