//! The control socket, `host ctl` and health: what an operator sees and does.

use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::support::app::Folder;
use crate::support::binary::binary_for_all;
use crate::support::prelude::*;
use crate::support::process::{Process, TempPath};
use crate::support::status::{ctl_json, status, wait_json};
use crate::support::stop::{GET, Held, POST, stop};

/// A runtime directory of one test's own.
struct Runtime(Folder);

impl Runtime {
    fn new() -> Self {
        Self(Folder::new())
    }

    fn path(&self) -> PathBuf {
        self.0.join("")
    }

    /// A host whose control socket is in its default place here.
    fn host(&self) -> Host {
        Host::serve("hello_p2").env("XDG_RUNTIME_DIR", self.path()).start()
    }

    #[track_caller]
    fn ctl(&self, args: &[&str]) -> Exit {
        Host::run_with(("XDG_RUNTIME_DIR", &self.path()), [&["ctl"], args].concat())
    }

    fn socket(&self, pid: u32) -> PathBuf {
        self.0.join(&format!("host/{pid}.sock"))
    }
}

/// Where the log says that health is answered.
#[track_caller]
fn health(host: &Host) -> SocketAddr {
    let line = host.wait_log("health=");
    let (_, rest) = line.split_once("health=").unwrap();
    rest.split(' ').next().unwrap().parse().expect("an address")
}

#[track_caller]
fn probe(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = Conn::connect(address).unwrap().get(path).unwrap();
    (answer.status(), answer.text())
}

#[test]
fn status_tells_what_the_host_does() {
    let host = Host::serve("gate_p2").args(["--linger", "1s500ms"]).control().start();
    let held = Held::on(&host);
    let status = status(&host);
    assert_eq!(status["schema"], "1");
    assert_eq!(status["pid"], host.pid());
    assert_eq!(status["phase"], "ready");
    assert_eq!(status["stopping"], Value::Null);
    assert_eq!(status["addresses"][0], host.addr().to_string());
    assert_eq!(status["exchanges_in_flight"], 1);
    assert_eq!(status["connections"]["open"], 1);
    assert_eq!(status["limits"]["linger"], "1s 500ms");
    let exit = host.ctl(["status"]);
    exit.expect_code(0);
    for text in ["ready", "last minute", "1 exchange,", "gate_p2"] {
        assert!(exit.stdout.contains(text), "no {text} in\n{}", exit.stdout);
    }
    assert!(exit.stdout.lines().all(|line| line.chars().count() <= 80), "{}", exit.stdout);
    let exit = host.ctl(["status", "--limits"]);
    exit.expect_code(0);
    assert!(exit.stdout.contains("--linger"), "{}", exit.stdout);
    drop(held.open());
}

#[test]
fn connections_are_listed_with_what_they_are_doing() {
    let host = Host::serve("gate_p2").unix().control().start();
    let mut uploads = host.connect();
    uploads.send(POST).unwrap();
    let head = uploads.read_head().unwrap();
    assert_eq!(head.status, 200);
    let mut idle = Conn::connect(host.unix_path()).unwrap();
    assert_eq!(idle.get("/").unwrap().status(), 200);
    let h2 = H2::connect(host.addr());
    // A client has its answer before the host has noted that there is nothing more to do, and a preface is sent
    // before it is read.
    let all = wait_json(&host, "connections", "two idle and one reading", |all| {
        let all = all["connections"].as_array().unwrap();
        let count = |state: &str| all.iter().filter(|one| one["state"] == state).count();
        (count("idle"), count("reading")) == (2, 1)
            && all.iter().any(|one| one["protocol"] == "http/2")
    });
    let find = |protocol: &str, listener: &str| {
        let all = all["connections"].as_array().unwrap();
        let is = |one: &&Value| {
            one["protocol"] == protocol && one["listener"].as_str().unwrap().starts_with(listener)
        };
        all.iter().find(is).unwrap_or_else(|| panic!("no {protocol} on {listener} in {all:?}"))
    };
    let one = find("http/1", "127.0.0.1:");
    assert_eq!((&one["state"], &one["exchanges_in_flight"]), (&"reading".into(), &1.into()));
    let one = find("http/1", "unix:");
    assert_eq!((&one["state"], &one["exchanges_served"]), (&"idle".into(), &1.into()));
    assert_eq!(one["peer"], "unix");
    assert_eq!(find("http/2", "127.0.0.1:")["state"], "idle");
    let exit = host.ctl(["connections"]);
    let lines: Vec<_> = exit.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "a head and three connections: {lines:?}");
    drop((uploads, h2));
}

#[test]
fn a_request_that_is_malformed_is_refused_and_the_host_serves_on() {
    let host = Host::serve("hello_p2").control().start();
    for (request, status) in [
        ("POST /v1/stop HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nnow", "400"),
        ("POST /v1/stop HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n{\"a\": 1}", "400"),
        ("stop!\r\n\r\n", "400"),
        ("GET /v1/stop HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "405"),
    ] {
        let mut conn = Conn::connect(host.control_path()).unwrap();
        conn.send(request).unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!(head.status.to_string(), status, "{request}");
    }
    assert_eq!(host.get("/").status(), 200);
}

/// The mode of the socket keeps others out; this is the lock behind it.
#[test]
fn another_user_is_turned_away_even_where_the_socket_is_open_to_all() {
    if !rustix::process::geteuid().is_root() {
        println!("only root can become another user; nothing tested");
        return;
    }
    let host = Host::serve("hello_p2").control().start();
    fs::set_permissions(host.control_path(), Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--clear-groups"]).arg(binary_for_all());
    command.args(["ctl", "status", "--socket"]).arg(host.control_path());
    let other = Process::spawn(&mut command);
    assert_eq!(other.wait(Instant::now() + PATIENCE), Some(4));
    assert_eq!(other.stdout.text(), "");
    host.wait_log("control: turned away");
    host.ctl(["status"]).expect_code(0);
}

#[test]
fn ctl_without_a_host_says_what_to_do() {
    let runtime = Runtime::new();
    let exit = runtime.ctl(&["status"]);
    exit.expect_code(3).expect_last_line("host serve");
    let exit = runtime.ctl(&["status", "--pid", "1"]);
    exit.expect_code(3).expect_last_line("1.sock");
    let exit = runtime.ctl(&["status", "--socket", "/nowhere.sock"]);
    exit.expect_code(3).expect_last_line("/nowhere.sock");
}

#[test]
fn ctl_finds_the_only_host_and_asks_which_of_two() {
    let runtime = Runtime::new();
    let first = runtime.host();
    let exit = runtime.ctl(&["status", "--json"]);
    exit.expect_code(0);
    assert!(exit.stdout.contains(&format!("\"pid\":{}", first.pid())), "{}", exit.stdout);
    let second = runtime.host();
    let exit = runtime.ctl(&["status"]);
    exit.expect_code(2).expect_last_line("--pid");
    for host in [&first, &second] {
        assert!(exit.last_line.contains(&host.pid().to_string()), "{}", exit.last_line);
        runtime.ctl(&["--pid", &host.pid().to_string(), "status"]).expect_code(0);
    }
    // It leaves its socket behind.
    let left = runtime.socket(second.pid());
    second.signal(Signal::KILL);
    second.wait_exit().expect_code(-9);
    assert!(left.exists());
    runtime.ctl(&["status"]).expect_code(0);
}

#[test]
fn socket_is_private_and_goes_with_its_host() {
    let runtime = Runtime::new();
    let host = runtime.host();
    let path = runtime.socket(host.pid());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
    assert!(!path.exists());
}

#[test]
fn control_socket_that_cannot_be_had_is_exit_3_if_it_was_asked_for() {
    let app = guest("hello_p2");
    let app = app.to_str().unwrap();
    let taken = TempPath::new("taken.sock");
    let _listener = UnixListener::bind(&taken.0).unwrap();
    for (path, why) in [("/nowhere/c.sock", "No such file"), (taken.0.to_str().unwrap(), "another")]
    {
        let exit = Host::run(["serve", app, "--addr", "127.0.0.1:0", "--control", path]);
        exit.expect_code(3).expect_last_line(path).expect_last_line(why);
    }
    assert!(taken.0.exists(), "it is not ours to remove");
}

#[test]
fn control_socket_that_cannot_be_had_by_default_is_a_warning() {
    let host = Host::serve("hello_p2").env("XDG_RUNTIME_DIR", "/nowhere").start();
    host.wait_log("no control socket at /nowhere/host");
    assert_eq!(host.get("/").status(), 200);
}

#[test]
fn drain_by_hand_is_seen_by_probes_and_taken_back() {
    let host = Host::serve("hello_p2").control().args(["--health-addr", "127.0.0.1:0"]).start();
    let health = health(&host);
    assert_eq!(probe(health, "/readyz"), (200, "ready\n".into()));
    host.ctl(["drain"]).expect_code(0);
    assert_eq!(probe(health, "/readyz"), (503, "lame-duck\n".into()));
    assert_eq!(probe(health, "/livez").0, 200);
    let answer = host.get("/");
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
    host.ctl(["undrain"]).expect_code(0);
    assert_eq!(probe(health, "/readyz").0, 200);
    let mut conn = host.connect();
    conn.send(GET).unwrap();
    assert!(!conn.read_head().unwrap().says_close());
}

#[test]
fn stop_that_is_followed_ends_with_the_hosts_last_line_and_code() {
    let host = Host::serve("gate_p2").control().args(["--drain-timeout", "1s"]).start();
    let _held = Held::on(&host);
    let ctl = host.start_ctl(["stop", "--wait"]);
    ctl.wait_line("1 exchange");
    let ended = host.wait_exit();
    ended.expect_code(1).expect_last_line(says::STOPPED);
    let exit = ctl.wait_exit();
    exit.expect_code(1);
    assert_eq!(exit.stdout.lines().last(), Some(ended.last_line.as_str()));
}

#[test]
fn stop_of_an_idle_host_is_told_before_it_has_gone() {
    for args in [&["stop"][..], &["stop", "--wait"], &["stop", "--now", "--wait"]] {
        let host = Host::serve("hello_p2").control().start();
        host.ctl(args).expect_code(0);
        host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
    }
}

#[test]
fn stop_that_was_begun_by_a_signal_can_be_followed_and_not_taken_back() {
    let host = Host::serve("gate_p2").control().start();
    let held = Held::on(&host);
    stop(&host);
    let status = status(&host);
    assert_eq!(status["phase"], "draining");
    assert_eq!(status["stopping"]["deadline_ms"], 25_000);
    let exit = host.ctl(["undrain"]);
    exit.expect_code(1).expect_last_line("cannot be taken back");
    let ctl = host.start_ctl(["stop", "--wait"]);
    ctl.wait_line("draining");
    drop(held.open());
    host.wait_exit().expect_code(0);
    ctl.wait_exit().expect_code(0);
}

#[test]
fn host_that_is_killed_while_its_stop_is_followed_is_exit_4() {
    let host = Host::serve("gate_p2").control().start();
    let _held = Held::on(&host);
    let ctl = host.start_ctl(["stop", "--wait"]);
    ctl.wait_line("draining");
    host.signal(Signal::KILL);
    host.wait_exit().expect_code(-9);
    ctl.wait_exit().expect_code(4).expect_last_line("broke");
}

#[test]
fn control_and_health_answer_while_guests_spin_on_every_core() {
    let args = ["--threads", "1", "--health-addr", "127.0.0.1:0"];
    let host = Host::serve("busy_p2").control().args(args).start();
    let mut conn = host.connect();
    conn.send(GET).unwrap();
    host.wait_log(says::SPINNING);
    assert_eq!(status(&host)["exchanges_in_flight"], 1);
    assert_eq!(ctl_json(&host, "connections")["connections"][0]["state"], "serving");
    assert_eq!(probe(health(&host), "/readyz").0, 200);
    host.ctl(["stop", "--now"]).expect_code(0);
    host.wait_exit().expect_code(1);
}

#[test]
fn health_port_that_is_taken_is_exit_3_with_its_name() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let app = guest("hello_p2");
    let args = ["serve", app.to_str().unwrap(), "--control", "off", "--health-addr", &addr];
    Host::run(args).expect_code(3).expect_last_line(&addr).expect_last_line("in use");
}

#[test]
fn peers_that_sit_on_control_and_health_do_not_hold_up_a_stop() {
    let args = ["--health-addr", "127.0.0.1:0", "--drain-timeout", "1h"];
    let host = Host::serve("hello_p2").control().args(args).start();
    let sitting = [Conn::connect(host.control_path()), Conn::connect(health(&host))];
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
    drop(sitting);
}
