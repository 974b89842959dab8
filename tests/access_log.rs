//! The access log: one line for each exchange that has ended, and for each request that the host itself answered.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::access_log::{lines, parsed};
use crate::support::app::{Folder, text};
use crate::support::h2raw;
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::stop::Held;
use crate::support::wire;

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
    [[route]]
    path = "/marked/trap"
    component = "trap"
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
    assert_eq!(line.get("component_end"), None, "{line}");
    // The plugin answers well with what the host says of the trap: the line said nothing of it.
    let (status, line) = watched.ask(&wire::get("/marked/trap"));
    assert_eq!((status, &line["end"]), (500, &json!("finished")), "{line}");
    assert_eq!(line["component_end"], "guest-trapped", "{line}");
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
    let refused = conn.read_response("GET").unwrap();
    let size = refused.text().len();
    assert!(lines(&path, 2)[1].ends_with(&format!("\"-\" 400 {size} \"-\" \"-\"")), "{refused}");
    // No path, but an authority (RFC 9112 §3.2.3): a field was missing in the line.
    let mut conn = host.connect();
    conn.send("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n").unwrap();
    assert_eq!(conn.read_response("GET").unwrap().status(), 405);
    let line = lines(&path, 3).remove(2);
    assert!(line.contains("\"CONNECT a.example:443 HTTP/1.1\" 405 "), "{line}");
}

/// hyper takes no frame behind trailers, and so an answer that ended with some was one whose client had gone; and what
/// the guest had to do after it was given up.
#[test]
fn answers_that_end_with_trailers_are_finished() {
    for guest in ["trailers_p2", "trailers_p3"] {
        let site = Site::new(&format!(
            "[log]\naccess = \"access.log\"\n[component.pass]\nsource = \"guest:pass_p3\"\n\
             [component.app]\nsource = \"guest:{guest}\"\n\
             [[route]]\npath = \"/\"\ncomponent = \"app\"\n\
             [[route]]\npath = \"/behind\"\ncomponent = \"app\"\nchain = [\"pass\"]\n"
        ));
        let path = site.file("access.log");
        let host = site.serve().start();
        let te = |path| format!("GET {path} HTTP/1.1\r\nHost: t\r\nTE: trailers\r\n\r\n");
        let (plain, with, behind) = (wire::get("/"), te("/"), te("/behind"));
        for (number, request) in [plain, with, behind].iter().enumerate() {
            let mut conn = host.connect();
            conn.send(request).unwrap();
            assert_eq!(conn.read_response("GET").unwrap().text(), "with trailers\n");
            let line = parsed(&lines(Path::new(&path), number + 1)[number]);
            assert_eq!(line["end"], "finished", "{guest}: {line}");
            assert_eq!(line["plugins"][0]["end"].as_str().unwrap_or("finished"), "finished");
        }
        let mut h2 = H2::connect(host.addr());
        h2.get(1, "/");
        assert_eq!(h2.expect_answer(1).status, 200);
        let line = parsed(&lines(Path::new(&path), 4)[3]);
        assert_eq!(line["end"], "finished", "{guest}: {line}");
    }
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

/// h2 answers these by itself: they stood in no line, and were counted nowhere.
#[test]
fn heads_that_are_too_large_for_http_2_leave_a_line() {
    let mut watched = Watched::start();
    let mut h2 = H2::connect(watched.host.addr());
    // Each counts for 33 bytes (RFC 9113 §6.5.2).
    let fields_of_66_kb = [("x", ""); 2000];
    let fields_of_a_request = h2raw::fields("GET", "/app");
    h2.send_fields(1, &[&*fields_of_a_request, &fields_of_66_kb].concat(), true);
    assert_eq!(h2.expect_status(1), 431);
    let line = watched.next();
    assert_eq!(
        fields(&line, &["http.response.status_code", "end", "reason"]),
        [json!(431), json!("refused"), json!("head-too-large")]
    );
    h2.get(3, "/app");
    assert_eq!(h2.expect_answer(3).status, 200);
    assert_eq!(watched.next()["end"], "finished");
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
