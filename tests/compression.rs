//! Responses of a route that says `compress = true`.

use std::time::Instant;

use crate::support::access_log::{lines, parsed};
use crate::support::coded::{Decoder, decoded};
use crate::support::hpack;
use crate::support::prelude::*;
use crate::support::site::Site;

const SITE: &str = r#"
    [log]
    access = "access.log"
    [component.p2]
    source = "guest:told_p2"
    [component.p3]
    source = "guest:told_p3"
    [component.pass]
    source = "guest:pass_p2"
    [[route]]
    path = "/p2"
    component = "p2"
    compress = true
    [[route]]
    path = "/p3"
    component = "p3"
    compress = true
    [[route]]
    path = "/behind"
    chain = ["pass"]
    component = "p2"
    compress = true
    [[route]]
    path = "/secret"
    component = "p2"
    compress = true
    compress-credentials = true
    [[route]]
    path = "/plain"
    component = "p2"
"#;

const TEXT: &str = "set=content-type:text/plain";

fn text(bytes: usize) -> Vec<u8> {
    b"etaoin shrdlu\n".iter().copied().cycle().take(bytes).collect()
}

/// The response to `GET path` with these fields in the request, on a connection of its own.
#[track_caller]
fn get(host: &Host, path: &str, fields: &str) -> Response {
    ask(host, "GET", path, fields)
}

#[track_caller]
fn ask(host: &Host, method: &str, path: &str, fields: &str) -> Response {
    let mut conn = host.connect();
    conn.send(format!("{method} {path} HTTP/1.1\r\nHost: t\r\n{fields}\r\n")).unwrap();
    conn.read_response(method).unwrap()
}

#[track_caller]
fn expect_plain(response: &Response, bytes: usize) {
    assert_eq!(response.header("content-encoding"), None, "{response}");
    assert_eq!(response.body.bytes, text(bytes));
}

#[test]
fn response_comes_in_the_coding_that_its_client_wants_most() {
    let site = Site::new(SITE);
    let host = site.serve().start();
    for path in ["/p2", "/p3", "/behind"] {
        for (accepts, coding) in
            [("gzip, deflate, br, zstd", "zstd"), ("br, gzip", "br"), ("gzip", "gzip")]
        {
            // One that is here with its head, a large one that is, a stream of small pieces, one of large ones.
            for (n, bytes) in [(1, 1024), (1, 900_000), (40, 100), (5, 300_000)] {
                let query = format!("{path}?{TEXT}&n={n}&bytes={bytes}&declare=1");
                let response = get(&host, &query, &format!("Accept-Encoding: {accepts}\r\n"));
                assert_eq!(response.status(), 200);
                assert_eq!(response.header("content-encoding"), Some(coding), "{query}");
                assert_eq!(response.header("vary"), Some("accept-encoding"), "{query}");
                let read = decoded(coding, &response.body.bytes);
                let expected: Vec<u8> = (0..n).flat_map(|_| text(bytes)).collect();
                assert!(read == expected, "{query}: {} bytes", read.len());
                assert!(response.body.bytes.len() < n * bytes / 2, "{query}");
            }
        }
    }
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}

#[test]
fn what_would_gain_nothing_or_is_not_the_hosts_to_change_goes_as_it_is() {
    let site = Site::new(SITE);
    let host = site.serve().start();
    let accepts = "Accept-Encoding: gzip\r\n";
    for query in [
        "/plain?set=content-type:text/plain",
        "/p2?set=content-type:image/png",
        "/p2?set=x:y",
        "/p2?set=content-type:text/plain|content-encoding:identity",
        "/p2?set=content-type:text/plain|cache-control:no-transform",
        "/p2?set=content-type:text/plain|content-range:bytes-0&status=206",
    ] {
        let response = get(&host, &format!("{query}&bytes=2048&declare=1"), accepts);
        assert_eq!(response.body.bytes, text(2048), "{query}");
        assert_ne!(response.header("content-encoding"), Some("gzip"), "{query}");
        assert_eq!(response.header("content-length"), Some("2048"), "{query}");
        assert_eq!(response.header("vary"), None, "{query}");
    }
    let small = get(&host, &format!("/p2?{TEXT}&bytes=1023&declare=1"), accepts);
    expect_plain(&small, 1023);
    let status = get(&host, &format!("/p2?{TEXT}&status=204"), accepts);
    assert_eq!((status.status(), status.header("content-encoding")), (204, None));
}

/// A page that shows a secret beside what the request says can be guessed from its length when it is compressed.
#[test]
fn responses_with_secrets_are_compressed_only_where_the_operator_says_so() {
    let site = Site::new(SITE);
    let host = site.serve().start();
    let page = format!("{TEXT}&bytes=2048");
    for field in ["Cookie: session=1", "Authorization: Basic eDp5"] {
        let fields = format!("Accept-Encoding: gzip\r\n{field}\r\n");
        let response = get(&host, &format!("/p2?{page}"), &fields);
        expect_plain(&response, 2048);
        assert_eq!(
            response.header("vary"),
            Some("accept-encoding"),
            "another client gets it compressed"
        );
        let response = get(&host, &format!("/secret?{page}"), &fields);
        assert_eq!(response.header("content-encoding"), Some("gzip"), "{field}");
    }
    let sets = format!("{TEXT}|set-cookie:session=1&bytes=2048");
    let fields = "Accept-Encoding: gzip\r\n";
    expect_plain(&get(&host, &format!("/p2?{sets}"), fields), 2048);
    let response = get(&host, &format!("/secret?{sets}"), fields);
    assert_eq!(response.header("content-encoding"), Some("gzip"));
}

#[test]
fn caches_and_validators_are_told_the_truth() {
    let site = Site::new(SITE);
    let host = site.serve().start();
    let set =
        format!("{TEXT}|etag:'v1'|accept-ranges:bytes|content-digest:sha-256=:x:|vary:origin");
    let query = format!("/p2?{set}&bytes=2048&declare=1");
    let response = get(&host, &query, "Accept-Encoding: gzip\r\n");
    assert_eq!(response.header("etag"), Some("W/\"v1\""));
    assert_eq!((response.header("accept-ranges"), response.header("content-digest")), (None, None));
    let vary: Vec<_> = response.head.headers_named("vary").collect();
    assert_eq!(vary, ["origin", "accept-encoding"]);
    // The same page for a client that takes none: as the guest has made it, and a cache keeps both.
    let response = get(&host, &query, "");
    expect_plain(&response, 2048);
    assert_eq!(response.header("etag"), Some("\"v1\""));
    assert_eq!(response.header("accept-ranges"), Some("bytes"));
    assert_eq!(response.head.headers_named("vary").count(), 2);
    // HEAD says of the page what GET says, and how long it would be is not known.
    let head = ask(&host, "HEAD", &query, "Accept-Encoding: gzip\r\n");
    assert_eq!(head.header("content-encoding"), Some("gzip"));
    assert_eq!((head.header("etag"), head.header("content-length")), (Some("W/\"v1\""), None));
    let unchanged = get(&host, "/p2?status=304&set=etag:'v1'", "Accept-Encoding: gzip\r\n");
    assert_eq!((unchanged.status(), unchanged.header("vary")), (304, Some("accept-encoding")));
    // Its validator is the one that the page had for this client: a cache looks for it among what it holds.
    assert_eq!(unchanged.header("etag"), Some("W/\"v1\""));
    let unchanged = get(&host, "/p2?status=304&set=etag:'v1'", "");
    assert_eq!(unchanged.header("etag"), Some("\"v1\""));
    // What is no validator is not made one.
    let query = format!("/p2?{TEXT}|etag:v1&bytes=2048");
    let response = get(&host, &query, "Accept-Encoding: gzip\r\n");
    assert_eq!(
        (response.header("content-encoding"), response.header("etag")),
        (Some("gzip"), None)
    );
}

/// The operator's fields were put there last: with `vary = "origin"` a cache gave gzip to clients that take none.
#[test]
fn headers_that_the_operator_sets_are_heeded_and_do_not_undo_what_compression_says() {
    let site = Site::new(
        r#"
        [component.told]
        source = "guest:told_p2"
        [[route]]
        path = "/"
        component = "told"
        compress = true
        headers.response.set = { vary = "origin" }
        [[route]]
        path = "/as-it-is"
        component = "told"
        compress = true
        headers.response.set = { cache-control = "no-transform" }
    "#,
    );
    let host = site.serve().start();
    let page = format!("{TEXT}|vary:cookie&bytes=2048&declare=1");
    let response = get(&host, &format!("/?{page}"), "Accept-Encoding: gzip\r\n");
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    let vary: Vec<_> = response.head.headers_named("vary").collect();
    assert_eq!(vary, ["origin", "accept-encoding"]);
    let response = get(&host, &format!("/as-it-is?{page}"), "Accept-Encoding: gzip\r\n");
    expect_plain(&response, 2048);
    assert_eq!(response.header("vary"), Some("cookie"));
}

/// Whether the head on this stream says that the response is compressed. If not, it has to be a plain one in all.
#[track_caller]
fn is_compressed(h2: &mut H2, stream: u32) -> bool {
    let fields = h2.wait(&format!("head on stream {stream}"), |frame| match frame {
        Frame::Headers { stream: of, status: Some(200), headers, .. } if *of == stream => {
            Some(headers.clone())
        }
        _ => None,
    });
    let told = |name: &str| fields.iter().find(|(of, _)| of == name).map(|(_, value)| &**value);
    let coding = told("content-encoding");
    let etag = if coding.is_some() { "W/\"v1\"" } else { "\"v1\"" };
    assert_eq!((told("vary"), told("etag")), (Some("accept-encoding"), Some(etag)));
    coding.is_some()
}

/// Each response that was held open held a MiB of encoder, and a host in a cgroup of 256 MiB was killed by that.
#[test]
fn responses_for_whose_encoders_there_is_no_room_go_plain_and_none_is_refused() {
    let site = Site::new(SITE);
    let host = site.serve().start();
    let mut h2 = H2::connect(host.addr());
    let set = "set=content-type:text/event-stream|etag:'v1'";
    let asks = |h2: &mut H2, stream: u32, more: &str| {
        let path = format!("/p3?{set}&{more}");
        let mut fields = crate::support::h2raw::fields("GET", &path);
        fields.push(("accept-encoding", "br"));
        h2.send_fields(stream, &fields, true);
        is_compressed(h2, stream)
    };
    // However much memory is here: encoders have 64 MiB at most, and each of these takes 1.4.
    let mut streams = (1..).step_by(2);
    let held = streams.by_ref().take_while(|stream| asks(&mut h2, *stream, "bytes=20&hold=1"));
    let held = held.count();
    assert!((1..64).contains(&held), "{held} are compressed at once");
    // So it is for everybody.
    let query = format!("/p2?{TEXT}|etag:'v1'&bytes=2048");
    let plain = get(&host, &query, "Accept-Encoding: br\r\n");
    expect_plain(&plain, 2048);
    assert_eq!(
        (plain.header("vary"), plain.header("etag")),
        (Some("accept-encoding"), Some("\"v1\""))
    );
    // One that is over makes room for the next one.
    h2.send_rst(1, 8);
    let began = Instant::now();
    let mut streams = streams.take_while(|_| began.elapsed() < PATIENCE);
    assert!(
        streams.any(|stream| asks(&mut h2, stream, "bytes=2048")),
        "its place is taken for ever"
    );
}

/// A guest that has written and goes on later: its client has what was written, over either protocol.
#[test]
fn nothing_that_a_guest_has_written_waits_in_an_encoder() {
    let site = Site::new(SITE);
    let host = site.serve().start();
    for path in ["/p2", "/p3"] {
        let query = format!("{path}?set=content-type:text/event-stream&n=3&bytes=20&hold=1");
        for coding in ["gzip", "br", "zstd"] {
            let mut conn = host.connect();
            let fields = format!("Accept-Encoding: {coding}\r\n");
            conn.send(format!("GET {query} HTTP/1.1\r\nHost: t\r\n{fields}\r\n")).unwrap();
            assert_eq!(conn.read_head().unwrap().header("content-encoding"), Some(coding));
            let mut decoder = Decoder::new(coding);
            while decoder.text.len() < 60 {
                decoder.take(&conn.read_chunk().unwrap().expect("it goes on"));
            }
            assert_eq!(decoder.text, text(20).repeat(3));
        }
        let mut h2 = H2::connect(host.addr());
        let mut fields = crate::support::h2raw::fields("GET", &query);
        fields.push(("accept-encoding", "br"));
        h2.send_frame(1, 5, 1, &hpack::encode(&fields));
        assert_eq!(h2.expect_status(1), 200);
        let mut decoder = Decoder::new("br");
        while decoder.text.len() < 60 {
            decoder.take(&h2.expect_data(1).0);
        }
        assert_eq!(decoder.text, text(20).repeat(3));
    }
}

/// The log has what went over the wire, and a guest that fails breaks the message, compressed or not.
#[test]
fn bytes_are_counted_as_they_are_sent_and_a_stop_lets_them_end() {
    let site = Site::new(SITE);
    let host = site.serve().start();
    let mut conn = host.connect();
    let query = format!("/p2?{TEXT}&n=3&bytes=5000");
    conn.send(format!("GET {query} HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip\r\n\r\n")).unwrap();
    let response = conn.read_response("GET").unwrap();
    let line = parsed(&lines(&site.folder.join("access.log"), 1)[0]);
    assert_eq!(line["http.response.body.size"], response.body.bytes.len());
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}
