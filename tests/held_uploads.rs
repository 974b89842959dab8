//! An exchange ends with its answer, and its upload too, whatever a guest holds of it.
//!
//! `after` answers, works on, and never reads what it was sent. Its request's body went on to belong to
//! it: chunks that looked like a request were served as one (C1), the next request was lost in a stop that
//! said that nothing was (C2), and waiting for it took a whole core (C3).

use std::fs;

use crate::support::prelude::*;
use crate::support::stop::{expect_last, expect_served};

const AFTER: [&str; 2] = ["after_p2", "after_p3"];

/// Its guest works on for longer than a test waits.
const POST: &str = "POST /forever HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
const GET: &str = "GET /?ms=0 HTTP/1.1\r\nHost: t\r\n\r\n";

/// A chunk that would be a request, were it read as one.
fn decoy() -> String {
    let request = "GET /decoy HTTP/1.1\r\nHost: t\r\n\r\n";
    format!("{:x}\r\n{request}\r\n", request.len())
}

#[test]
fn request_behind_a_body_that_its_guest_holds_is_answered_at_once() {
    for guest in AFTER {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        conn.send(POST.to_owned() + &decoy()).unwrap();
        assert_eq!(expect_served(&mut conn).text(), "answered\n");
        conn.send(decoy() + &decoy() + "0\r\n\r\n" + GET).unwrap();
        assert_eq!(expect_served(&mut conn).text(), "answered\n");
        assert!(conn.is_quiet(), "two were asked, two are answered");
    }
}

/// 300 kB lay in the kernel, and the request behind them was never seen.
#[test]
fn request_behind_a_body_that_its_guest_holds_is_answered_in_a_stop() {
    for guest in AFTER {
        let host = Host::serve(guest).args(["--linger", "10s", "--after-timeout", "2s"]).start();
        let mut conn = host.connect();
        let size = 300_000;
        let head = format!("POST /forever HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n");
        conn.send(head).unwrap();
        assert_eq!(expect_served(&mut conn).text(), "answered\n");
        host.signal(Signal::TERM);
        host.wait_log(says::DRAINING);
        conn.send("x".repeat(size) + GET).unwrap();
        assert_eq!(expect_last(&mut conn).text(), "answered\n");
        drop(conn);
        host.wait_exit().expect_code(0);
    }
}

/// The guest works for longer than the connection is kept.
#[test]
fn chunks_of_a_held_body_are_no_request_when_the_connection_is_closed_for_idleness() {
    for guest in AFTER {
        let host = Host::serve(guest).args(["--keep-alive-timeout", "200ms"]).start();
        let mut conn = host.connect();
        conn.send(POST.to_owned() + &decoy() + &decoy() + "0\r\n\r\n").unwrap();
        assert_eq!(expect_served(&mut conn).text(), "answered\n");
        conn.expect_fin();
        assert!(!host.log().contains("decoy"));
    }
}

/// In ticks of a hundredth of a second: user and system time of a process.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// The bound of the wait is the guest's own; a loop would take nearly all of it.
#[test]
fn waiting_for_a_guest_that_holds_its_request_takes_no_core() {
    let host = Host::serve("after_p2").args(["--after-timeout", "1500ms"]).start();
    let mut conn = host.connect();
    conn.send(POST.to_owned() + &decoy() + "0\r\n\r\n").unwrap();
    assert_eq!(expect_served(&mut conn).text(), "answered\n");
    host.signal(Signal::TERM);
    host.wait_log(says::DRAINING);
    let before = cpu_ticks(host.pid());
    host.wait_log("guest worked too long after its answer");
    let used = cpu_ticks(host.pid()) - before;
    assert!(used < 75, "{used} hundredths of a second of CPU in 1.5 s of waiting");
    drop(conn);
    host.wait_exit().expect_code(0);
}
