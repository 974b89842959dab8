//! Every limit on guests and exchanges holds, and says so on the wire.

use std::time::Instant;

use crate::support::prelude::*;
use crate::support::wire::{self, assert_broken};

/// Opens an exchange that holds an instance until the connection is told or closed.
#[track_caller]
fn hold(host: &Host) -> Conn {
    let mut conn = host.connect();
    conn.send(wire::chunked("/head")).unwrap();
    host.wait_log(says::GATE_STARTED);
    conn
}

#[test]
fn request_over_the_instances_waits_and_is_served_when_one_is_free() {
    for guest in ["gate_p2", "gate_p3"] {
        let args = ["--max-instances", "1", "--max-queue", "1", "--queue-timeout", "60s"];
        let host = Host::serve(guest).args(args).start();
        let mut held = hold(&host);
        // Of two, one finds the only place in the queue. The other is told at once.
        let mut h2 = H2::connect(host.addr());
        h2.get(1, "/head");
        h2.get(3, "/head");
        let (refused, status, retry) = h2.wait("a refusal", |frame| match frame {
            Frame::Headers { stream, status: Some(status), headers, .. } => {
                Some((*stream, *status, headers.iter().any(|(name, _)| name == "retry-after")))
            }
            _ => None,
        });
        assert_eq!((status, retry), (503, true));
        held.send(wire::LAST_CHUNK).unwrap();
        assert_eq!(held.read_response("POST").unwrap().text(), "done\n");
        assert_eq!(h2.expect_answer(4 - refused).body, b"done\n");
    }
}

#[test]
fn request_without_a_queue_is_told_at_once_to_come_again() {
    for guest in ["gate_p2", "gate_p3"] {
        let args = ["--max-instances", "1", "--max-queue", "0", "--queue-timeout", "60s"];
        let host = Host::serve(guest).args(args).start();
        let mut held = hold(&host);
        let mut conn = host.connect();
        let answer = conn.get("/head").unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (503, "too busy\n"));
        assert_eq!(answer.header("retry-after"), Some("1"));
        held.send(wire::LAST_CHUNK).unwrap();
        assert_eq!(held.read_response("POST").unwrap().status(), 200);
    }
}

#[test]
fn request_that_waited_too_long_is_told_to_come_again() {
    let args = ["--max-instances", "1", "--queue-timeout", "200ms"];
    let host = Host::serve("gate_p2").args(args).start();
    let held = hold(&host);
    let answer = host.get("/head");
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(held);
}

#[test]
fn memory_over_the_limit_is_refused_to_this_guest_only() {
    for guest in ["hungry_p2", "hungry_p3"] {
        let host = Host::serve(guest).args(["--max-memory", "32MiB"]).start();
        let text = host.get("/").text();
        let at = text.strip_prefix("refused at ").and_then(|rest| rest.strip_suffix(" MiB\n"));
        let at: u64 = at.unwrap_or_else(|| panic!("{text:?}")).parse().expect("a number");
        assert!((8..32).contains(&at), "refused at {at} MiB");
        assert_eq!(host.get("/abort").status(), 500);
        assert_eq!(host.get("/?mib=8").text(), "got 8 MiB\n");
    }
}

#[test]
fn answer_without_a_head_in_time_is_504() {
    for (guest, path) in [("sleep_p2", "/?ms=600000"), ("sleep_p3", "/?ms=600000")] {
        let host = Host::serve(guest).args(["--response-head-timeout", "300ms"]).start();
        let mut conn = host.connect();
        let answer = conn.get(path).unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (504, "took too long\n"));
        assert_eq!(conn.get("/?ms=0").unwrap().status(), 200, "the connection goes on");
        let mut h2 = H2::connect(host.addr());
        h2.get(1, path);
        assert_eq!(h2.expect_status(1), 504);
    }
}

/// It got a 504, as if the guest could do anything about it.
#[test]
fn client_that_stops_in_its_upload_is_too_slow_and_not_its_guest() {
    let limits = ["--response-head-timeout", "300ms", "--body-idle-timeout", "600ms"];
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).args(limits).start();
        let mut held = hold(&host);
        assert_eq!(held.read_response("POST").unwrap().status(), 408);
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/head", false);
        assert_eq!(h2.expect_status(1), 408);
    }
}

#[test]
fn stream_that_goes_on_slowly_outlives_the_idle_timeout() {
    for guest in ["drip_p2", "drip_p3"] {
        let host = Host::serve(guest).args(["--body-idle-timeout", "1s"]).start();
        let answer = host.get("/?n=15&ms=100");
        assert!(answer.text().ends_with("tick 15\n"), "{answer}");
    }
}

#[test]
fn upload_that_stops_before_the_head_is_408() {
    for guest in ["reader_p2", "reader_p3"] {
        let host = Host::serve(guest).args(["--body-idle-timeout", "300ms"]).start();
        for mut request in [wire::chunked("/count").into_bytes(), wire::sized("/count", 9).into()] {
            if request.windows(7).any(|seven| seven == b"chunked") {
                request.extend(wire::chunk("part"));
            } else {
                request.extend(b"part");
            }
            let mut conn = host.connect();
            conn.send(request).unwrap();
            let answer = conn.read_response("POST").unwrap();
            assert_eq!(answer.status(), 408, "{answer}");
            assert!(answer.head.says_close(), "{answer}");
            conn.expect_fin();
        }
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/count", false);
        assert_eq!(h2.expect_status(1), 408);
    }
}

#[test]
fn upload_that_stops_after_the_head_breaks_the_answer() {
    for guest in ["echo_p2", "echo_p3"] {
        let host = Host::serve(guest).args(["--body-idle-timeout", "300ms"]).start();
        let mut conn = host.connect();
        conn.send(wire::chunked("/")).unwrap();
        conn.send(wire::chunk("part")).unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!(conn.read_chunk().unwrap().as_deref(), Some(&b"part"[..]));
        assert_broken(conn.read_body(&head, "POST"));
    }
}

#[test]
fn exchange_over_its_time_before_the_head_is_504() {
    for guest in ["sleep_p2", "sleep_p3"] {
        let host = Host::serve(guest).args(["--exchange-timeout", "300ms"]).start();
        assert_eq!(host.get("/?ms=600000").status(), 504);
    }
}

#[test]
fn cpu_time_over_the_limit_before_the_head_is_504() {
    for guest in ["busy_p2", "busy_p3"] {
        let host = Host::serve(guest).args(["--cpu-time", "300ms"]).start();
        let mut conn = host.connect();
        let answer = conn.get("/").unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (504, "took too long\n"));
        assert_eq!(conn.get("/?ms=0").unwrap().text(), "spun\n", "the connection goes on");
    }
}

#[test]
fn time_spent_waiting_is_no_cpu_time() {
    for guest in ["sleep_p2", "sleep_p3"] {
        let host = Host::serve(guest).args(["--cpu-time", "400ms"]).start();
        assert_eq!(host.get("/?ms=900").text(), "slept\n");
    }
}

#[test]
fn declared_body_over_the_limit_is_refused_before_it_is_sent() {
    for guest in ["reader_p2", "reader_p3"] {
        let host = Host::serve(guest).args(["--max-request-body", "1KiB"]).start();
        let mut conn = host.connect();
        conn.send(wire::sized("/count", 8 << 20)).unwrap();
        let answer = conn.read_response("POST").unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (413, "request body too large\n"));
        assert!(answer.head.says_close(), "{answer}");
        let mut h2 = H2::connect(host.addr());
        let mut fields = crate::support::h2raw::fields("POST", "/count");
        fields.push(("content-length", "8388608"));
        h2.send_fields(1, &fields, false);
        assert_eq!(h2.expect_status(1), 413);
    }
}

#[test]
fn refusal_of_a_body_can_be_read_by_a_client_that_sends_it_all_first() {
    let host = Host::serve("reader_p2").args(["--max-request-body", "1KiB"]).start();
    for _ in 0..5 {
        let mut conn = host.connect();
        conn.send(wire::sized("/count", 8 << 20)).unwrap();
        conn.send(vec![b'x'; 8 << 20]).expect("the upload is read to its end, if not used");
        let answer = conn.read_response("POST").unwrap();
        assert_eq!(answer.status(), 413, "{answer}");
        conn.expect_fin();
    }
}

#[test]
fn chunked_body_over_the_limit_is_refused_where_it_passes_it() {
    for guest in ["reader_p2", "reader_p3"] {
        let host = Host::serve(guest).args(["--max-request-body", "1KiB"]).start();
        let mut conn = host.connect();
        conn.send(wire::chunked("/count")).unwrap();
        conn.send(wire::chunk([b'x'; 1024])).unwrap();
        conn.send(wire::chunk("x")).unwrap();
        let answer = conn.read_response("POST").unwrap();
        assert_eq!(answer.status(), 413, "{answer}");
        assert!(answer.head.says_close(), "{answer}");
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/count", false);
        h2.send_data(1, &[b'x'; 1025], false);
        assert_eq!(h2.expect_status(1), 413);
    }
}

#[test]
fn body_just_within_the_limit_is_served() {
    for guest in ["reader_p2", "reader_p3"] {
        let host = Host::serve(guest).args(["--max-request-body", "1KiB"]).start();
        let mut conn = host.connect();
        conn.send([wire::sized("/count", 1024).as_bytes(), &[b'x'; 1024]].concat()).unwrap();
        assert_eq!(conn.read_response("POST").unwrap().text(), "1024 bytes\n");
    }
}

#[test]
fn body_over_the_limit_after_the_head_breaks_the_answer() {
    for guest in ["echo_p2", "echo_p3"] {
        let host = Host::serve(guest).args(["--max-request-body", "1KiB"]).start();
        let mut conn = host.connect();
        conn.send(wire::chunked("/")).unwrap();
        conn.send(wire::chunk([b'x'; 1024])).unwrap();
        let head = conn.read_head().unwrap();
        assert_eq!(conn.read_chunk().unwrap().map(|chunk| chunk.len()), Some(1024));
        conn.send(wire::chunk("x")).unwrap();
        assert_broken(conn.read_body(&head, "POST"));
    }
}

#[test]
fn work_after_the_answer_has_a_limit_of_its_own() {
    for (guest, path) in [
        ("after_p2", "/forever"),
        ("after_p3", "/forever"),
        ("after_p2", "/spin"),
        ("after_p3", "/spin"),
    ] {
        let args = ["--after-timeout", "300ms", "--max-instances", "1", "--queue-timeout", "60s"];
        let host = Host::serve(guest).args(args).start();
        assert_eq!(host.get(path).text(), "answered\n", "{guest} {path}");
        host.wait_log("guest worked too long after its answer");
        assert_eq!(host.get("/").text(), "answered\n", "its instance is free again");
    }
}

#[test]
fn work_after_the_answer_has_its_cpu_time() {
    for guest in ["after_p2", "after_p3"] {
        let args = ["--cpu-time", "300ms", "--max-instances", "1", "--queue-timeout", "60s"];
        let host = Host::serve(guest).args(args).start();
        assert_eq!(host.get("/spin").text(), "answered\n");
        host.wait_log("guest failed after its answer");
        assert_eq!(host.get("/").text(), "answered\n", "its instance is free again");
    }
}

/// The log had a bound for each exchange and none in time: 67 MB/s from one component.
#[test]
fn log_of_a_guest_has_a_rate_and_says_how_much_was_left_out() {
    const LINE: u64 = 1000;
    const RATE: u64 = 16 << 10;
    for guest in ["chatty_p2", "chatty_p3"] {
        let host = Host::serve(guest).args(["--guest-log-rate", "16KiB/s"]).start();
        let began = Instant::now();
        for _ in 0..5 {
            assert_eq!(host.get("/?n=900&len=1000").text(), "done\n", "no guest waits for the log");
        }
        let told = host.wait_log("lines left out");
        let log = host.log();
        let printed = log.matches(&"x".repeat(1000)).count() as u64;
        let most = RATE + RATE * (began.elapsed().as_secs() + 1) + LINE;
        assert!((1..=most / LINE).contains(&printed), "{printed} lines, at most {most} bytes");
        assert!(told.contains("component=\"chatty_"), "{told}");
    }
}
