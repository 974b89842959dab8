//! Flags about components are refused beside a manifest: it has them.

use crate::manifest_refused::LISTEN;
use crate::support::prelude::*;
use crate::support::site::{Site, component, route};

/// Each flag about components, with a value that it takes.
const ABOUT_COMPONENTS: [&[&str]; 31] = [
    &["--smoke", "GET / 200"],
    &["--compile-timeout", "1m"],
    &["--compile-memory", "1GiB"],
    &["--retire-timeout", "1m"],
    &["--max-retired", "4"],
    &["--grant", "request-shutdown"],
    &["--reuse", "1"],
    &["--reuse-concurrency", "1"],
    &["--reuse-idle", "10s"],
    &["--snapshot"],
    &["--hook-timeout", "5s"],
    &["--drain-delay", "0s"],
    &["--drain-timeout", "25s"],
    &["--linger", "1s"],
    &["--max-instances", "1000"],
    &["--max-queue", "1"],
    &["--queue-timeout", "1s"],
    &["--max-memory", "1MiB"],
    &["--cpu-time", "1s"],
    &["--response-head-timeout", "1s"],
    &["--body-idle-timeout", "1s"],
    &["--exchange-timeout", "off"],
    &["--after-timeout", "1s"],
    &["--max-request-body", "1MiB"],
    &["--guest-log-rate", "off"],
    &["--max-header-size", "8KiB"],
    &["--max-headers", "10"],
    &["--request-head-timeout", "1s"],
    &["--handshake-timeout", "1s"],
    &["--min-rate", "off"],
    &["--prefetch-body", "0B"],
];

#[test]
fn flag_about_components_is_refused_beside_a_manifest() {
    let manifest = LISTEN.to_owned() + &component("a") + &route("/", "a");
    let site = Site::with(&manifest, &[("a.wasm", "version_a_p2")]);
    let more: [&[&str]; 13] = [
        &["--env", "A=1"],
        &["--config", "a=1"],
        &["--dir", "/tmp::/tmp:ro"],
        &["--outgoing", "https://a"],
        &["--outgoing-addresses", "loopback"],
        &["--keyvalue", "a=memory"],
        &["--profile", "strict"],
        &["--max-connections-per-client", "10"],
        &["--connection-rate", "10/s"],
        &["--connection-rate-per-client", "10/s"],
        &["--max-connections", "10"],
        &["--keep-alive-timeout", "75s"],
        &["--total-memory", "1GiB"],
    ];
    let all: Vec<&[&str]> = ABOUT_COMPONENTS.into_iter().chain(more).collect();
    for flag in &all {
        let exit = Host::run(["serve", site.text()].into_iter().chain(flag.iter().copied()));
        exit.expect_code(2);
        let sentence = "cannot be used with a manifest: write it there (docs/manifest.md)";
        exit.expect_last_line(&format!("{} {sentence}", flag[0]));
        assert_eq!(exit.stdout, "");
        assert!(!site.has("bound.sock"));
    }
    // No flag is forgotten here: what is neither refused nor about the process would be news.
    let help = Host::run(["serve", "--help"]).stdout;
    let flags = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let process = [
        "dry-run",
        "addr",
        "tls-addr",
        "tls-cert",
        "tls-key",
        "tls-client-ca",
        "tls-client-auth",
        "trusted-proxies",
        "threads",
        "watch",
        "cache-dir",
        "no-cache",
        "control",
        "health-addr",
        "dashboard-addr",
        "otlp-endpoint",
        "trace-sample",
        "log",
        "log-format",
        "access-log",
        "access-log-format",
        "log-query",
    ];
    for flag in flags.filter_map(|flag| flag.split_whitespace().next()) {
        let refused = all.iter().any(|known| known[0].strip_prefix("--") == Some(flag));
        assert!(refused || process.contains(&flag), "--{flag} is in neither list");
    }
}
