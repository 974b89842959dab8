//! A process that does not run for a while (SIGSTOP, `docker pause`) counts that while for no deadline.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::app::{App, expect_swapped, slower, version};
use crate::support::compiler::Compiler;
use crate::support::prelude::*;
use crate::support::wire;

/// Longer than all limits in this file, which are long enough for a busy machine.
const STOPPED: Duration = Duration::from_millis(3500);

/// The state in /proc: `T` for one that is stopped.
fn state(host: &Host) -> char {
    let stat = fs::read_to_string(format!("/proc/{}/stat", host.pid())).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.chars().next().unwrap()
}

/// Stops the processes, does something beside them, and lets them run again after [`STOPPED`].
fn stopped(hosts: &[&Host], meanwhile: impl FnOnce()) {
    for host in hosts {
        host.signal(Signal::STOP);
    }
    let end = Instant::now() + PATIENCE;
    while hosts.iter().any(|host| state(host) != 'T') {
        assert!(Instant::now() < end, "a process stops when it is told");
        thread::yield_now();
    }
    meanwhile();
    // The time that is to have passed by the clock on the wall.
    thread::sleep(STOPPED);
    for host in hosts {
        host.signal(Signal::CONT);
    }
}

/// Both at once: they are stopped for most of the time.
fn both<T: Copy + Send>(guests: [T; 2], test: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for one in guests {
            let test = &test;
            scope.spawn(move || test(one));
        }
    });
}

/// A client of HTTP/2 was told to leave, and asked once more before it knew that; the process did not run just
/// then. Its request was thrown away unread, and it had not been told that it may repeat it.
#[test]
fn request_that_came_before_the_last_goaway_is_served_though_the_process_was_stopped() {
    let host = Host::serve("sleep_p3").start();
    let mut h2 = H2::connect(host.addr());
    h2.ack_pings(false);
    h2.get(1, "/?ms=1");
    assert_eq!(h2.expect_answer(1).status, 200);
    host.signal(Signal::TERM);
    assert_eq!(h2.expect_goaway().0, 0x7fff_ffff);
    stopped(&[&host], || h2.get(3, "/?ms=1"));
    assert_eq!(h2.expect_answer(3).status, 200);
    assert_eq!(h2.expect_goaway().0, 3);
    h2.expect_fin();
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

/// The process was stopped for longer than its limits. The rest of an upload that came meanwhile got 408,
/// and so did a small body that is read ahead; a guest with half a second of sleep to go got 504; the
/// whole exchange had taken too long.
#[test]
fn what_came_or_was_due_while_the_process_was_stopped_is_in_time() {
    let p2 = ["echo_p2", "sleep_p2", "drip_p2"];
    both([p2, ["echo_p3", "sleep_p3", "drip_p3"]], |[echo, sleep, drip]| {
        let uploads = Host::serve(echo).args(["--body-idle-timeout", "3s"]).start();
        let heads = Host::serve(sleep).args(["--response-head-timeout", "3s"]).start();
        let exchanges = Host::serve(drip).args(["--exchange-timeout", "3s"]).start();
        let mut streamed = uploads.connect();
        streamed.send(wire::chunked("/")).unwrap();
        streamed.send(wire::chunk("first")).unwrap();
        let head = streamed.read_head().unwrap();
        assert_eq!(streamed.read_chunk().unwrap().unwrap(), b"first");
        let mut announced = uploads.connect();
        announced.send(wire::sized("/", 10) + "first").unwrap();
        let mut h2 = H2::connect(uploads.addr());
        h2.send_headers(1, "POST", "/", false);
        h2.send_data(1, b"first", false);
        assert_eq!(h2.expect_status(1), 200);
        assert_eq!(h2.expect_data(1).0, b"first");
        // A few steps to go: not everything that is due can be ready at once.
        let mut dripping = exchanges.connect();
        dripping.send(wire::get("/?n=4&ms=150")).unwrap();
        let drips = dripping.read_head().unwrap();
        assert_eq!(dripping.read_chunk().unwrap().unwrap(), b"tick 1\n");
        let mut sleeping = heads.connect();
        sleeping.send(wire::get("/?ms=500")).unwrap();
        stopped(&[&uploads, &heads, &exchanges], || {
            streamed.send([wire::chunk("second"), wire::LAST_CHUNK.into()].concat()).unwrap();
            announced.send("later").unwrap();
            h2.send_data(1, b"second", true);
        });
        assert_eq!(streamed.read_body(&head, "POST").unwrap().text(), "second", "{echo}");
        assert_eq!(announced.read_response("POST").unwrap().text(), "firstlater", "{echo}");
        assert_eq!(h2.expect_data(1).0, b"second", "{echo}");
        assert_eq!(sleeping.read_response("GET").unwrap().text(), "slept\n", "{sleep}");
        let rest = dripping.read_body(&drips, "GET").unwrap();
        assert_eq!(rest.text(), "tick 2\ntick 3\ntick 4\n", "{drip}");
    });
}

/// Time on the clock counted as CPU time: a guest that had computed for a moment was killed for `used more
/// than 1.4s of CPU time` when its process ran again.
#[test]
fn guest_has_not_computed_while_its_process_was_stopped() {
    both(["busy_p2", "busy_p3"], |guest| {
        let host = Host::serve(guest).args(["--cpu-time", "3s"]).start();
        // It computes until that has passed by the clock, most of which it is stopped.
        let mut conn = host.connect();
        conn.send(wire::get("/?ms=3700")).unwrap();
        host.wait_log(says::SPINNING);
        stopped(&[&host], || {});
        assert_eq!(conn.read_response("GET").unwrap().text(), "spun\n", "{guest}");
    });
}

/// A pause of the container, and the component "did not compile within" what was the pause's.
#[test]
fn compile_is_not_judged_for_time_in_which_nothing_ran() {
    let app = App::new("version_a_p2");
    let args = ["--no-cache", "--compile-timeout", "3s"];
    let host = app.serve().args(args).start();
    app.put_bytes(&slower("version_b_p2"));
    let asked = Instant::now();
    host.signal(Signal::HUP);
    let compiler = Compiler::stopped(host.pid());
    let mut ran = Duration::ZERO;
    stopped(&[&host], || ran = asked.elapsed());
    let goes_on = Instant::now();
    compiler.signal(Signal::CONT);
    let outcome = host.wait_log_nth(says::BY_HANGUP, 2);
    // A busy machine may have had no more time for it: then it has had all that it may have. The heart beats
    // every 50 ms.
    if outcome.contains(says::REJECTED) {
        ran += goes_on.elapsed();
        assert!(ran >= Duration::from_millis(2900), "judged after {ran:?}: {outcome}");
        return;
    }
    expect_swapped(&outcome);
    assert_eq!(version(&host.get("/")), "b");
}
