//! `/metrics`: every family by what it counts, and read by Prometheus's own tools.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::certificates::Authority;
use crate::support::metrics::{self, Metrics};
use crate::support::prelude::*;
use crate::support::prometheus::Prometheus;
use crate::support::scarce::Cgroup;
use crate::support::site::Site;
use crate::support::stop::Held;
use crate::support::tools::has;
use crate::support::wire;

fn site() -> Site {
    Site::new(
        "[component.shop]\nsource = \"guest:greet_p2\"\n\
         [component.key]\nsource = \"guest:apikey_p2\"\nenv = { API_KEY = \"s3cret\" }\n\
         [component.bad]\nsource = \"guest:trap_p2\"\n\
         [[route]]\npath = \"/shop\"\ncomponent = \"shop\"\n\
         [[route]]\npath = \"/locked\"\ncomponent = \"shop\"\nchain = [\"key\"]\n\
         [[route]]\npath = \"/bad\"\ncomponent = \"bad\"\n",
    )
}

/// Six requests that were answered 404, 200, 401, 431, 400 and 400 left no trace anywhere.
#[test]
fn what_the_host_answers_itself_is_counted_with_its_reason() {
    let site = site();
    let host = site.serve().args(metrics::ARGS).start();
    let status = |request: String| {
        let mut conn = host.connect();
        conn.send(request).unwrap();
        conn.read_response("GET").unwrap().status()
    };
    let big = format!("GET /shop HTTP/1.1\r\nHost: a\r\nX-Big: {}\r\n\r\n", "x".repeat(70_000));
    let statuses = [
        status(wire::get("/nowhere")),
        status(wire::get("/shop")),
        status(wire::get("/locked")),
        status(big),
        status("GET /shop HTTP/1.1\r\n\r\n".into()),
        status("GET /shop HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n".into()),
    ];
    assert_eq!(statuses, [404, 200, 401, 431, 400, 400]);
    let told = Metrics::wait(&host, |told| told.sum("host_exchanges_total", &[]) == 6.0);
    assert_eq!(told.sum("host_requests_accepted_total", &[]), 6.0);
    assert_eq!((told.ended("finished"), told.ended("refused")), (2.0, 4.0));
    for (reason, count) in [("no-route", 1.0), ("head-too-large", 1.0), ("malformed", 2.0)] {
        assert_eq!(told.sum("host_refusals_total", &[("reason", reason)]), count, "{reason}");
    }
    let route = |route| told.sum("host_exchanges_total", &[("http_route", route)]);
    assert_eq!((route("/shop/*"), route("/locked/*"), route("")), (1.0, 1.0, 4.0));
    let stages = |name| told.sum("host_stages_total", &[("host_component", name)]);
    assert_eq!((stages("shop"), stages("key")), (1.0, 1.0), "the key was not given");
}

#[test]
fn each_way_to_end_is_told_apart() {
    let site = site();
    let host = site.serve().args(metrics::ARGS).start();
    assert_eq!(host.get("/bad").status(), 500);
    let mut gone = host.connect();
    gone.send("POST /shop HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").unwrap();
    Metrics::wait(&host, |told| told.sum("http_server_active_requests", &[]) == 1.0);
    drop(gone);
    let told = Metrics::wait(&host, |told| told.sum("host_exchanges_total", &[]) == 2.0);
    assert_eq!((told.ended("guest-trapped"), told.ended("client-gone")), (1.0, 1.0));
    assert_eq!(told.sum("host_errors_total", &[("host_component", "bad")]), 1.0);
    assert_eq!(told.sum("host_received_bytes_total", &[]), 4.0);
}

/// A generation that was loaded with other limits than the current one, or that is a canary with others, was in no sum.
#[test]
fn memory_of_a_component_is_that_of_all_its_generations() {
    let toml = |memory: &str| {
        format!(
            "[component.shop]\nsource = \"guest:gate_p2\"\nlimits.memory = \"{memory}\"\n\
             [[route]]\npath = \"/\"\ncomponent = \"shop\"\n"
        )
    };
    let site = Site::new(&toml("64MiB"));
    let host = site.serve().control().args(metrics::ARGS).start();
    let memory = |told: &Metrics| told.sum("host_memory_bytes", &[]);
    let held = Held::on(&host);
    let before = Metrics::of(&host);
    assert!(memory(&before) > 0.0, "{before:?}");
    site.write(&toml("32MiB"));
    host.ctl(["reload"]).expect_code(0);
    let after = Metrics::of(&host);
    assert_eq!(memory(&after), memory(&before));
    assert_eq!(after.fallen_since(&before), Vec::<String>::new());
    let second = Held::on(&host);
    assert_eq!(memory(&Metrics::of(&host)), 2.0 * memory(&before));
    drop((held.open(), second.open()));
    let told = Metrics::wait(&host, |told| memory(told) == 0.0);
    let peak = told.sum("host_memory_peak_bytes", &[]);
    assert!(peak >= 2.0 * memory(&before), "{peak}");
}

/// Labels are the operator's words or of fixed sets: a client that invents methods, paths, hosts and versions makes
/// no series.
#[test]
fn no_client_makes_a_label() {
    let site = site();
    let host = site.serve().args(metrics::ARGS).start();
    for number in 0..50 {
        let mut conn = host.connect();
        let head = format!("X{number} /shop/{number} HTTP/1.1\r\nHost: h{number}\r\n\r\n");
        conn.send(head).unwrap();
        conn.read_response("GET").unwrap();
    }
    let told = Metrics::wait(&host, |told| told.sum("host_exchanges_total", &[]) == 50.0);
    assert_eq!(told.values("host_exchanges_total", "http_request_method"), ["_OTHER"]);
    for label in ["http_route", "host_component", "http_response_status_code"] {
        assert!(told.values("host_exchanges_total", label).len() <= 2, "{label}: {told:?}");
    }
}

#[test]
fn promtool_finds_nothing_to_complain_of() {
    if !has("promtool", "prometheus") {
        return;
    }
    let site = site();
    let host = site.serve().args(metrics::ARGS).start();
    host.get("/shop");
    host.get("/bad");
    let page = metrics::page(&host);
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), page.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    assert!(checked.status.success(), "{}\n{page}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn a_real_prometheus_scrapes_the_host() {
    if !has("prometheus", "prometheus") {
        return;
    }
    let site = site();
    let host = site.serve().args(metrics::ARGS).start();
    host.get("/shop");
    Metrics::wait(&host, |told| told.ended("finished") == 1.0);
    let prometheus = Prometheus::scraping(metrics::address(&host));
    let told = |query: &str, label: &str| -> Vec<(String, String)> {
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let series = prometheus.query(query, || ());
        series.iter().map(|one| (word(&one["metric"][label]), word(&one["value"][1]))).collect()
    };
    let one = |label: &str| vec![(label.to_owned(), "1".to_owned())];
    assert_eq!(told("up", "job"), one("host"));
    assert_eq!(told("host_exchanges_total{ended='finished'}", "http_route"), one("/shop/*"));
    let quantile = "histogram_quantile(0.99, host_time_to_head_seconds_bucket)";
    assert_eq!(told(quantile, "host_component")[0].0, "shop");
}

/// Without a bucket of all, each percentile is NaN to Prometheus: no plot of one had a line, and no alert went off.
#[test]
fn the_last_bucket_of_each_histogram_has_all_in_both_texts() {
    let site = site();
    let host = site.serve().args(metrics::ARGS).start();
    host.get("/shop");
    Metrics::wait(&host, |told| told.ended("finished") == 1.0);
    for accept in ["application/openmetrics-text", "text/plain"] {
        let page = metrics::page_as(&host, accept);
        let mut histograms = 0;
        let lines: Vec<&str> = page.lines().collect();
        let buckets = lines.iter().enumerate().filter(|(_, line)| line.contains("_bucket{"));
        for (index, line) in buckets {
            let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
            let is_last = !lines[index + 1].contains("_bucket{");
            assert_eq!(line.contains("le=\"+Inf\""), is_last, "{line}");
            let (_, bound) = line.split_once("le=\"").unwrap();
            let bound: f64 = bound.split('"').next().unwrap().parse().unwrap();
            assert!(is_last || bound <= 60.0, "{line}");
            if is_last {
                let (series, _) = line.rsplit_once(' ').unwrap();
                let series = series.replace("_bucket{", "_count{");
                let series = series.replace(",le=\"+Inf\"", "").replace("le=\"+Inf\",", "");
                let count = lines.iter().find(|line| line.starts_with(&series)).unwrap();
                assert_eq!(number(line), number(count), "{line}\n{count}");
                histograms += 1;
            }
        }
        assert!(histograms > 5, "{accept}: {page}");
    }
}

/// The names of all families are promised: dashboards and alerts go by them.
#[test]
fn the_page_has_every_family() {
    let (site, authority) = (site(), Authority::new("test"));
    authority.write("a", "localhost");
    let host = site.serve().args(metrics::ARGS).args(authority.flags("a")).start();
    host.get("/shop");
    host.get("/nowhere");
    let page = metrics::page(&host);
    let families: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let docs = include_str!("../docs/observing.md");
    for family in &families {
        let name = family.split(' ').next().unwrap();
        assert!(docs.contains(&format!("`{name}`")), "docs/observing.md does not tell of {name}");
    }
    let told = docs.lines().filter_map(|line| line.strip_prefix("| `"));
    let told = told.filter_map(|line| line.split('`').next());
    let is_one = |name: &&str| ["host_", "http_", "process_"].iter().any(|it| name.starts_with(it));
    for name in told.filter(is_one) {
        let is_there = families.iter().any(|family| family.split(' ').next() == Some(name));
        assert!(is_there || name == "host_drain_deadline_seconds", "no {name} in {families:?}");
    }
}

/// CPU time that each thread beside the workers has had: those of ticks, of operators, of the log.
fn beside_workers(host: &Host) -> BTreeMap<String, Duration> {
    let mut threads = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{}/task", host.pid())).expect("it runs") {
        let thread = thread.expect("an entry").path();
        // One that ends meanwhile is none of those that serve.
        let Ok(name) = fs::read_to_string(thread.join("comm")) else { continue };
        let Ok(times) = fs::read_to_string(thread.join("schedstat")) else { continue };
        if name.trim() != "worker" {
            let on_a_core = times.split(' ').next().and_then(|nanos| nanos.parse().ok());
            let nanos = on_a_core.expect("a number");
            threads.insert(thread.display().to_string(), Duration::from_nanos(nanos));
        }
    }
    threads
}

/// What guests compute in the first 10 ms of an exchange was in no sum.
///
/// Guests compute a number of rounds, so that parsing and writing is the same part of it on any machine. What the threads
/// beside the worker take is not, and is left out. There is one worker, which hands the guest to no other at each tick.
#[test]
fn cpu_time_of_a_busy_component_is_that_of_its_cgroup_within_two_percent() {
    let Some(cgroup) = Cgroup::of_cpu_time() else { return };
    let host = Host::serve("busy_p2").args(metrics::ARGS).args(["--threads", "1"]);
    let host = host.under(cgroup.within()).start();
    let mut conn = host.connect();
    let mut spin = |rounds: u64| {
        assert_eq!(conn.get(&format!("/?rounds={rounds}")).unwrap().text(), "spun\n");
    };
    spin(1);
    let counted_before = Metrics::of(&host).sum("host_cpu_seconds_total", &[]);
    // In this order: what the others take while they are read counts against the test.
    let (taken_before, others_before) = (cgroup.cpu_time(), beside_workers(&host));
    for _ in 0..60 {
        spin(100_000_000);
    }
    let (others, taken) = (beside_workers(&host), cgroup.cpu_time() - taken_before);
    let counted = Metrics::of(&host).sum("host_cpu_seconds_total", &[]) - counted_before;
    let since = |(thread, now): (&String, &Duration)| {
        *now - others_before.get(thread).copied().unwrap_or_default()
    };
    let others: Duration = others.iter().map(since).sum();
    let workers = taken - others;
    println!("{counted:.3} s counted, workers took {workers:.3?}, others {others:.3?}");
    let part = counted / workers.as_secs_f64();
    assert!((0.98..=1.0).contains(&part), "{counted:.3} s of {workers:.3?}");
}
