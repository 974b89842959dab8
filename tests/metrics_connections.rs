//! What `/metrics` tells of connections, and of HTTP/2 requests that never reach the service.

use crate::support::access_log::{lines, parsed};
use crate::support::app::{Folder, text};
use crate::support::h2frame::{ENHANCE_YOUR_CALM, PROTOCOL_ERROR};
use crate::support::h2raw::fields;
use crate::support::hpack;
use crate::support::metrics::{self, Metrics};
use crate::support::prelude::*;

fn accepted(told: &Metrics, transport: &str) -> f64 {
    told.sum("host_connections_accepted_total", &[("network_transport", transport)])
}

fn identified(told: &Metrics, protocol: &str) -> f64 {
    told.sum("host_connections_identified_total", &[("network_protocol", protocol)])
}

#[test]
fn every_connection_is_counted_by_its_listener_and_its_protocol() {
    let host = Host::serve("hello_p2").args(metrics::ARGS).unix().start();
    // Kept open, so that some have ended and some have not.
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut conn = host.connect();
        assert_eq!(conn.get("/").unwrap().status(), 200);
        kept.push(conn);
    }
    let mut unix = Conn::connect(host.unix_path()).unwrap();
    assert_eq!(unix.get("/").unwrap().status(), 200);
    for _ in 0..4 {
        let mut h2 = H2::connect(host.addr());
        h2.get(1, "/");
        assert_eq!(h2.expect_status(1), 200);
    }
    let silent = host.connect();
    let told = Metrics::wait(&host, |told| {
        told.sum("host_connections_ended_total", &[]) == 4.0 && accepted(told, "tcp") == 8.0
    });
    assert_eq!((accepted(&told, "tcp"), accepted(&told, "unix")), (8.0, 1.0));
    assert_eq!((identified(&told, "http/1"), identified(&told, "http/2")), (4.0, 4.0));
    assert_eq!(told.sum("host_connections", &[]), 5.0, "three, the Unix socket's, a silent one");
    drop((kept, unix, silent));
    let told = Metrics::wait(&host, |told| told.sum("host_connections_ended_total", &[]) == 9.0);
    assert_eq!(accepted(&told, "tcp") + accepted(&told, "unix"), 9.0);
}

/// Opens a stream with a head of so many fields of 15,000 bytes. One frame holds 16 KiB: HEADERS without END_HEADERS, then
/// CONTINUATIONs.
fn send_long_head(h2: &mut H2, stream: u32, count: usize, end_stream: bool) {
    let value = "v".repeat(15_000);
    let names: Vec<String> = (0..count).map(|number| format!("x-{number}")).collect();
    let mut fields = fields("GET", "/");
    fields.extend(names.iter().map(|name| (name.as_str(), value.as_str())));
    let block = hpack::encode(&fields);
    let parts: Vec<&[u8]> = block.chunks(16_000).collect();
    for (at, part) in parts.iter().enumerate() {
        let last = if at + 1 == parts.len() { 4 } else { 0 };
        let (kind, flags) = if at == 0 { (1, u8::from(end_stream) | last) } else { (9, last) };
        h2.send_frame(kind, flags, stream, part);
    }
}

/// An HTTP/2 head above the limit was answered with 431, and was in no log and no count.
#[test]
fn h2_requests_add_up_to_what_their_clients_were_told() {
    let folder = Folder::new();
    let log = folder.join("access.log");
    let host =
        Host::serve("hello_p2").args(metrics::ARGS).args(["--access-log", text(&log)]).start();
    let (mut served, mut too_large, mut malformed) = (0_u16, 0_u16, 0_u16);
    for _ in 0..3 {
        let mut h2 = H2::connect(host.addr());
        for stream in [1, 7, 13] {
            h2.get(stream, "/");
            assert_eq!(h2.expect_status(stream), 200);
            let and_a_body = stream == 7;
            send_long_head(&mut h2, stream + 2, 3, !and_a_body);
            assert_eq!(h2.expect_status(stream + 2), 431);
            if and_a_body {
                // Behind the whole answer: nobody reads on.
                assert_eq!(h2.expect_rst(stream + 2), PROTOCOL_ERROR);
            }
            let mut fields = fields("GET", "/");
            fields.push(("connection", "close"));
            h2.send_fields(stream + 4, &fields, true);
            assert_eq!(h2.expect_rst(stream + 4), PROTOCOL_ERROR);
            (served, too_large, malformed) = (served + 1, too_large + 1, malformed + 1);
        }
    }
    let answered = f64::from(served + too_large);
    // A client has its reset before the host has counted it.
    let told = Metrics::wait(&host, |told| {
        told.sum("host_exchanges_total", &[]) == answered
            && told.sum("host_streams_reset_total", &[]) == f64::from(malformed)
    });
    assert_eq!(told.sum("host_requests_accepted_total", &[]), answered);
    assert_eq!(told.ended("finished"), f64::from(served));
    let refused = told.sum("host_refusals_total", &[("reason", "head-too-large")]);
    assert_eq!((refused, told.ended("refused")), (f64::from(too_large), f64::from(too_large)));
    let reset = |code| told.sum("host_streams_reset_total", &[("error_code", code)]);
    assert_eq!(reset("PROTOCOL_ERROR"), f64::from(malformed), "those that were no request");
    assert_eq!(told.sum("host_streams_reset_total", &[]), f64::from(malformed));
    let lines = lines(&log, usize::from(served + too_large));
    let of = |status: u16, end: &str| {
        let is = |line: &&String| {
            let line = parsed(line);
            line["http.response.status_code"] == status && line["end"] == end
        };
        lines.iter().filter(is).count()
    };
    assert_eq!((of(200, "finished"), of(431, "refused")), (served.into(), too_large.into()));
}

/// Above four times the limit h2 reads no further, and gives the connection up.
#[test]
fn h2_connection_that_is_given_up_is_counted_and_its_head_is_no_request() {
    let host = Host::serve("hello_p2").args(metrics::ARGS).start();
    let mut h2 = H2::connect(host.addr());
    h2.get(1, "/");
    assert_eq!(h2.expect_status(1), 200);
    send_long_head(&mut h2, 3, 10, true);
    assert_eq!(h2.expect_goaway(), (1, ENHANCE_YOUR_CALM));
    let told = Metrics::wait(&host, |told| told.sum("host_goaways_sent_total", &[]) == 1.0);
    let code = [("error_code", "ENHANCE_YOUR_CALM")];
    assert_eq!(told.sum("host_goaways_sent_total", &code), 1.0);
    assert_eq!(told.sum("host_requests_accepted_total", &[]), 1.0);
}
