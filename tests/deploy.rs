//! What operators copy out of `deploy/`: checked by Prometheus's own tool, and by what the host really says.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::prelude::*;
use crate::support::tools::has;

fn deploy(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

/// Names of metrics in an expression: they begin like those of the host do.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let ours = ["host_", "http_server_", "process_"];
    let labels =
        ["host_component", "http_route", "http_request_method", "http_response_status_code"];
    words
        .filter(|word| ours.iter().any(|begin| word.starts_with(begin)) && !labels.contains(word))
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn promtool_takes_the_alerts_and_each_goes_off_when_it_should() {
    if !has("promtool", "prometheus") {
        return;
    }
    let promtool = |what: &str, file: &str| {
        Command::new("promtool").args([what, "rules"]).arg(deploy(file)).output().unwrap()
    };
    let checked = promtool("check", "prometheus/alerts.yml");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let tested = promtool("test", "prometheus/alerts_test.yml");
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stdout));
    let tests = fs::read_to_string(deploy("prometheus/alerts_test.yml")).unwrap();
    let alerts = fs::read_to_string(deploy("prometheus/alerts.yml")).unwrap();
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname: {alert}")), "{alert} has no test");
    }
}

/// A panel or an alert on a metric that no host has shows nothing, for ever.
#[test]
fn dashboards_and_alerts_ask_for_metrics_that_a_host_has() {
    let host = Host::serve("hello_p2").control().args(["--health-addr", "127.0.0.1:0"]).start();
    assert_eq!(host.get("/").status(), 200);
    let line = host.wait_log("health=");
    let address = line.split_once("health=").unwrap().1.split(' ').next().unwrap();
    let address: std::net::SocketAddr = address.parse().unwrap();
    let page = Conn::connect(address).unwrap().get("/metrics").unwrap().text();
    // These come only with what they are about.
    let sometimes = [
        "host_drain_deadline_seconds",
        "host_tls_certificate_not_after_seconds",
        "host_errors_total",
        "host_refusals_total",
        "host_breaker_open",
        "host_changes_total",
        "host_log_lines_dropped_total",
    ];
    let board = fs::read_to_string(deploy("grafana/host.json")).unwrap();
    let board: Value = serde_json::from_str(&board).unwrap();
    let mut asked = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            asked.extend(metrics(target["expr"].as_str().unwrap()));
        }
    }
    for annotation in board["annotations"]["list"].as_array().unwrap() {
        asked.extend(metrics(annotation["expr"].as_str().unwrap()));
    }
    let alerts = fs::read_to_string(deploy("prometheus/alerts.yml")).unwrap();
    let rules = alerts.split("expr:").skip(1).map(|rule| rule.split(" for:").next().unwrap());
    rules.for_each(|rule| asked.extend(metrics(rule.split("labels:").next().unwrap())));
    assert!(asked.len() > 15, "{asked:?}");
    for metric in asked.iter().filter(|metric| !sometimes.contains(&metric.as_str())) {
        assert!(page.contains(metric.as_str()), "no {metric} in\n{page}");
    }
}
