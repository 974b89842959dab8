//! `/metrics`: every family by what it counts, and read by Prometheus's own tools.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::metrics::{self, Metrics};
use crate::support::prelude::*;
use crate::support::scarce::Cgroup;
use crate::support::site::Site;
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

/// A Prometheus of the test's own. It ends with the test.
struct Prometheus {
    process: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn scraping(target: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: host\n  static_configs:\n  \
             - targets: ['{target}']\n"
        );
        fs::write(&config, text).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, address: free.to_string(), _folder: folder }
    }

    /// The values that a query gives, as soon as it gives any.
    fn query(&self, query: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let conn = Conn::connect(self.address.parse::<SocketAddr>().unwrap());
            let asked = conn.ok().map(|mut conn| conn.get(&format!("/api/v1/query?query={query}")));
            if let Some(Ok(answer)) = asked
                && answer.text().contains("\"value\"")
            {
                return answer.text();
            }
            assert!(Instant::now() < until, "Prometheus never had {query}");
            // It scrapes once a second, and does not say when.
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
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
    let prometheus = Prometheus::scraping(&metrics::address(&host).to_string());
    let up = prometheus.query("up==1");
    assert!(up.contains("\"job\":\"host\""), "{up}");
    let exchanges = prometheus.query("host_exchanges_total%7Bended=%22finished%22%7D");
    assert!(exchanges.contains("\"http_route\":\"/shop/*\""), "{exchanges}");
    assert!(exchanges.contains("\"1\""), "{exchanges}");
    let quantile = "histogram_quantile(0.99,host_time_to_head_seconds_bucket)";
    assert!(prometheus.query(quantile).contains("\"host_component\":\"shop\""));
}

/// The names of all families are promised: dashboards and alerts go by them.
#[test]
fn the_page_has_every_family() {
    let site = site();
    let host = site.serve().args(metrics::ARGS).start();
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

/// What guests compute in the first 10 ms of an exchange was in no sum.
#[test]
fn cpu_time_of_a_busy_component_is_that_of_its_cgroup_within_two_percent() {
    let Some(cgroup) = Cgroup::new("cpuacct") else { return };
    let host = Host::serve("busy_p2").args(metrics::ARGS).under(cgroup.within()).start();
    let counted = || Metrics::of(&host).sum("host_cpu_seconds_total", &[]);
    #[expect(clippy::cast_precision_loss, reason = "some seconds in nanoseconds")]
    let taken = || cgroup.get("cpuacct.usage", "cpu.stat") as f64 / 1e9;
    assert_eq!(host.get("/?ms=1").text(), "spun\n");
    let (counted_before, taken_before) = (counted(), taken());
    for _ in 0..60 {
        assert_eq!(host.get("/?ms=60").text(), "spun\n");
    }
    let (counted, taken) = (counted() - counted_before, taken() - taken_before);
    println!("{counted:.3} s counted, {taken:.3} s taken by the process");
    assert!((0.98..=1.0).contains(&(counted / taken)), "{counted:.3} s of {taken:.3} s");
}
