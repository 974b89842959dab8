//! The last answer of an HTTP/1 connection, and its close: neither may lose what the client has still to read.

use crate::support::prelude::*;
use crate::support::stop::{
    GET, connections, expect_clean_exit, expect_cut, expect_last, expect_served, stop,
    wait_accepted,
};
use crate::windows_h1::NO_LINGER;

/// W10. A close with unread input is a reset, and a reset erases what the client has not read.
#[test]
fn answer_to_an_upload_that_nobody_reads_is_readable_whole() {
    for guest in ["reader_p2", "reader_p3"] {
        let host = Host::serve(guest).everywhere().args(["--linger", "10s"]).start();
        let mut conns = connections(&host);
        wait_accepted(&host);
        stop(&host);
        for conn in &mut conns {
            let upload = vec![b'x'; 4 << 20];
            let head = format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", 4 << 20);
            conn.send(head).unwrap();
            conn.send(upload).expect("the rest is read and thrown away");
            assert_eq!(expect_last(conn).text(), "ignored\n");
        }
        drop(conns);
        expect_clean_exit(host);
    }
}

/// W10, for the answer of the cut: half an upload waits unread in the kernel.
#[test]
fn answer_503_to_an_upload_that_is_cut_is_readable_whole() {
    for guest in ["sleep_p2", "sleep_p3"] {
        let host = Host::serve(guest).everywhere().args(["--drain-timeout", "500ms"]).start();
        let mut conns = connections(&host);
        for conn in &mut conns {
            conn.send("POST /?ms=60000 HTTP/1.1\r\nHost: t\r\nContent-Length: 9999999\r\n\r\n")
                .unwrap();
            conn.send(vec![b'x'; 100 << 10]).unwrap();
        }
        wait_accepted(&host);
        host.signal(Signal::TERM);
        for conn in &mut conns {
            expect_cut(conn);
        }
        host.wait_exit().expect_code(1).expect_last_line(" 3 cut, ");
    }
}

/// W18. nc and some SDKs close their side once they have sent.
#[test]
fn client_that_half_closes_after_sending_is_answered_whole() {
    for guest in ["drip_p2", "drip_p3"] {
        let host = Host::serve(guest).everywhere().args(NO_LINGER).start();
        let mut conns = connections(&host);
        let mut heads = Vec::new();
        for conn in &mut conns {
            conn.send("GET /?n=20&ms=50 HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
            conn.half_close();
            heads.push(conn.read_head().unwrap());
        }
        stop(&host);
        for (conn, head) in conns.iter_mut().zip(heads) {
            let body = conn.read_body(&head, "GET").expect("the whole answer").text();
            assert!(body.ends_with("tick 20\n"), "{body}");
            conn.expect_fin();
        }
        assert_eq!(expect_clean_exit(host).finished, 3);
    }
}

/// W18, before the head of the answer.
#[test]
fn client_that_half_closes_before_its_answer_begins_is_answered_whole() {
    for guest in ["sleep_p2", "sleep_p3"] {
        let host = Host::serve(guest).everywhere().start();
        let mut conns = connections(&host);
        for conn in &mut conns {
            conn.send("GET /?ms=1000 HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
            conn.half_close();
        }
        wait_accepted(&host);
        host.signal(Signal::TERM);
        for conn in &mut conns {
            expect_served(conn);
            conn.expect_fin();
        }
        expect_clean_exit(host);
    }
}

/// A peer that is told to close and does not close its side is not waited for for ever.
#[test]
fn client_that_never_closes_its_side_does_not_hold_the_stop() {
    let args = ["--linger", "1h", "--drain-timeout", "1h"];
    let host = Host::serve("hello_p2").everywhere().args(args).start();
    let mut conns = connections(&host);
    wait_accepted(&host);
    stop(&host);
    for conn in &mut conns {
        conn.send(GET).unwrap();
        expect_last(conn);
    }
    let exit = host.wait_exit();
    exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
    drop(conns);
}

/// W10. What the kernel has taken of an answer outlives the process.
#[test]
fn answer_that_the_client_has_not_read_yet_is_readable_whole_after_the_host_has_gone() {
    for guest in ["hello_p2", "hello_p3"] {
        let host = Host::serve(guest).everywhere().args(["--linger", "10s"]).start();
        let mut conns = connections(&host);
        wait_accepted(&host);
        stop(&host);
        for conn in &mut conns {
            conn.send(GET).unwrap();
        }
        expect_clean_exit(host);
        for conn in &mut conns {
            assert_eq!(expect_last(conn).text(), "hello world\n");
        }
    }
}

/// W12 of HTTP/2 has its like here: more than the kernel holds is still to come.
#[test]
fn long_answer_to_a_client_that_reads_late_is_readable_whole() {
    for guest in ["big_p2", "big_p3"] {
        let host = Host::serve(guest).everywhere().args(NO_LINGER).start();
        let mut conns = connections(&host);
        let mut heads = Vec::new();
        for conn in &mut conns {
            conn.send("GET /?kib=16384 HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
            heads.push(conn.read_head().unwrap());
        }
        stop(&host);
        for (conn, head) in conns.iter_mut().zip(heads) {
            let body = conn.read_body(&head, "GET").expect("the whole answer");
            assert_eq!(body.bytes.len(), 16 << 20);
            conn.expect_fin();
        }
        drop(conns);
        assert_eq!(expect_clean_exit(host).finished, 3);
    }
}
