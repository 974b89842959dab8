//! `host drain-test`: the strict client as a command, against ourselves and against servers that lose.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::support::app::{App, text};
use crate::support::binary::guest;
use crate::support::prelude::*;
use crate::support::process::Process;
use crate::support::tls_client;
use crate::support::tools;

/// The built host, for commands that others run.
const HOST: &str = env!("CARGO_BIN_EXE_host");

/// Few clients, and no wait that is not for an event.
const QUICK: [&str; 4] = ["--clients", "2", "--before", "0ms"];

/// Runs `host drain-test ARGS...` to its end.
#[track_caller]
fn drain_test(args: &[&str]) -> Exit {
    Host::run(["drain-test"].iter().chain(&QUICK).chain(args))
}

/// The report, of which nothing was lost.
#[track_caller]
fn expect_clean(exit: &Exit) -> Value {
    exit.expect_code(0);
    let report: Value = serde_json::from_str(&exit.stdout).unwrap();
    assert_eq!((&report["clean"], &report["lost"]), (&true.into(), &0.into()), "{report}");
    assert_eq!(
        (&report["losses"], &report["trouble"]),
        (&Vec::<Value>::new().into(), &Value::Null)
    );
    for (kind, tally) in report["clients"].as_object().unwrap() {
        let answered = &tally["answered"];
        assert!(answered["before"].as_u64().unwrap() > 0, "{kind}: {tally}");
    }
    report
}

/// A port that was free just now.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

#[test]
fn host_that_is_our_child_loses_nothing_in_two_stops() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/");
    let (app, address) = (guest("hello_p2"), format!("127.0.0.1:{port}"));
    let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/cache");
    let serve = [HOST, "serve", text(&app), "--addr", &address, "--cache-dir", cache];
    let asks = [url.as_str(), "--json", "--stops", "2", "--http1", "--http2", "--spawn", "--"];
    let report = expect_clean(&drain_test(&[&asks[..], &serve, &["--control", "off"]].concat()));
    assert_eq!(report["clients"].as_object().unwrap().len(), 7);
    let stops = report["stops"].as_array().unwrap();
    let exits: Vec<_> = stops.iter().map(|stop| stop["exit"].as_str()).collect();
    assert_eq!(exits, [Some("exit status: 0"); 2], "{report}");
    assert!(stops.iter().all(|stop| stop["refused_ms"].is_f64()), "{report}");
}

#[test]
fn host_that_gets_a_signal_loses_nothing_over_tls() {
    for (scheme, flags) in [("https", &["--http1"][..]), ("http", &["--tls", "--http2"])] {
        let host = Host::serve("hello_p2").tls().start();
        let url = format!("{scheme}://localhost:{}/", host.tls_addr().port());
        let (pid, ca) = (host.pid().to_string(), tls_client::certificate());
        let asks = [url.as_str(), "--json", "--ca", text(&ca), "--signal-pid", &pid];
        let report = expect_clean(&drain_test(&[&asks[..], flags].concat()));
        assert!(report["url"].as_str().unwrap().starts_with("https://"), "{report}");
        host.wait_exit().expect_code(0);
    }
}

#[test]
fn host_that_swaps_and_reloads_loses_and_refuses_nothing() {
    let app = App::new("hello_p2");
    let host = app.serve().control().start();
    let url = format!("http://{}/", host.addr());
    let ctl = format!("{HOST} ctl --socket {}", text(host.control_path()));
    let other = guest("hello_p3");
    // In its place by a rename, so that nobody reads half of it.
    let (new, path) = (text(&other), app.text());
    let reload = format!("cp {new} {path}.new && mv {path}.new {path} && {ctl} reload");
    let swap = format!("{ctl} swap {}", text(&guest("hello_p2")));
    for command in [&reload, &swap] {
        let asks =
            [url.as_str(), "--json", "--after", "0ms", "--http1", "--http2", "--exec", command];
        let report = expect_clean(&drain_test(&asks));
        assert_eq!(report["stops"][0]["exit"], "exit status: 0");
        assert_eq!(report["stops"][0]["refused_ms"], Value::Null);
        assert_eq!(report["total"]["refused"].as_object().unwrap().len(), 0, "{report}");
    }
    assert_eq!(host.get("/").status(), 200);
}

/// A server that loses every request which comes after SIGUSR1, and ends with the second one.
const LOSES: &str = r#"
import http.server, os, signal, socketserver, sys, threading
how, port, stopping, lost, lock = sys.argv[1], int(sys.argv[2]), False, 0, threading.Lock()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body go in one piece: its end, which cuts other requests, cannot come between them.
    wbufsize = -1
    def do_GET(self):
        if not stopping:
            return self.answer(200, b"hello\n")
        if how != "closes":
            self.answer(503 if how == "refuses" else 200, b"hel" if how == "truncates" else b"sorry\n")
        self.close_connection = True
        global lost
        with lock:
            lost += 1
            if lost == 2:
                os._exit(0)
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
    def log_message(self, *_): pass
def stop(*_):
    global stopping
    stopping = True
class Server(http.server.ThreadingHTTPServer):
    def server_bind(self):
        # Without asking for the name of 127.0.0.1, which may take as long as the resolver wants.
        socketserver.TCPServer.server_bind(self)
server = Server(("127.0.0.1", port), Handler)
signal.signal(signal.SIGUSR1, stop)
server.serve_forever()
"#;

#[test]
fn server_that_loses_is_told_what_and_when() {
    if !tools::has("python3", "python3") {
        return;
    }
    for (how, kind) in [("closes", "eof"), ("truncates", "truncated"), ("refuses", "5xx")] {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}/");
        let asks = [url.as_str(), "--kinds", "h1-kept", "--spawn", "--signal", "USR1"];
        let serve = ["--", "python3", "-c", LOSES, how, &port];
        let exit = drain_test(&[&asks[..], &["--json"], &serve].concat());
        exit.expect_code(1);
        let report: Value = serde_json::from_str(&exit.stdout).unwrap();
        let losses = report["losses"].as_array().unwrap();
        assert_eq!(report["lost"], losses.len(), "{report}");
        // The server has lost two. What its end cuts beside them has no answer either.
        let right = losses.iter().filter(|loss| loss["kind"] == kind).count();
        assert!(right >= 2, "{how}: {report}");
        let closed = |loss: &Value| loss["kind"] == "eof" || loss["kind"] == "reset";
        for loss in losses {
            assert!(loss["phase"] != "before" && loss["ended_ms"].as_f64() > Some(0.0), "{loss}");
            assert!(loss["kind"] == kind || closed(loss), "{how}: {loss}");
            assert_eq!(loss["repeatable"], closed(loss), "{loss}");
        }
        let table = drain_test(&[&asks[..], &serve].concat());
        table.expect_code(1);
        let counted = format!("{kind} ");
        let words = [counted.as_str(), "stop 1: port refused after", "lost: stop 1, ", " ms: "];
        for word in words {
            assert!(table.stdout.contains(word), "{how}: no {word:?} in {}", table.stdout);
        }
    }
}

#[test]
fn wrong_usage_is_exit_2_and_says_what_to_do() {
    let url = "http://127.0.0.1:1/";
    let nobody = i32::MAX.to_string();
    let cases: [(&[&str], &str); 23] = [
        (&[url], "--signal-pid"),
        (&[url, "--exec", "true", "--spawn", "--", "true"], "cannot be used with"),
        (&[url, "--spawn"], "COMMAND"),
        (&[url, "--exec", "true", "--", "true"], "--spawn"),
        (&[url, "--signal", "HUP", "--signal-pid", "1"], "--signal-pid PID:SIGNAL"),
        (&[url, "--spawn", "--signal", "OFF", "--", "true"], "no signal \"OFF\""),
        (&[url, "--signal-pid", "1:BOGUS"], "no signal \"BOGUS\"; there are TERM, INT"),
        (&[url, "--signal-pid", "0"], "not the id of a process"),
        (&[url, "--signal-pid", &nobody], "there is none"),
        (&["127.0.0.1:1", "--exec", "true"], "http:// or https://"),
        (&["ftp://t/", "--exec", "true"], "http:// or https://"),
        (&[url, "--exec", "true", "--kinds", "h3"], "h1-kept, h1-fresh"),
        (&[url, "--exec", "true", "--stops", "0"], "--stops"),
        (&[url, "--exec", "true", "--pause", "5"], "500ms"),
        (&[url, "--exec", "true", "--upload-path", "x"], "begins with /"),
        (&[url, "--exec", "true", "--patience", "0ms"], "patience"),
        (&[url, "--exec", "true", "--status", "503"], "--status"),
        (&[url, "--signal-pid", "1", "--no-return"], "the command of --exec, which is not there"),
        (&["http://me:secret@t/", "--exec", "true"], "http://…@t/: a user and a password"),
        (&["https://t/", "--exec", "true", "--ca", "/no/such.pem"], "/no/such.pem"),
        (&[url, "--exec", "true"], "the server does not accept: Connection refused"),
        (&[url, "--spawn", "--", "/no/such/server"], "cannot be started"),
        (&[url, "--spawn", "--", "false"], "has ended before it was stopped: exit status: 1"),
    ];
    for (args, words) in cases {
        let exit = Host::run(["drain-test"].iter().chain(args));
        exit.expect_code(2);
        assert!(exit.stderr.contains(words), "{args:?}: no {words:?} in {}", exit.stderr);
        assert_eq!(exit.stdout, "", "{args:?}");
    }
}

/// It was once told to stop all the same, for a test of nothing.
#[test]
fn server_whose_certificate_is_not_trusted_is_left_alone() {
    let host = Host::serve("hello_p2").tls().start();
    let url = format!("https://localhost:{}/", host.tls_addr().port());
    let pid = host.pid().to_string();
    let exit = drain_test(&[url.as_str(), "--signal-pid", &pid]);
    exit.expect_code(2);
    for words in
        ["so the server was left alone: invalid peer certificate", "--ca FILE", "--insecure"]
    {
        exit.expect_last_line(words);
    }
    assert_eq!(exit.stdout, "");
    assert_eq!(host.get("/").status(), 200);
    expect_clean(&drain_test(&[url.as_str(), "--json", "--insecure", "--signal-pid", &pid]));
    host.wait_exit().expect_code(0);
}

#[test]
fn server_that_only_fails_is_left_alone() {
    let host = Host::serve("trap_p2").start();
    let url = format!("http://{}/", host.addr());
    let exit = drain_test(&[
        &url,
        "--json",
        "--kinds",
        "h1-kept",
        "--signal-pid",
        &host.pid().to_string(),
    ]);
    exit.expect_code(2).expect_last_line("so the server was left alone: 5xx: status 500");
    let report: Value = serde_json::from_str(&exit.stdout).unwrap();
    assert!(report["trouble"].is_string() && report["lost"].as_u64() > Some(0), "{report}");
    assert_eq!(report["stops"], Value::Array(Vec::new()));
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}

#[test]
fn test_that_is_broken_off_leaves_no_server_behind() {
    let codes = [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129), (Signal::QUIT, 131)];
    for (signal, code) in codes {
        // Whoever has started these tests may ignore some of them, as `nohup` does.
        let mut command = Command::new("env");
        command.args(["--default-signal", HOST]);
        let server = "sleep 1h & echo here >&2; wait";
        let url = format!("http://127.0.0.1:{}/", free_port());
        command.args(["drain-test", &url, "--ready", "1h", "--spawn", "--", "sh", "-c", server]);
        let process = Process::spawn(&mut command);
        let until = Instant::now() + PATIENCE;
        process.stderr.wait_for("here", Mark::START, 1, until).unwrap();
        process.signal(signal);
        assert_eq!(process.wait(until), Some(code));
        // The child has it too, and what the child has started.
        assert!(process.stderr.wait_closed(until), "the server lives on");
    }
}

/// A server that was down for good after `--exec` once gave exit 0.
#[test]
fn server_that_a_command_ends_is_to_come_back_unless_it_is_said() {
    for (flags, code) in [(&[][..], 2), (&["--no-return"], 0)] {
        let host = Host::serve("hello_p2").start();
        let url = format!("http://{}/", host.addr());
        let kill = format!("kill {}", host.pid());
        let asks = [url.as_str(), "--ready", "0ms", "--exec", &kill];
        let exit = drain_test(&[&asks[..], flags].concat());
        exit.expect_code(code);
        if code == 2 {
            exit.expect_last_line("did not come back after the command");
            exit.expect_last_line("--no-return");
        }
        host.wait_exit().expect_code(0);
    }
}

/// A path that nobody serves once gave exit 0.
#[test]
fn status_404_is_an_answer_only_for_whoever_wants_it() {
    let host = Host::serve("odd_p2").start();
    let url = format!("http://{}/status?code=404", host.addr());
    let pid = host.pid().to_string();
    let asks = [url.as_str(), "--json", "--kinds", "h1-kept", "--signal-pid", &pid];
    let exit = drain_test(&asks);
    exit.expect_code(2);
    exit.expect_last_line(
        "so the server was left alone: status: status 404; if it is right: --status 404",
    );
    let report = expect_clean(&drain_test(&[&asks[..], &["--status", "404"]].concat()));
    assert_eq!(report["statuses"], serde_json::json!({ "h1-kept": 404 }));
    host.wait_exit().expect_code(0);
}

/// The page lists each kind of client and of loss as the command calls them.
#[test]
fn page_names_what_the_command_names() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/drain-test.md");
    let page = fs::read_to_string(page).unwrap();
    let help = Host::run(["drain-test", "--help"]);
    help.expect_code(0);
    let flags = help.stdout.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    for flag in flags.filter_map(|flag| flag.split_whitespace().next()) {
        assert!(page.contains(&format!("`--{flag}")), "docs/drain-test.md does not name --{flag}");
    }
    for word in ["h1-pipelined", "h2-fresh", "`twice`", "`goaway`"] {
        assert!(page.contains(word), "{word}");
    }
}
