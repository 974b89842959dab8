//! `/metrics`: every family by what it counts, and read by Prometheus's own tools.

use std::process::{Command, Stdio};

use crate::support::metrics::{self, Metrics};
use crate::support::site::Site;
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

/// Whether a tool of Prometheus is here; where it is not, one line says that its test shows nothing.
fn has(tool: &str) -> bool {
    let mut asked = Command::new(tool);
    asked.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    let found = asked.status().is_ok_and(|status| status.success());
    if !found {
        println!(
            "{tool} is not installed (Debian: apt-get install prometheus), so nothing is shown here"
        );
    }
    found
}

#[test]
fn promtool_finds_nothing_to_complain_of() {
    if !has("promtool") {
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
