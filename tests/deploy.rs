//! What operators copy out of `deploy/`: checked by Prometheus's own tool, and by what the host really says.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::certificates::Authority;
use crate::support::metrics;
use crate::support::prelude::*;
use crate::support::prometheus::Prometheus;
use crate::support::site::Site;
use crate::support::stop::Held;
use crate::support::tools::has;

fn deploy(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
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

fn json(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(deploy(name)).unwrap()).unwrap()
}

/// What the panels of the dashboard ask for, and its marks. Variables stand for all.
fn asked_by_the_dashboard() -> Vec<String> {
    let board = json("grafana/host.json");
    let list = |value: &Value| value.as_array().unwrap().clone();
    let panels = list(&board["panels"]);
    let targets = panels.iter().flat_map(|panel| list(&panel["targets"]));
    let all = targets.chain(list(&board["annotations"]["list"]));
    let all = all.map(|it| it["expr"].as_str().unwrap().to_owned());
    let variables = [
        ("$__rate_interval", "10s"),
        ("$__interval", "10s"),
        ("$job", ".*"),
        ("$instance", ".*"),
        ("$component", ".*"),
    ];
    all.map(|asked| {
        variables.iter().fold(asked, |asked, (variable, all)| asked.replace(variable, all))
    })
    .collect()
}

/// What the alerts compare. As they are they find nothing on a host that is well: with `bool` they say 0.
fn asked_by_the_alerts() -> Vec<String> {
    let alerts = fs::read_to_string(deploy("prometheus/alerts.yml")).unwrap();
    let rules = alerts.split("expr:").skip(1);
    let rules = rules.map(|rule| {
        let rule = rule.split("    labels:").next().unwrap().split("    for:").next().unwrap();
        let words = rule.trim().trim_start_matches('|').split_whitespace();
        let compares = |word: &str| ["<", ">", "=="].contains(&word);
        words.fold(String::new(), |asked, word| match compares(word) {
            true => format!("{asked} {word} bool"),
            false => format!("{asked} {word}"),
        })
    });
    rules.collect()
}

/// A panel or an alert on a metric that no host has shows nothing, for ever. One on a histogram without its last bucket
/// showed as little, and a mark for a swap that is the first of its process.
#[test]
fn whatever_dashboards_and_alerts_ask_for_a_host_tells_a_real_prometheus() {
    if !has("prometheus", "prometheus") {
        return;
    }
    let site = Site::with(
        "[component.app]\nsource = \"app.wasm\"\nbreaker.failures = 1000000\nlimits.queue = 10\n\
         [[route]]\npath = \"/\"\ncomponent = \"app\"\n",
        &[("app.wasm", "gate_p2")],
    );
    let authority = Authority::new("test");
    authority.write("a", "localhost");
    let host = site.serve().control().args(metrics::ARGS).args(authority.flags("a")).start();
    let held = Held::on(&host);
    let prometheus = Prometheus::scraping(metrics::address(&host));
    let visit = |path: &str| {
        assert_eq!(host.get(path).status(), 200);
        let mut refused = host.connect();
        refused.send("GET / HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(refused.read_response("GET").unwrap().status(), 400);
    };
    let of_a_stop = |asked: &&String| asked.contains("drain");
    let all: Vec<_> = asked_by_the_dashboard().into_iter().chain(asked_by_the_alerts()).collect();
    assert!(all.len() > 20, "{all:?}");
    prometheus.query("host_changes_total", || visit("/head"));
    site.put("app.wasm", "hello_p2");
    host.ctl(["reload"]).expect_code(0);
    for asked in all.iter().filter(|asked| !of_a_stop(asked)) {
        prometheus.query(asked, || visit("/"));
    }
    host.signal(Signal::TERM);
    host.wait_log(says::DRAINING);
    let stop: Vec<_> = all.iter().filter(of_a_stop).collect();
    assert_eq!(stop.len(), 3, "{stop:?}");
    stop.into_iter().for_each(|asked| drop(prometheus.query(asked, || ())));
    drop(held.open());
    host.wait_exit().expect_code(0);
}
