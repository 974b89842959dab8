//! What becomes of a request when a plugin of its chain fails: open, it goes on without it; closed,
//! it is answered 502 or 504. The table is that of docs/plugins.md.

use crate::support::chain::Chain;
use crate::support::prelude::*;
use crate::support::status::wait_all_instances_free;
use crate::support::stop::whole_log;
use crate::support::wire::{self, assert_broken};

pub const KINDS: [&str; 2] = ["p2", "p3"];
pub const FAILS: [&str; 2] = ["open", "closed"];

/// `plugin_bad` of this kind before `app`, with little time, but enough of it to do well beside others.
pub fn bad(kind: &str, fail: &str, app: &str) -> Chain {
    timed(kind, fail, app, ["1s", "2s"])
}

/// The same with so much time: of the processor, and by the clock.
pub fn timed(kind: &str, fail: &str, app: &str, [cpu, clock]: [&str; 2]) -> Chain {
    Chain::new(&[&format!("plugin_bad_{kind}")], app)
        .say("one", &format!("fail = {fail:?}"))
        .say("one", &format!("limits.cpu-time = {cpu:?}"))
        .say("one", &format!("limits.response-head-timeout = {clock:?}"))
}

/// A request in which the plugin is to fail so.
pub fn get(mode: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: t\r\nx-fail: {mode}\r\n\r\n")
}

/// The same with a body of five bytes, for a path.
pub fn post(path: &str, mode: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: t\r\nx-fail: {mode}\r\nContent-Length: 5\r\n\r\nhello")
}

/// The same whose body is still to come, in chunks.
fn upload(path: &str, mode: &str) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nHost: t\r\nx-fail: {mode}");
    format!("{head}\r\nTransfer-Encoding: chunked\r\n\r\n")
}

/// What a client gets for `request`: status and text.
#[track_caller]
pub fn ask(host: &Host, request: &str) -> (u16, String) {
    let mut conn = host.connect();
    conn.send(request).unwrap();
    let answer = conn.read_response("GET").unwrap_or_else(|why| panic!("{why}"));
    assert!(!answer.head.says_close(), "the connection may go on: {answer}");
    (answer.status(), answer.text())
}

/// Answers by the host, and by the applications that are used here.
pub fn answer(status: u16) -> (u16, String) {
    let text = match status {
        502 => "bad gateway\n",
        504 => "took too long\n",
        403 => "forbidden by the plugin\n",
        _ => "hello world\n",
    };
    (status, text.to_owned())
}

/// How the plugin fails before its own head is out, with what a client gets: open, and closed. Behind what it
/// has passed on, both get the same.
const BEFORE_ITS_HEAD: [(&str, u16, u16); 6] = [
    ("trap", 200, 502),
    ("spin", 200, 504),
    ("hang", 200, 504),
    ("early", 403, 403),
    ("after", 502, 502),
    ("half", 502, 502),
];

#[test]
fn a_request_without_a_body_goes_on_without_an_open_plugin_and_not_without_a_closed_one() {
    for kind in KINDS {
        for app in ["hello_p2", "hello_p3"] {
            for fail in FAILS {
                let host = bad(kind, fail, app).start();
                assert_eq!(ask(&host, &get("")), answer(200), "it can do well");
                for (mode, open, closed) in BEFORE_ITS_HEAD {
                    let due = if fail == "open" { open } else { closed };
                    let mark = host.mark();
                    assert_eq!(ask(&host, &get(mode)), answer(due), "{kind} {app} {fail} {mode}");
                    if due == 200 {
                        let line = host.wait_log_after(mark, says::PASSED_BY);
                        assert!(line.contains("plugin=\"one\""), "{line}");
                    }
                }
                let passed_by = if fail == "open" { 3 } else { 0 };
                assert_eq!(whole_log(host).matches(says::PASSED_BY).count(), passed_by);
            }
        }
    }
}

#[test]
fn a_request_body_that_no_plugin_has_read_reaches_the_application_whole() {
    for kind in KINDS {
        for app in ["echo_p2", "echo_p3"] {
            let (open, closed) = (bad(kind, "open", app).start(), bad(kind, "closed", app).start());
            for (mode, status) in [("trap", 502), ("spin", 504), ("hang", 504)] {
                let request = post("/", mode);
                assert_eq!(ask(&open, &request), (200, "hello".into()), "{kind} {app} {mode}");
                assert_eq!(ask(&closed, &request), answer(status), "{kind} {app} {mode}");
                // Begun before the plugin has failed, ended behind it.
                let mut conn = open.connect();
                conn.send(upload("/", mode)).unwrap();
                conn.send(wire::chunk("one")).unwrap();
                let head = conn.read_head().unwrap();
                assert_eq!(head.status, 200, "{kind} {app} {mode}");
                assert_eq!(conn.read_chunk().unwrap().as_deref(), Some(&b"one"[..]));
                conn.send([wire::chunk("two"), wire::LAST_CHUNK.into()].concat()).unwrap();
                assert_eq!(conn.read_body(&head, "POST").unwrap().text(), "two");
            }
        }
    }
}

/// A plugin that had made another request of the client's failed, and the client's was sent on: what it
/// asked for was done twice. Only the client knows whether it may be (RFC 9110 §9.2.2).
#[test]
fn what_an_open_plugin_may_have_had_done_is_not_done_again() {
    for kind in KINDS {
        let host = bad(kind, "open", "grants_p2")
            .say("app", "grants.keyvalue.bucket = \"main\"")
            .and("[keyvalue.main]\nbackend = \"memory\"")
            .start();
        let count = |key: &str, method: &str, value: u8, mode: &str| {
            let path = format!("/kv/incr?bucket=bucket&key={key}&value={value}");
            let request = format!("{method} {path} HTTP/1.1\r\nHost: t\r\nx-fail: {mode}\r\n\r\n");
            let mut conn = host.connect();
            conn.send(request).unwrap();
            let answer = conn.read_response(method).unwrap();
            (answer.status(), answer.text())
        };
        for method in ["GET", "POST", "PUT", "DELETE"] {
            assert_eq!(
                count(method, method, 1, "trap"),
                (200, "1\n".into()),
                "{kind}: not yet done"
            );
            assert_eq!(count(method, method, 1, "other"), answer(502), "{kind} {method}");
            assert_eq!(count(method, "GET", 0, ""), (200, "2\n".into()), "{kind} {method}: once");
        }
    }
}

#[test]
fn a_request_body_that_a_plugin_has_begun_to_read_is_gone_with_it() {
    for kind in KINDS {
        for fail in FAILS {
            let host = Chain::new(&[&format!("reader_{kind}")], "hello_p2")
                .say("one", &format!("fail = {fail:?}"))
                .say("one", "limits.response-head-timeout = \"500ms\"")
                .start();
            // It sleeps behind the first piece; the rest is there for it.
            let mut conn = host.connect();
            conn.send(wire::chunked("/slow?ms=600000")).unwrap();
            conn.send([wire::chunk("x"), wire::chunk("y"), wire::LAST_CHUNK.into()].concat())
                .unwrap();
            let head = conn.read_head().unwrap();
            assert_eq!(head.status, 504, "{kind} {fail}");
            drop(conn);
            assert!(!whole_log(host).contains(says::PASSED_BY), "{kind} {fail}");
        }
    }
}

/// What it has passed on may be done already. Whichever plugin fails, those behind it end with it.
#[test]
fn a_plugin_that_fails_behind_what_it_has_passed_on_takes_it_along_open_or_closed() {
    for kind in KINDS {
        for fail in FAILS {
            for app in ["reader_p2", "reader_p3"] {
                let host = bad(kind, fail, app).start();
                // The application answers once it has read all, so the plugin has moved all.
                for mode in ["after", "half"] {
                    let due = answer(502);
                    assert_eq!(
                        ask(&host, &post("/count", mode)),
                        due,
                        "{kind} {fail} {app} {mode}"
                    );
                }
                assert!(!whole_log(host).contains(says::PASSED_BY), "{kind} {fail} {app}");
            }
            // An answer that is no 200, one with a length, and one that has only begun.
            for (app, path) in
                [("trap_p3", "/"), ("odd_p2", "/length?say=3&give=3"), ("drip_p2", "/?n=5&ms=20")]
            {
                let host = bad(kind, fail, app).start_with_control();
                let request = get("after").replace("GET / ", &format!("GET {path} "));
                assert_eq!(ask(&host, &request), answer(502), "{kind} {fail} {app}");
                wait_all_instances_free(&host);
            }
        }
    }
}

/// Handed over, by a plugin of 0.3, or moved by the plugin itself.
#[test]
fn an_upload_that_a_plugin_has_passed_on_ends_with_the_plugin() {
    for kind in KINDS {
        for fail in FAILS {
            for app in ["gate_p2", "gate_p3"] {
                let host = bad(kind, fail, app).start_with_control();
                let mut conn = host.connect();
                conn.send(upload("/", "after")).unwrap();
                let head = conn.read_head().unwrap();
                assert_eq!(head.status, 502, "{kind} {fail} {app}");
                // Its last chunk never comes, and nothing waits for it.
                wait_all_instances_free(&host);
                assert!(!whole_log(host).contains(says::PASSED_BY), "{kind} {fail} {app}");
            }
        }
    }
}

#[test]
fn a_plugin_that_fails_behind_its_own_head_breaks_the_message_and_no_end_is_made_up() {
    for kind in KINDS {
        for fail in FAILS {
            let host = bad(kind, fail, "drip_p2").start_with_control();
            for (mode, path, first) in [
                ("late", "/", "the first half\n"),
                ("through", "/?n=100&ms=10", "tick 1\n"),
                ("through", "/?n=10&ms=10&bytes=7&declare=1", "xxxxxxx"),
            ] {
                let request = get(mode).replace("GET / ", &format!("GET {path} "));
                let mut conn = host.connect();
                conn.send(&request).unwrap();
                let head = conn.read_head().unwrap();
                assert_eq!(head.status, 200);
                assert_broken(conn.read_body(&head, "GET"));
                let mut conn = host.connect();
                conn.send(&request).unwrap();
                let (bytes, _) = conn.expect_reset_or_eof();
                let text = String::from_utf8(bytes).unwrap();
                assert!(text.contains(first), "{kind} {fail} {mode}: {text}");
                assert!(!text.ends_with("0\r\n\r\n"), "{kind} {fail} {mode}: {text}");
                let mut h2 = H2::connect(host.addr());
                let mut asked = crate::support::h2raw::fields("GET", path);
                asked.push(("x-fail", mode));
                h2.send_fields(1, &asked, true);
                h2.expect_rst(1);
            }
            host.wait_log(says::BROKEN_OFF);
            wait_all_instances_free(&host);
            assert!(!whole_log(host).contains(says::PASSED_BY), "{kind} {fail}");
        }
    }
}

#[test]
fn each_of_several_open_plugins_is_left_out_by_itself() {
    for kinds in [["p2", "p3"], ["p3", "p2"]] {
        let guests = kinds.map(|kind| format!("plugin_bad_{kind}"));
        let chain = Chain::new(&[&guests[0], "mark_p2", &guests[1]], "hello_p3");
        let say = |chain: Chain, name, fail: &str| {
            chain.say(name, &format!("fail = {fail:?}")).say(name, "limits.cpu-time = \"1s\"")
        };
        for mode in ["trap", "spin"] {
            let open = say(say(chain.clone(), "one", "open"), "three", "open").start();
            let mut conn = open.connect();
            conn.send(get(mode)).unwrap();
            let answer = conn.read_response("GET").unwrap();
            assert_eq!((answer.status(), answer.header("x-chain")), (200, Some("two")), "{mode}");
            open.wait_log_nth(says::PASSED_BY, 2);
            // The closed one fails for its client; the open one before it does not help.
            let mixed = say(say(chain.clone(), "one", "open"), "three", "closed").start();
            let status = if mode == "spin" { 504 } else { 502 };
            conn = mixed.connect();
            conn.send(get(mode)).unwrap();
            let answer = conn.read_response("GET").unwrap();
            assert_eq!(
                (answer.status(), answer.header("x-chain")),
                (status, Some("two")),
                "{mode}"
            );
        }
        // What they have passed on does not come back to the first one's client.
        let open = say(say(chain.clone(), "one", "open"), "three", "open").start();
        let mut conn = open.connect();
        conn.send(get("after")).unwrap();
        let answer = conn.read_response("GET").unwrap();
        assert_eq!((answer.status(), answer.header("x-chain")), (502, None));
    }
}

#[test]
fn a_plugin_that_returns_no_answer_is_502_closed_and_left_out_open() {
    for (guest, path) in
        [("silent_p2", "/"), ("silent_p2", "/error"), ("silent_p3", "/"), ("silent_p3", "/error")]
    {
        for (fail, due) in FAILS.into_iter().zip([200, 502]) {
            let host =
                Chain::new(&[guest], "hello_p2").say("one", &format!("fail = {fail:?}")).start();
            assert_eq!(ask(&host, &wire::get(path)), answer(due), "{guest} {path}");
        }
    }
}

/// The same guest, asked by itself, is a 500.
#[test]
fn a_plugin_whose_answer_is_refused_before_its_head_is_out_is_a_502() {
    for guest in ["hello_p2", "hello_p3"] {
        let host =
            Chain::new(&[guest], "hello_p2").say("one", "limits.response-body = \"4B\"").start();
        assert_eq!(ask(&host, &wire::get("/")), answer(502), "{guest}");
    }
}
