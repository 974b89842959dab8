//! What a guest is given of words and switches: each off by default, exact where it is on.

use crate::support::prelude::*;
use crate::support::site::Site;

/// One component with grants under `/given`, the same one without under `/bare`.
fn both(guest: &str, given: &str) -> Site {
    Site::new(&format!(
        r#"
        [component.given]
        source = "guest:{guest}"
        {given}
        [component.bare]
        source = "guest:{guest}"
        [[route]]
        path = "/given"
        component = "given"
        strip-prefix = true
        [[route]]
        path = "/bare"
        component = "bare"
        strip-prefix = true
        "#
    ))
}

const GUESTS: [&str; 2] = ["grants_p2", "grants_p3"];

#[test]
fn environment_of_a_guest_is_what_the_manifest_says_and_nothing_else() {
    let given = r#"env = { MODE = "slow", TOKEN = "${E2E_TOKEN}", PRICE = "$$5" }"#;
    for guest in GUESTS {
        let host = both(guest, given).serve().env("E2E_TOKEN", "s3cr3t").start();
        assert_eq!(host.get("/given/env").text(), "MODE=slow\nPRICE=$5\nTOKEN=s3cr3t\n");
        assert_eq!(host.get("/bare/env").text(), "");
        assert!(!host.log().contains("s3cr3t"), "{}", host.log());
    }
}

#[test]
fn arguments_of_a_guest_are_what_the_manifest_says_and_nothing_else() {
    for guest in GUESTS {
        let host = both(guest, r#"args = ["shop", "--fast", ""]"#).serve().start();
        assert_eq!(host.get("/given/args").text(), "shop\n--fast\n\n");
        assert_eq!(host.get("/bare/args").text(), "");
    }
}

#[test]
fn configuration_of_a_guest_is_what_the_manifest_says_and_nothing_else() {
    for guest in GUESTS {
        let host = both(guest, r#"config = { currency = "EUR", a = "" }"#).serve().start();
        let text = host.get("/given/config").text();
        let mut all: Vec<_> = text.lines().collect();
        all.sort_unstable();
        assert_eq!(all, ["a=", "currency=EUR"]);
        assert_eq!(host.get("/given/config?key=currency").text(), "EUR\n");
        assert_eq!(host.get("/given/config?key=other").text(), "none\n");
        assert_eq!(host.get("/bare/config").text(), "");
        assert_eq!(host.get("/bare/config?key=currency").text(), "none\n");
    }
}

#[test]
fn grants_of_one_component_are_not_those_of_its_neighbour() {
    let site = Site::new(
        r#"
        [component.one]
        source = "guest:grants_p2"
        env = { WHO = "one" }
        args = ["one"]
        config = { who = "one" }
        [component.two]
        source = "guest:grants_p2"
        env = { WHO = "two" }
        args = ["two"]
        config = { who = "two" }
        [[route]]
        path = "/one"
        component = "one"
        strip-prefix = true
        [[route]]
        path = "/two"
        component = "two"
        strip-prefix = true
        "#,
    );
    let host = site.serve().start();
    for who in ["one", "two"] {
        assert_eq!(host.get(&format!("/{who}/env")).text(), format!("WHO={who}\n"));
        assert_eq!(host.get(&format!("/{who}/args")).text(), format!("{who}\n"));
        assert_eq!(host.get(&format!("/{who}/config")).text(), format!("who={who}\n"));
    }
}

#[test]
fn output_of_a_guest_is_logged_under_its_name_or_not_at_all() {
    for guest in ["chatty_p2", "chatty_p3"] {
        let site = both(guest, "[component.given.grants]\nstdio = \"off\"");
        let host = site.serve().start();
        assert_eq!(host.get("/given/?n=3&len=33").status(), 200);
        assert_eq!(host.get("/given/escape").status(), 200);
        assert_eq!(host.get("/bare/?n=2&len=22").status(), 200);
        let line = host.wait_log_nth(&"x".repeat(22), 2);
        assert!(line.contains("component=\"bare\""), "{line}");
        host.signal(Signal::TERM);
        let exit = host.wait_exit();
        exit.expect_code(0);
        assert!(!exit.stderr.contains(&"x".repeat(33)), "{}", exit.stderr);
        assert!(!exit.stderr.contains("before "), "{}", exit.stderr);
    }
}

#[test]
fn guest_that_may_stops_the_process_and_one_that_may_not_does_not() {
    for guest in ["hooks_p2", "hooks_p3"] {
        let site = both(guest, "[component.given.grants]\nrequest-shutdown = true");
        let host = site.serve().start();
        assert_eq!(host.get("/bare/shutdown").status(), 200);
        let line = host.wait_log(says::MAY_NOT_STOP);
        assert!(line.contains("component=\"bare\""), "{line}");
        assert_eq!(host.get("/bare/").status(), 200, "it goes on");
        assert_eq!(host.get("/given/shutdown").status(), 200);
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
    }
}

#[test]
fn grants_that_cannot_be_met_are_refused_before_anything_is_bound() {
    let refused = [
        ("directories = [{ host = \"missing\", guest = \"/x\" }]", "missing"),
        ("outgoing = [\"api.example.com\"]", "needs a port"),
        ("outgoing = [\"https://api.example.com/v1\"]", "no path"),
        ("outgoing-addresses = [\"everywhere\"]", "loopback"),
        ("tcp = [\"tcp://*.example:1\"]", "tcp://"),
        ("keyvalue = { carts = \"nowhere\" }", "nowhere"),
        ("network = true", "network"),
    ];
    for (grant, says) in refused {
        let site = both("grants_p2", &format!("[component.given.grants]\n{grant}"));
        let exit = Host::run(["serve", site.text(), "--addr", "127.0.0.1:0", "--control", "off"]);
        exit.expect_code(2);
        assert_eq!(exit.stdout, "", "{grant}");
        assert!(exit.stderr.contains(says), "{grant}: no {says:?} in {}", exit.stderr);
    }
}
