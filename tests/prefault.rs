//! Guests with a large memory write to the pages that their requests will write to before they serve, so that the pool
//! keeps all of these.

use std::fs;

use crate::support::app::{App, component as wasm, text};
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::status::json;

/// Requests whose faults are counted together.
const REQUESTS: u64 = 100;

/// Page faults of one request at most, when the pages are known.
const FAULTS: u64 = 20;

/// The pages that were faulted in so far.
fn faults(host: &Host) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", host.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(7).unwrap().parse().unwrap()
}

/// Serves requests on one connection, which all get this answer, and counts the faults of the second half. Where the
/// kernel takes all pages back, there is nothing to test.
#[track_caller]
fn expect_few_faults(host: &Host, expected: &str) {
    if !host.log().contains("memory: reset by scan of dirty pages") {
        println!("pages are not reset by a scan on this machine: nothing tested");
        return;
    }
    let mut conn = host.connect();
    let mut serve = || {
        for _ in 0..REQUESTS {
            assert_eq!(conn.get("/").unwrap().text(), expected);
        }
    };
    serve();
    let before = faults(host);
    serve();
    let faults = faults(host) - before;
    println!("{faults} page faults in {REQUESTS} requests");
    assert!(faults <= FAULTS * REQUESTS, "{faults} page faults in {REQUESTS} requests");
}

/// Without it there are some 600 with each request: all behind the first 32 pages, each of which is a region.
#[test]
fn guest_that_writes_to_many_places_faults_none_of_them_in_again() {
    for guest in ["scatter_p2", "scatter_p3"] {
        let host = Host::serve(guest).args(["--threads", "1"]).start();
        expect_few_faults(&host, "changed: 0\nwritten: 200\n");
    }
}

/// Without it there are 35 with each request.
#[test]
fn javascript_faults_none_of_its_pages_in_again() {
    let built = guest("hello_p2").with_file_name("hello_js.wasm");
    if !built.exists() {
        println!("no {}: `make guests-js` makes it; nothing tested", built.display());
        return;
    }
    // A swap waits for a compile longer than the start of a test does. Beside others it takes minutes.
    let app = App::new("hello_p2");
    let args = ["--threads", "1", "--compile-timeout", "10m"];
    let host = app.serve().control().args(args).start();
    let swap = host.start_ctl(["--json", "swap", text(&built)]);
    while !swap.has_ended() {
        assert_eq!(host.get("/").status(), 200);
    }
    assert_eq!(json(&swap.wait_exit())["outcome"], "swapped", "{}", host.log());
    expect_few_faults(&host, "hello from js\n");
}

/// Requests of different secrets on four slots, so that each slot has served many others.
#[test]
fn large_instance_is_fresh_for_every_request() {
    for guest in ["scatter_p2", "scatter_p3"] {
        let args = ["--max-instances", "4", "--queue-timeout", "60s"];
        let host = Host::serve(guest).args(args).start();
        let mut h2 = H2::connect(host.addr());
        for i in 0..100 {
            h2.get(2 * i + 1, &format!("/?secret={}", "x".repeat(1 + i as usize)));
        }
        for i in 0..100 {
            let answer = String::from_utf8(h2.expect_answer(2 * i + 1).body).unwrap();
            assert_eq!(answer, "changed: 0\nwritten: 200\n", "{guest}");
        }
    }
}

/// The import is for the module that the compiler appends.
#[test]
fn component_that_imports_the_pages_itself_is_refused() {
    let site = Site::new("");
    let component = "(component \
         (import \"host:prefault/pages\" (instance $p (export \"next\" \
           (func (param \"memory\" (list u8)) (param \"size\" u32) (result u64))))) \
         (core module $m (memory (export \"m\") 64)) (core instance (instantiate $m)) (instance $i) \
         (export \"wasi:http/incoming-handler@0.2.0\" (instance $i)))";
    site.put_bytes("own.wasm", &wasm(component));
    let path = site.file("own.wasm");
    let exit = Host::run(["check", "--no-cache", text(path.as_ref())]);
    exit.expect_code(3).expect_last_line("host:prefault/pages");
}
