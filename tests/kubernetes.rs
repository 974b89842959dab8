//! `deploy/kubernetes`: the files are right, their times add up, and a rollout with them loses nothing, although endpoints
//! go late.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::support::app::Folder;
use crate::support::fleet::Fleet;
use crate::support::fleet::balancer::Balancer;
use crate::support::fleet::load::{ClientSums, gets, under_load};
use crate::support::prelude::*;
use crate::support::shipped::{self, Network, swapped, switched_off};
use crate::support::tools::has;

/// The files that become objects.
const OBJECTS: [&str; 5] = [
    "deployment.yaml",
    "service.yaml",
    "poddisruptionbudget.yaml",
    "horizontalpodautoscaler.yaml",
    "networkpolicy.yaml",
];

fn file(name: &str) -> String {
    shipped::text(&format!("kubernetes/{name}"))
}

/// What kubectl makes of the folder, but for the hash in the name of the ConfigMap.
fn rendered() -> String {
    let head =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: app-host }\ndata:\n  host.toml: |\n";
    let manifest = file("host.toml");
    let lines = manifest.lines().map(|line| format!("    {line}\n"));
    OBJECTS.map(file).join("---\n") + "---\n" + head + &lines.collect::<String>()
}

#[test]
fn kubernetes_takes_the_files() {
    // From PyPI: `pip install kubernetes-validate`.
    if !has("kubernetes-validate", "pipx; pipx install kubernetes-validate") {
        return;
    }
    for version in ["1.28", "1.34"] {
        let mut validate = Command::new("kubernetes-validate");
        validate.args(["--strict", "-k", version]);
        validate.args(OBJECTS.map(|name| shipped::path(&format!("kubernetes/{name}"))));
        let ran = validate.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr) + String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{version}: {said}");
    }
}

/// Runs `check.py` on what is rendered. None where Python lacks a reader of YAML.
fn checked(rendered: &str) -> Option<(bool, String)> {
    let yaml = Command::new("python3").args(["-c", "import yaml, tomllib"]).output();
    if !yaml.is_ok_and(|ran| ran.status.success()) {
        println!("no PyYAML here (Debian: apt-get install python3-yaml), so nothing is shown");
        return None;
    }
    let folder = Folder::new();
    fs::write(folder.join("rendered.yaml"), rendered).unwrap();
    let mut check = Command::new("python3");
    check.arg(shipped::path("kubernetes/check.py")).arg(folder.join("rendered.yaml"));
    let ran = check.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    Some((ran.status.success(), said.into_owned()))
}

#[test]
fn check_finds_the_files_right_and_each_of_these_mistakes() {
    let Some((right, said)) = checked(&rendered()) else { return };
    assert!(right, "{said}");
    for (old, new, says) in [
        ("terminationGracePeriodSeconds: 45", "terminationGracePeriodSeconds: 32", "grace 32 s"),
        ("drain-delay = \"5s\"", "drain-delay = \"1s\"", "within drain-delay 1 s"),
        ("drain-timeout = \"30s\"", "drain-timeout = \"20s\"", "the longest exchange"),
        ("containerPort: 8081", "containerPort: 8082", "port health"),
        ("name: http_server_active_requests", "name: busy", "the metric busy"),
        ("        volumeMounts:", "        lifecycle: {}\n        volumeMounts:", "preStop"),
        ("runAsUser: 65532", "runAsUser: 1000", "the user 1000"),
    ] {
        let (right, said) = checked(&swapped(&rendered(), old, new)).unwrap();
        assert!(!right, "{new}: {said}");
        let wrong = said.lines().filter(|line| line.starts_with("WRONG"));
        assert!(wrong.clone().any(|line| line.contains(says)), "{new}: {said}");
    }
}

/// A number of seconds behind this key, in YAML or TOML: `45`, `"30s"`.
#[track_caller]
fn seconds(text: &str, key: &str) -> Duration {
    let line = text
        .lines()
        .map(str::trim)
        .find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix([':', '=']));
    let value = line.unwrap_or_else(|| panic!("no {key}")).trim().trim_matches('"');
    let value = value.strip_suffix('s').unwrap_or(value);
    Duration::from_secs(value.parse().unwrap_or_else(|e| panic!("{key}: {value:?}: {e}")))
}

/// Without any tool: a pod is never killed before its host has ended by itself.
#[test]
fn graces_add_up() {
    let (pod, manifest) = (file("deployment.yaml"), file("host.toml"));
    let [delay, timeout, exchange, after] =
        ["drain-delay", "drain-timeout", "exchange-timeout", "after-timeout"]
            .map(|key| seconds(&manifest, key));
    // docs/stopping.md: to close the port takes that long at most, and a cut with its exit so long.
    let (door, slack) = (Duration::from_millis(1200), Duration::from_secs(5));
    assert!(delay + door + exchange + after <= timeout, "a stop would cut");
    let grace = seconds(&pod, "terminationGracePeriodSeconds");
    assert!(grace >= timeout + slack, "it would be killed");
    assert!(grace > delay + timeout, "not even if one were added to the other");
    // Both probes name their times; the second is that of readiness.
    let (_, readiness) = pod.split_once("readinessProbe:").unwrap();
    let failures = seconds(readiness, "failureThreshold").as_secs();
    let notices = seconds(readiness, "periodSeconds") * u32::try_from(failures).unwrap();
    assert!(notices <= delay, "`host ctl drain` would be noticed too late");
    // docs/kubernetes.md shows the same.
    let page = fs::read_to_string(shipped::path("../docs/kubernetes.md")).unwrap();
    for (key, value) in [
        ("| `drain-delay` |", delay),
        ("| `drain-timeout` |", timeout),
        ("| `terminationGracePeriodSeconds` |", grace),
    ] {
        let shown = format!("{key} {} s |", value.as_secs());
        assert!(page.contains(&shown), "no {shown:?} in docs/kubernetes.md");
    }
}

const PODS: usize = 3;
/// Connections that still come to a pod once its host has begun to stop. Then its endpoint goes.
const LATE: u64 = 25;

/// The shipped manifest, for a test that has the guests of a fleet in place of the component of the pod.
fn manifest() -> String {
    let shipped = file("host.toml");
    let (before, _) = shipped.split_once("[component.app]").unwrap();
    let manifest = swapped(before, "control = \"/run/host/host.sock\"\n", "");
    let (head, tail) = manifest.split_once("[log]").unwrap();
    // The fleet has a table of that name.
    head.to_owned() + &swapped(tail, "format = \"json\"\n", "")
}

/// A rollout as Kubernetes makes it with `maxSurge: 1`: a new pod, ready, gets an endpoint; an old one gets SIGTERM; its
/// endpoint goes when [`LATE`] connections have come behind the line `stopping` of its log. Gives what became of the
/// requests, and how many connections were refused.
#[track_caller]
fn rollout(what: &str, manifest: &str, stopping: &str) -> (ClientSums, u64) {
    let network = Network::new();
    let mut fleet = Fleet::start(&network, manifest, PODS + 1);
    let balancer = Balancer::start(&[0, 1, 2].map(|number| fleet.addr(number)));
    let (reports, ()) = under_load(vec![gets(balancer.addr(), 8)], || {
        for old in 0..PODS {
            let new = (old + PODS) % (PODS + 1);
            if old > 0 {
                fleet.start_again(new);
            }
            balancer.add(fleet.addr(new));
            fleet.host(old).signal(Signal::TERM);
            fleet.host(old).wait_log(stopping);
            balancer.wait_chosen(fleet.addr(old), LATE);
            balancer.remove(fleet.addr(old));
            fleet.expect_end(old);
        }
    });
    let sums = ClientSums::of(what, &reports);
    println!("{what}: {} connections refused", balancer.refused());
    (sums, balancer.refused())
}

#[test]
fn a_rollout_with_late_endpoints_fails_no_request() {
    let (sums, refused) = rollout("with drain-delay", &manifest(), says::LAME_DUCK);
    assert_eq!((sums.failed, refused), (0, 0));
    assert!(sums.answered > 0);
}

/// What `drain-delay` is for: without it each connection that comes late is refused, and a request with it.
#[test]
fn a_rollout_without_drain_delay_fails_a_request_for_each_late_connection() {
    let manifest = switched_off(&manifest(), &["drain-delay"]);
    let (sums, refused) = rollout("without drain-delay", &manifest, says::DRAINING);
    let late = LATE * u64::try_from(PODS).unwrap();
    assert!(refused >= late, "{refused} of {late}");
    assert!(sums.failed >= late, "{sums:?}");
}
