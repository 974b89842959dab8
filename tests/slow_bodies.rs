//! Request bodies that are slow to come take nothing of a component. (How slow is too slow is told on a
//! paused clock, in `http/prefetch.rs` and `http/pace.rs`.)

use std::thread;
use std::time::Instant;

use crate::support::h2raw::fields;
use crate::support::prelude::*;
use crate::support::status::{ctl_json, wait_in_flight, wait_in_use};
use crate::support::wire;

/// One instance, and no patience: a request that finds it taken gets 503 at once.
fn narrow(guest: &str) -> Serve {
    Host::serve(guest).args(["--max-instances", "1", "--max-queue", "0"]).control()
}

/// A request of which half of the body is there.
fn half(host: &Host) -> Conn {
    let mut conn = host.connect();
    conn.send(wire::sized("/", 10) + "01234").unwrap();
    conn
}

/// A thousand clients that had announced a body and sent a byte of it now and then held all instances
/// (`slowhttptest -B`): each good request got 503 for as long as they liked.
#[test]
fn announced_body_takes_no_instance_before_it_is_here() {
    for guest in ["echo_p2", "echo_p3"] {
        let host = narrow(guest).start();
        let mut slow: Vec<Conn> = (0..20).map(|_| half(&host)).collect();
        let mut h2 = H2::connect(host.addr());
        let head = [fields("POST", "/"), vec![("content-length", "10")]].concat();
        h2.send_fields(1, &head, false);
        h2.send_data(1, b"01234", false);
        wait_in_flight(&host, 21);
        let mut good = host.connect();
        for _ in 0..5 {
            good.send(wire::sized("/", 4) + "good").unwrap();
            let answer = good.read_response("POST").unwrap();
            assert_eq!((answer.status(), answer.text()), (200, "good".into()));
        }
        for conn in &mut slow {
            conn.send("56789").unwrap();
            let answer = conn.read_response("POST").unwrap();
            assert_eq!((answer.status(), answer.text()), (200, "0123456789".into()));
        }
        h2.send_data(1, b"56789", true);
        assert_eq!(h2.expect_answer(1).body, b"0123456789");
    }
}

/// Its client may send the next part when it has seen an answer to the one before.
#[test]
fn body_of_unknown_length_or_behind_expect_is_not_waited_for() {
    for guest in ["reader_p2", "reader_p3"] {
        let host = Host::serve(guest).start();
        let expects = wire::sized("/", 10).replace("Host", "Expect: 100-continue\r\nHost");
        for head in [wire::chunked("/"), expects, wire::sized("/", 65 << 10)] {
            let mut conn = host.connect();
            conn.send(&head).unwrap();
            assert_eq!(conn.read_response("POST").unwrap().text(), "ignored\n", "{head}");
        }
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/", false);
        assert_eq!(h2.expect_answer(1).body, b"ignored\n");
    }
}

/// The one who waits for it is the host, and a stop waits for the host.
#[test]
fn request_whose_body_is_on_its_way_is_served_in_a_stop() {
    let host = narrow("echo_p2").args(["--drain-timeout", "20s"]).start();
    let mut conn = half(&host);
    wait_in_flight(&host, 1);
    host.signal(Signal::TERM);
    host.wait_log(says::DRAINING);
    conn.send("56789").unwrap();
    let answer = conn.read_response("POST").unwrap();
    assert_eq!((answer.status(), answer.text()), (200, "0123456789".into()));
    conn.expect_fin();
    host.wait_exit().expect_code(0);
}

#[test]
fn request_whose_body_never_comes_is_cut_by_the_stop_and_named() {
    let host = narrow("echo_p2").args(["--drain-timeout", "200ms"]).start();
    let mut conn = half(&host);
    wait_in_flight(&host, 1);
    host.signal(Signal::TERM);
    let answer = conn.read_response("POST").unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.head.says_close());
    let exit = host.wait_exit();
    exit.expect_code(1);
    assert!(exit.stderr.contains("POST /"), "the survivor is named");
}

#[test]
fn client_that_goes_before_its_body_is_here_leaves_nothing() {
    let host = narrow("echo_p2").start();
    let (gone, half_closed) = (half(&host), half(&host));
    wait_in_flight(&host, 2);
    gone.reset();
    half_closed.half_close();
    wait_in_flight(&host, 0);
    wait_in_use(&host, 0);
}

/// The limit of pauses holds for a guest that waits for a body and for the host that reads ahead.
#[test]
fn announced_body_that_does_not_go_on_gets_408_and_takes_no_instance() {
    let host = narrow("echo_p2").args(["--body-idle-timeout", "300ms"]).start();
    let mut conn = half(&host);
    let answer = conn.read_response("POST").unwrap();
    assert_eq!(answer.status(), 408);
    assert!(answer.head.says_close());
    conn.expect_fin();
    let mut h2 = H2::connect(host.addr());
    h2.send_fields(1, &[fields("POST", "/"), vec![("content-length", "10")]].concat(), false);
    assert_eq!(h2.expect_answer(1).status, 408);
}

/// A client that holds the only instance: it sends nothing of a body that nobody can read ahead, or takes
/// nothing of an answer.
fn hold(host: &Host, how: &str) -> Box<dyn Send> {
    match how {
        "upload" => {
            let mut conn = host.connect();
            conn.send(wire::sized("/", 1 << 20)).unwrap();
            Box::new(conn)
        }
        "answer" => {
            let mut conn = host.connect();
            conn.send(wire::get("/?kib=16384")).unwrap();
            Box::new(conn)
        }
        _ => {
            let mut h2 = H2::connect_with_window(host.addr(), 0);
            h2.get(1, "/?kib=1024");
            assert_eq!(h2.expect_status(1), 200);
            Box::new(h2)
        }
    }
}

#[track_caller]
fn wait_connection(host: &Host, doing: &str) {
    let until = Instant::now() + PATIENCE;
    while !ctl_json(host, "connections").to_string().contains(&format!("\"{doing}\"")) {
        assert!(Instant::now() < until, "no connection is {doing}");
    }
}

/// Clients that are too slow are cut after their grace and a window of the rate. Until then they had all
/// instances, and who came got 503 (`slowhttptest -X`, and `-B` with bodies that are not read ahead). While
/// somebody waits they have their grace only, and who comes waits for that.
#[test]
fn who_waits_for_an_instance_gets_that_of_a_client_that_is_too_slow() {
    let cases = [("echo_p2", "upload"), ("big_p3", "answer"), ("big_p2", "stream")];
    thread::scope(|scope| {
        for (guest, how) in cases {
            scope.spawn(move || {
                let args = ["--max-instances", "1", "--queue-timeout", "1ms"];
                let host = Host::serve(guest).args(args).control().start();
                let held = hold(&host, how);
                wait_in_use(&host, 1);
                // What a client does not take is known once the kernel takes no more.
                if how == "answer" {
                    wait_connection(&host, "writing");
                }
                assert_eq!(host.connect().get("/").unwrap().status(), 200, "beside a slow {how}");
                drop(held);
            });
        }
    });
}
