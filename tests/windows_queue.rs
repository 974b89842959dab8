//! What waits in the accept queue, or in the kernel, when the stop comes.

use std::process::Command;

use crate::support::prelude::*;
use crate::support::stop::{
    GET, Held, StopSummary, connections, expect_last, expect_served, freeze, stop, thaw_with,
    wait_accepted,
};
use crate::windows_door::{AS_WE_ARE, UNPRIVILEGED};

/// W2. The kernel has completed the handshakes and taken the requests; the host has accepted
/// none of them when it learns of the stop.
#[test]
fn connections_in_the_accept_queue_are_served_when_the_stop_comes() {
    for (serve, guest) in [(AS_WE_ARE, "hello_p2"), (UNPRIVILEGED, "hello_p3")] {
        let host = serve(guest).unix().start();
        freeze(&host);
        let mut queue: Vec<Conn> = (0..64).flat_map(|_| connections(&host)).collect();
        for conn in &mut queue {
            conn.send(GET).unwrap();
        }
        thaw_with(&host, Signal::TERM);
        for conn in &mut queue {
            expect_served(conn);
            conn.expect_fin();
        }
        host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
    }
}

/// W2, where nobody can have been accepted before the stop: the only place is taken.
#[test]
fn connections_kept_in_the_queue_by_the_connection_limit_are_served_when_the_stop_comes() {
    for (serve, guest) in [(UNPRIVILEGED, "gate_p2"), (AS_WE_ARE, "gate_p3")] {
        let host = serve(guest).unix().args(["--max-connections", "1"]).start();
        let held = Held::on(&host);
        let mut queue: Vec<Conn> = (0..64).flat_map(|_| connections(&host)).collect();
        for conn in &mut queue {
            conn.send(GET).unwrap();
        }
        stop(&host);
        for conn in &mut queue {
            assert_eq!(expect_last(conn).text(), "started\ndone\n");
        }
        drop(held.open());
        drop(queue);
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        assert_eq!(StopSummary::read(&exit).finished, 129);
    }
}

/// W2, over HTTP/2: preface and request wait in the queue.
#[test]
fn http2_connections_in_the_accept_queue_are_served_when_the_stop_comes() {
    let host = UNPRIVILEGED("hello_p2").unix().start();
    freeze(&host);
    let targets: Vec<Target> = (0..16).flat_map(|_| host.addrs()).cloned().collect();
    let mut queue: Vec<H2> = targets.into_iter().map(H2::connect).collect();
    for h2 in &mut queue {
        h2.get(1, "/");
    }
    thaw_with(&host, Signal::TERM);
    for h2 in &mut queue {
        assert_eq!(h2.expect_answer(1).body, b"hello world\n");
        h2.expect_fin();
    }
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

/// W5. Accepted, and its request lies in the kernel: nobody in the process knows of it yet.
#[test]
fn request_of_an_accepted_connection_that_is_still_in_the_kernel_is_served() {
    for (serve, guest) in [(AS_WE_ARE, "hello_p2"), (UNPRIVILEGED, "hello_p3")] {
        let host = serve(guest).everywhere().start();
        let mut fresh = connections(&host);
        wait_accepted(&host);
        freeze(&host);
        for conn in &mut fresh {
            conn.send(GET).unwrap();
        }
        thaw_with(&host, Signal::TERM);
        for conn in &mut fresh {
            expect_served(conn);
            conn.expect_fin();
        }
        host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
    }
}

/// EMFILE: accepting fails until some leave; those in the queue are served then. With a limit of 40 the host's own
/// descriptors left room for exactly ten, and for nine when it had one more open at the moment.
#[test]
fn host_without_file_descriptors_serves_again_when_some_close_and_stops_well() {
    let host = Host::serve("hello_p2").start();
    let pid = host.pid().to_string();
    // Beside its own and its reserve it has room for more than the ten that stay, and for far fewer than 80.
    let limited = Command::new("prlimit").args(["--nofile=64", "--pid", &pid]).status();
    assert!(limited.expect("util-linux is there").success());
    let mut crowd: Vec<Conn> = (0..80).map(|_| host.connect()).collect();
    host.wait_log(says::CANNOT_ACCEPT);
    let mut queued = crowd.split_off(70);
    drop(crowd);
    for conn in &mut queued {
        assert_eq!(conn.get("/").unwrap().status(), 200);
    }
    drop(queued);
    assert_eq!(host.get("/").status(), 200);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

/// EMFILE and W2 together: the queue is long just because none could be accepted.
#[test]
fn connections_kept_in_the_queue_by_a_lack_of_descriptors_are_served_when_the_stop_comes() {
    let host = Host::serve("hello_p2").unix().start();
    let pid = host.pid().to_string();
    let limited = Command::new("prlimit").args(["--nofile=40", "--pid", &pid]).status();
    assert!(limited.expect("util-linux is there").success());
    let mut crowd: Vec<Conn> = (0..40).flat_map(|_| connections(&host)).collect();
    for conn in &mut crowd {
        conn.send(GET).unwrap();
    }
    host.wait_log(says::CANNOT_ACCEPT);
    host.signal(Signal::TERM);
    // Those who were accepted are answered first, and leave: so there is room for the others.
    let mut lost = Vec::new();
    while !crowd.is_empty() {
        let (ready, waiting): (Vec<Conn>, Vec<Conn>) =
            crowd.into_iter().partition(|conn| conn.glance() != Glance::Quiet);
        crowd = waiting;
        for mut conn in ready {
            lost.extend(conn.read_response("GET").err());
        }
    }
    assert!(lost.is_empty(), "{} lost, the first: {}", lost.len(), lost[0]);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}
