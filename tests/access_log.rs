//! The access log: one line for each exchange that has ended, and for each request that the host itself answered.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::app::{Folder, text};
use crate::support::metrics::{self, Metrics};
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::stop::{GET, Held};
use crate::support::wire;

/// The first `count` lines of a file, once they are there. There are no more.
#[track_caller]
fn lines(path: &Path, count: usize) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let log = fs::read_to_string(path).unwrap_or_default();
        if log.ends_with('\n') && log.lines().count() >= count {
            assert_eq!(log.lines().count(), count, "{log}");
            return log.lines().map(str::to_owned).collect();
        }
        assert!(Instant::now() < until, "{count} lines do not come: {log}");
        thread::yield_now();
    }
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))
}

/// The only line there is.
#[track_caller]
fn only_line(path: &Path) -> Value {
    parsed(&lines(path, 1)[0])
}

const SITE: &str = r#"
    [log]
    access = "access.log"
    [keyvalue.main]
    backend = "memory"
    [component.app]
    source = "guest:hello_p2"
    [component.echo]
    source = "guest:echo_p3"
    [component.trap]
    source = "guest:trap_p2"
    [component.slow]
    source = "guest:sleep_p2"
    limits.response-head-timeout = "100ms"
    [component.long]
    source = "guest:sleep_p3"
    [component.auth]
    source = "guest:apikey_p2"
    grants.keyvalue.keys = "main"
    [component.mark]
    source = "guest:mark_p3"
    config.mark = "m"
    [[route]]
    path = "/app"
    component = "app"
    [[route]]
    path = "/echo"
    component = "echo"
    methods = ["POST"]
    [[route]]
    path = "/trap"
    component = "trap"
    [[route]]
    path = "/slow"
    component = "slow"
    [[route]]
    path = "/long"
    component = "long"
    [[route]]
    path = "/private"
    component = "app"
    chain = ["auth"]
    [[route]]
    path = "/marked"
    component = "app"
    chain = ["mark"]
"#;

/// A site of many ends, and its access log.
struct Watched {
    site: Site,
    host: Host,
    seen: usize,
}

impl Watched {
    fn start() -> Self {
        let site = Site::new(SITE);
        let host = site.serve().start();
        Self { site, host, seen: 0 }
    }

    /// The line of the next request, once it is there.
    #[track_caller]
    fn next(&mut self) -> Value {
        self.seen += 1;
        let lines = lines(Path::new(&self.site.file("access.log")), self.seen);
        parsed(&lines[self.seen - 1])
    }

    /// Sends `request` on a connection of its own, and gives the status of the answer with its line.
    #[track_caller]
    fn ask(&mut self, request: &str) -> (u16, Value) {
        let mut conn = self.host.connect();
        conn.send(request).expect("the host reads");
        let method = request.split(' ').next().unwrap_or_default();
        let status = conn.read_response(method).expect("a whole answer").status();
        (status, self.next())
    }
}

/// The values of these fields.
fn fields(line: &Value, names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| line[*name].clone()).collect()
}

/// Six requests answered 404, 200, 401, 431, 400, 400 left no trace at any level.
#[test]
fn each_request_leaves_a_line_that_says_how_it_ended() {
    let mut watched = Watched::start();
    let names =
        ["http.response.status_code", "end", "reason", "http.route", "component", "url.path"];
    let null = Value::Null;
    let long_head = format!("GET /app HTTP/1.1\r\nHost: t\r\nx: {}\r\n\r\n", "x".repeat(40_000));
    let none = ("none", "none", "none");
    for (request, status, end, reason, (route, component, path)) in [
        (&*wire::get("/nowhere"), 404, "refused", "no-route", ("none", "none", "/nowhere")),
        (&wire::get("/app/x?token=s"), 200, "finished", "none", ("/app/*", "app", "/app/x")),
        (&wire::get("/private"), 401, "finished", "none", ("/private/*", "app", "/private")),
        (&long_head, 431, "refused", "head-too-large", none),
        ("GET /app HTTP/1.1\r\n\r\n", 400, "refused", "malformed", ("none", "none", "/app")),
        ("GET /a b HTTP/1.1\r\nHost: t\r\n\r\n", 400, "refused", "malformed", none),
        (&wire::get("/echo"), 405, "refused", "method", ("none", "none", "/echo")),
        (&wire::get("/trap"), 500, "guest-trapped", "none", ("/trap/*", "trap", "/trap")),
        (&wire::get("/slow?ms=600000"), 504, "timed-out", "none", ("/slow/*", "slow", "/slow")),
    ] {
        let (answered, line) = watched.ask(request);
        assert_eq!(answered, status, "{line}");
        let or_null = |text| if text == "none" { null.clone() } else { json!(text) };
        let expected = [
            json!(status),
            json!(end),
            or_null(reason),
            or_null(route),
            or_null(component),
            or_null(path),
        ];
        assert_eq!(fields(&line, &names), expected, "{line}");
        assert_eq!(line.get("url.query"), None, "tokens live there: {line}");
    }
}

#[test]
fn a_line_has_every_field_that_there_is_to_tell() {
    let mut watched = Watched::start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = format!(
        "POST /echo/x HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\n\
         x-request-id: mine-1\r\ntraceparent: 00-{trace}-00f067aa0ba902b7-01\r\n\r\nhello"
    );
    let (status, line) = watched.ask(&request);
    assert_eq!(status, 200);
    let names = [
        "client.address",
        "http.request.method",
        "url.path",
        "network.protocol.version",
        "http.request.body.size",
        "http.response.body.size",
        "http.route",
        "component",
        "generation",
        "request_id",
        "trace_id",
        "end",
    ];
    let expected = json!([
        "127.0.0.1",
        "POST",
        "/echo/x",
        "1.1",
        5,
        5,
        "/echo/*",
        "echo",
        line["generation"].as_u64().unwrap(),
        "mine-1",
        trace,
        "finished"
    ]);
    assert_eq!(json!(fields(&line, &names)), expected, "{line}");
    for number in ["client.port", "exchange", "duration", "time_to_head", "queue_time", "cpu_time"]
    {
        assert!(line[number].is_number(), "{number}: {line}");
    }
    assert!(line["time_to_head"].as_f64() <= line["duration"].as_f64(), "{line}");
    let time = line["timestamp"].as_str().unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    assert_eq!(line["span_id"].as_str().unwrap().len(), 16);
}

#[test]
fn plugins_stand_in_the_line_with_how_each_ended() {
    let mut watched = Watched::start();
    let (_, line) = watched.ask(&wire::get("/marked"));
    let plugin = &line["plugins"][0];
    assert_eq!(
        fields(plugin, &["component", "status", "end"]),
        [json!("mark"), json!(200), json!("finished")]
    );
    assert_eq!((&line["component"], &line["plugins"][1]), (&json!("app"), &Value::Null));
    // One that answers by itself: the component was not asked, and has no generation here.
    let (_, line) = watched.ask(&wire::get("/private"));
    assert_eq!(line["plugins"][0]["status"], 401, "{line}");
    assert_eq!(line.get("generation"), None, "{line}");
}

#[test]
fn clients_that_go_and_work_that_is_cut_are_told_apart() {
    let mut watched = Watched::start();
    for (number, guest) in ["/long", "/marked"].into_iter().enumerate() {
        let mut conn = watched.host.connect();
        conn.send(wire::chunked(&format!("{guest}?ms=600000"))).unwrap();
        if number == 0 {
            conn.reset();
            let line = watched.next();
            assert_eq!(
                (&line["end"], line.get("http.response.status_code")),
                (&json!("client-gone"), None)
            );
        }
    }
    let site = Site::new(
        "[log]\naccess = \"access.log\"\n[stop]\ndrain-timeout = \"100ms\"\n\
         [component.app]\nsource = \"guest:gate_p2\"\n",
    );
    let host = site.serve().start();
    let held = Held::on(&host);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(1);
    let line = only_line(Path::new(&site.file("access.log")));
    assert_eq!((&line["end"], &line["http.response.status_code"]), (&json!("cut"), &json!(200)));
    drop(held);
}

#[test]
fn http_2_stands_in_the_line() {
    let mut watched = Watched::start();
    let mut h2 = H2::connect(watched.host.addr());
    h2.get(1, "/app");
    assert_eq!(h2.expect_answer(1).status, 200);
    let line = watched.next();
    assert_eq!(
        (&line["network.protocol.version"], &line["end"]),
        (&json!("2"), &json!("finished"))
    );
}

#[test]
fn combined_is_as_apache_writes_it() {
    let folder = Folder::new();
    let path = folder.join("access.log");
    let flags = ["--access-log", text(&path), "--access-log-format", "combined", "--log-query"];
    let host = Host::serve("hello_p2").args(flags).start();
    let mut conn = host.connect();
    let agent = "User-Agent: curl/8 \"x\"\\\u{fc}\r\nReferer: http://a.example/";
    conn.send(format!("GET /a?b=c HTTP/1.1\r\nHost: t\r\n{agent}\r\n\r\n")).unwrap();
    assert_eq!(conn.read_response("GET").unwrap().status(), 200);
    let line = lines(&path, 1).remove(0);
    let (before, rest) = line.split_once(" [").unwrap();
    let (_, behind) = rest.split_once("] ").unwrap();
    assert_eq!(before, "127.0.0.1 - -");
    let request = "\"GET /a?b=c HTTP/1.1\" 200 12";
    assert_eq!(
        behind,
        format!("{request} \"http://a.example/\" \"curl/8 \\\"x\\\"\\\\\\xc3\\xbc\"")
    );
    // What could not be read.
    conn.send("\x01\r\n\r\n").unwrap();
    conn.read_to_end().ok();
    assert!(lines(&path, 2)[1].ends_with("\"-\" 400 - \"-\" \"-\""));
}

#[test]
fn hostile_paths_and_headers_break_no_line() {
    let folder = Folder::new();
    for (format, is_json) in [("json", true), ("combined", false)] {
        let path = folder.join(format);
        let flags = ["--access-log", text(&path), "--access-log-format", format, "--log-query"];
        let host =
            Host::serve("hello_p2").args(flags).args(["--max-header-size", "128KiB"]).start();
        let long = format!("/{}", "p".repeat(60 << 10));
        let paths = [&*long, "/%0a%00", "/\"},{\"x\":\"", "/?\\\"'", "/\u{fc}\u{9b}2J"];
        for (number, hostile) in paths.into_iter().enumerate() {
            let mut conn = host.connect();
            let head =
                format!("GET {hostile} HTTP/1.1\r\nHost: t\r\nUser-Agent: \u{9b}\t\"\\\r\n\r\n");
            conn.send(head).unwrap();
            conn.read_head().ok();
            let lines = lines(&path, number + 1);
            let line = &lines[number];
            assert!(line.len() < 4096, "{}", line.len());
            assert!(line.chars().all(|letter| !letter.is_control()), "{line:?}");
            if is_json {
                parsed(line);
            }
        }
    }
}

/// The log goes to where the ready line stands too.
#[test]
fn lines_go_to_stdout_and_to_stderr_where_they_are_asked_to() {
    for place in ["stdout", "stderr"] {
        let host = Host::serve("hello_p2").args(["--access-log", place]).start();
        assert_eq!(host.get("/x").status(), 200);
        host.signal(Signal::TERM);
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        let out = if place == "stdout" { &exit.stdout } else { &exit.stderr };
        let line = out.lines().find(|line| line.starts_with('{')).expect("a line");
        assert_eq!(parsed(line)["url.path"], "/x");
        assert_eq!(exit.stdout.lines().filter(|line| line.starts_with("ready addr=")).count(), 1);
    }
}

/// `mv`, SIGUSR1 and a new file, while clients ask as fast as they can: each request has its line, in one of the
/// files.
#[test]
fn rotation_under_load_loses_no_line() {
    let folder = Folder::new();
    let path = folder.join("access.log");
    let host = Host::serve("hello_p2").args(["--access-log", text(&path)]).start();
    const REQUESTS: usize = 400;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut conn = host.connect();
                    for _ in 0..REQUESTS {
                        assert_eq!(conn.get("/").unwrap().status(), 200);
                    }
                })
            })
            .collect();
        let mut rotations = 0;
        while rotations < 3 || !clients.iter().all(thread::ScopedJoinHandle::is_finished) {
            rotations += 1;
            fs::rename(&path, folder.join(&format!("access.log.{rotations}"))).unwrap();
            host.signal(Signal::USR1);
            let until = Instant::now() + PATIENCE;
            while !path.exists() {
                assert!(Instant::now() < until, "it is not opened again");
                thread::yield_now();
            }
        }
    });
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
    let files = fs::read_dir(path.parent().unwrap()).unwrap();
    let files: Vec<_> =
        files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(files.len() > 3);
    let mut exchanges: Vec<_> = files
        .iter()
        .flat_map(|file| file.lines())
        .map(|line| parsed(line)["exchange"].as_u64().unwrap())
        .collect();
    exchanges.sort_unstable();
    exchanges.dedup();
    assert_eq!(exchanges.len(), 4 * REQUESTS);
}

#[test]
fn a_reader_that_does_not_read_holds_up_neither_requests_nor_the_stop() {
    let folder = Folder::new();
    let pipe = folder.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let mut reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let host = Host::serve("hello_p2").args(["--access-log", text(&pipe)]).start();
    let mut conn = host.connect();
    // A line has some 500 bytes, and the pipe room for 64 KiB.
    for _ in 0..1000 {
        assert_eq!(conn.get("/").unwrap().status(), 200);
    }
    drop(conn);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
    // What it took are whole lines.
    let mut taken = vec![0; 64 << 10];
    let length = reader.read(&mut taken).unwrap();
    let taken = std::str::from_utf8(&taken[..length]).unwrap();
    assert!(taken.ends_with('\n') && taken.lines().count() > 50, "{taken}");
    taken.lines().for_each(|line| drop(parsed(line)));
}

#[test]
fn a_full_disk_costs_lines_and_the_log_says_how_many() {
    let args = ["--access-log", "/dev/full"];
    let host = Host::serve("hello_p2").args(args).args(metrics::ARGS).start();
    for _ in 0..3 {
        assert_eq!(host.get("/").status(), 200);
    }
    let line = host.wait_log("access log: lines were dropped");
    assert!(line.contains("No space left on device"), "{line}");
    let dropped = |told: &Metrics| told.sum("host_log_lines_dropped_total", &[("log", "access")]);
    Metrics::wait(&host, |told| dropped(told) == 3.0);
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
    let told = exit.stderr.lines().filter_map(|line| line.split_once("dropped lines="));
    let told = told.map(|(_, rest)| rest.split(' ').next().unwrap().parse::<u64>().unwrap());
    assert_eq!(told.sum::<u64>(), 3);
}

/// `RLIMIT_FSIZE`: the kernel would end the process for one byte too many.
#[test]
fn a_file_that_may_not_grow_costs_lines_and_nothing_else() {
    let folder = Folder::new();
    let path = folder.join("access.log");
    let args = ["--access-log", text(&path), "--access-log-format", "combined"];
    let host = Host::serve("hello_p2").args(args).start();
    let pid = host.pid().to_string();
    let limited = Command::new("prlimit").args(["--fsize=1000", "--pid", &pid]).status();
    assert!(limited.unwrap().success());
    for _ in 0..100 {
        assert_eq!(host.get("/").status(), 200);
    }
    host.wait_log("access log: lines were dropped");
    assert_eq!(fs::metadata(&path).unwrap().len(), 1000);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

#[test]
fn folder_that_has_gone_changes_nothing_and_is_said() {
    let folder = Folder::new();
    fs::create_dir(folder.join("logs")).unwrap();
    let path = folder.join("logs/access.log");
    let host = Host::serve("hello_p2").args(["--access-log", text(&path)]).start();
    fs::rename(folder.join("logs"), folder.join("gone")).unwrap();
    host.signal(Signal::USR1);
    let line = host.wait_log("access log: cannot be opened again");
    assert!(line.contains("its folder is not there"), "{line}");
    assert_eq!(host.get("/").status(), 200);
    assert_eq!(lines(&folder.join("gone/access.log"), 1).len(), 1, "it goes on to the old file");
}

#[test]
fn log_that_cannot_be_opened_ends_the_start() {
    let exit =
        Host::serve("hello_p2").args(["--access-log", "/no/such/access.log"]).start_in_vain();
    exit.expect_code(3);
    exit.expect_last_line(
        "cannot write the access log /no/such/access.log: its folder is not there",
    );
    let site = Site::new(
        "[log]\naccess = \"none/access.log\"\n[component.a]\nsource = \"guest:hello_p2\"\n",
    );
    let exit = Host::run(["serve", site.text()]);
    exit.expect_code(2);
    assert!(exit.stderr.contains("none is not there"), "{}", exit.stderr);
}

/// The lines of the last requests are on their way when the process ends.
#[test]
fn all_lines_are_there_at_the_exit() {
    for _ in 0..5 {
        let folder = Folder::new();
        let path = folder.join("access.log");
        let host = Host::serve("hello_p2").args(["--access-log", text(&path)]).start();
        let mut conn = host.connect();
        for _ in 0..50 {
            conn.send(GET).unwrap();
            assert_eq!(conn.read_response("GET").unwrap().status(), 200);
        }
        host.signal(Signal::QUIT);
        host.wait_exit().expect_code(131);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 50);
    }
}

/// A writer that is woken for each line would cost a request more than its line does.
#[test]
fn the_writer_is_woken_at_most_once_in_20_ms() {
    let folder = Folder::new();
    let path = folder.join("access.log");
    let host = Host::serve("hello_p2").args(["--access-log", text(&path)]).start();
    let mut conn = host.connect();
    assert_eq!(conn.get("/").unwrap().status(), 200);
    lines(&path, 1);
    let (began, before) = (Instant::now(), turns_of(host.pid(), "access-log"));
    for _ in 0..3000 {
        assert_eq!(conn.get("/").unwrap().status(), 200);
    }
    let turns = turns_of(host.pid(), "access-log") - before;
    let most = began.elapsed().as_millis() / 20 + 10;
    assert!(u128::from(turns) <= most, "{turns} turns, at most {most}");
}

/// How often the thread of this name has waited for something.
fn turns_of(pid: u32, name: &str) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut paths = tasks.map(|task| task.unwrap().path());
    let is_it = |path: &std::path::PathBuf| {
        fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let thread = paths.find(is_it).expect("it has one");
    let status = fs::read_to_string(thread.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("the kernel counts them").trim().parse().unwrap()
}
