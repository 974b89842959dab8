//! What idle connections hold of the host's memory: 10,000 of them are no reason to turn anybody away.

use std::fs;

use crate::support::memory::resident_kib;
use crate::support::prelude::*;

/// Below the descriptors that a process has by default.
const CONNECTIONS: u64 = 800;

/// The first ones bring what they share.
const FIRST: u64 = 64;

/// The resident memory of `host` that one more connection takes, in KiB. `open` makes one that has had an answer.
fn each_kib<C>(host: &Host, open: impl Fn(&Host) -> C) -> u64 {
    let first: Vec<C> = (0..FIRST).map(|_| open(host)).collect();
    let before = resident_kib(host);
    let idle: Vec<C> = (0..CONNECTIONS).map(|_| open(host)).collect();
    let grown = resident_kib(host) - before;
    drop((first, idle));
    println!("{} bytes each", grown * 1024 / CONNECTIONS);
    grown.div_ceil(CONNECTIONS)
}

fn http1(host: &Host) -> Conn {
    let mut conn = host.connect();
    assert_eq!(conn.get("/").unwrap().status(), 200);
    conn
}

fn http2(host: &Host) -> H2 {
    let mut h2 = H2::connect(host.addr());
    h2.get(1, "/");
    assert_eq!(h2.expect_status(1), 200);
    h2
}

fn tls(host: &Host) -> Conn {
    let mut conn = Conn::connect(Target::Tls(host.tls_addr())).expect("the host listens");
    assert_eq!(conn.get("/").unwrap().status(), 200);
    conn
}

/// 26 KiB over HTTP/1 and 45 over HTTP/2, of which 8 and 16 had never been written to: the heap was of huge pages.
#[test]
fn idle_connection_holds_no_memory_that_was_never_written_to() {
    let host = Host::serve("hello_p2").start();
    let kib = each_kib(&host, http1);
    assert!(kib <= 20, "{kib} KiB over HTTP/1");
    let host = Host::serve("hello_p2").start();
    // What was allocated before the host could say that it wants none.
    let before = huge_pages(&host);
    let kib = each_kib(&host, http2);
    assert!(kib <= 35, "{kib} KiB over HTTP/2");
    assert_eq!(huge_pages(&host), before);
}

/// What the kernel says of them.
fn huge_pages(host: &Host) -> String {
    let memory = fs::read_to_string(format!("/proc/{}/smaps_rollup", host.pid())).unwrap();
    memory.lines().find(|line| line.starts_with("AnonHugePages:")).unwrap().to_owned()
}

/// The session has buffers of its own, and gives them back.
#[test]
fn idle_connection_over_tls_holds_45_kib_at_most() {
    let host = Host::serve("hello_p2").tls().start();
    let kib = each_kib(&host, tls);
    assert!(kib <= 45, "{kib} KiB over TLS");
}
