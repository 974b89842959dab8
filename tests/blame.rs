//! The blame for a request body that breaks, and what its client is told.

use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::wire;

const BAD_CHUNK: &str = "zz\r\nhello\r\n";

/// What stands in the log of guests that have failed.
fn blames_the_guest(log: &str) -> bool {
    log.contains("guest trapped") || log.contains("guest failed") || log.contains(" WARN ")
}

/// A guest that had set its response before it read a body that is no body got 500 for its client, and the
/// log said that it had trapped.
#[test]
fn malformed_upload_is_400_whatever_the_guest_made_of_it() {
    for guest in ["echo_p2", "echo_p3", "reader_p2", "reader_p3", "gate_p2", "gate_p3"] {
        let host = Host::serve(guest).start();
        for path in ["/", "/count", "/head"] {
            if guest.starts_with("reader") && path == "/" {
                continue;
            }
            let mut conn = host.connect();
            conn.send(wire::chunked(path) + BAD_CHUNK).unwrap();
            let answer = conn.read_response("POST").unwrap();
            assert_eq!(answer.status(), 400, "{guest} {path}: {answer}");
            assert!(answer.head.says_close(), "{guest} {path}: {answer}");
            assert!(answer.header("date").is_some(), "{guest} {path}: {answer}");
            conn.expect_fin();
        }
        let log = host.log();
        assert!(!blames_the_guest(&log), "{guest}: {log}");
    }
}

/// Behind the head the message breaks, and still the guest is not blamed.
#[test]
fn upload_that_breaks_behind_the_head_is_not_the_guests_fault() {
    for guest in ["echo_p2", "echo_p3", "gate_p2", "gate_p3"] {
        let host = Host::serve(guest).start();
        for rest in [BAD_CHUNK, "5\r\nhelloXX"] {
            let mut conn = host.connect();
            conn.send(wire::chunked("/")).unwrap();
            conn.send(wire::chunk("first")).unwrap();
            let head = conn.read_head().unwrap();
            conn.send(rest).unwrap();
            wire::assert_broken(conn.read_body(&head, "POST"));
        }
        let log = host.log();
        assert!(!blames_the_guest(&log), "{guest}: {log}");
    }
}

/// A connection that ends with an answer says so in it, be it a guest's or the host's.
#[test]
fn answer_after_which_the_connection_closes_says_so() {
    let site = Site::new(
        "[component.app]\nsource = \"guest:echo_p2\"\n[[route]]\npath = \"/app\"\ncomponent = \"app\"\n",
    );
    let host = site.serve().start();
    for (head, body) in [
        (wire::sized("/nowhere", 5), "hello".to_owned()),
        (wire::sized("/nowhere", 8 << 20), String::new()),
        (wire::chunked("/nowhere"), "5\r\nhello\r\n".to_owned()),
    ] {
        let mut conn = host.connect();
        conn.send(head + &body).unwrap();
        let answer = conn.read_response("POST").unwrap();
        assert_eq!(answer.status(), 404);
        if answer.head.says_close() {
            conn.expect_fin();
        } else {
            assert_eq!(conn.get("/app").unwrap().status(), 200, "it goes on");
        }
    }
}

/// The one that hyper never saw.
#[test]
fn answer_to_half_a_head_has_a_date() {
    let host = Host::serve("hello_p2").args(["--request-head-timeout", "200ms"]).start();
    let mut conn = host.connect();
    conn.send("GET / HTTP/1.1\r\nHost: ").unwrap();
    let answer = conn.read_response("GET").unwrap();
    assert_eq!(answer.status(), 408);
    assert!(answer.header("date").is_some_and(|date| date.ends_with(" GMT")), "{answer}");
    assert!(answer.head.says_close());
}

/// Clients that break their uploads put no component aside.
#[test]
fn breaker_does_not_count_what_clients_do() {
    for guest in ["gate_p2", "gate_p3"] {
        let site = Site::new(&format!(
            "[component.app]\nsource = \"guest:{guest}\"\n[component.app.breaker]\nfailures = 2\n"
        ));
        let host = site.serve().start();
        for path in ["/", "/head", "/first"] {
            for _ in 0..3 {
                let mut conn = host.connect();
                conn.send(wire::chunked(path) + BAD_CHUNK).unwrap();
                conn.read_to_end().unwrap();
            }
        }
        let mut conn = host.connect();
        conn.send(wire::chunked("/head") + wire::LAST_CHUNK).unwrap();
        assert_eq!(conn.read_response("POST").unwrap().status(), 200);
    }
}
