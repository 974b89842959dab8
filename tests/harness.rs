//! The harness itself: a reader that forgives, or a load that overlooks a loss, proves nothing.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::hpack;
use crate::support::load::Load;
use crate::support::prelude::*;

/// Reads one answer to a GET out of `bytes`, after which the peer closes.
fn read(bytes: &str) -> Result<Response, Broken> {
    let (mut conn, mut peer) = Conn::pair().expect("a pair of sockets");
    peer.write_all(bytes.as_bytes()).expect("room for a few bytes");
    drop(peer);
    conn.read_response("GET")
}

#[test]
fn whole_answers_are_read_as_they_are_framed() {
    for (body, answer) in [
        ("hello", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        (
            "hello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        ),
        ("hello", "HTTP/1.1 200 OK\r\n\r\nhello"),
        ("", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
    ] {
        assert_eq!(read(answer).expect(answer).text(), body, "{answer:?}");
    }
}

#[test]
fn truncated_answers_are_errors() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n",
    ] {
        assert!(matches!(read(answer), Err(Broken::Fin(_))), "{answer:?}: {:?}", read(answer));
    }
}

#[test]
fn malformed_answers_are_errors() {
    for answer in [
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nname : value\r\n\r\n",
        "HTTP/1.1 200 OK\r\nfolded: one\r\n two\r\n\r\n",
        "HTTP/1.1 200 OK\r\nname: a\nb\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    ] {
        assert!(
            matches!(read(answer), Err(Broken::Malformed(_))),
            "{answer:?}: {:?}",
            read(answer)
        );
    }
}

#[test]
fn trailers_and_single_chunks_can_be_read() {
    let (mut conn, mut peer) = Conn::pair().expect("a pair of sockets");
    peer.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    conn.read_head().expect("a head");
    assert!(conn.is_quiet());
    peer.write_all(b"8;a=b\r\nstarted\n\r\n").unwrap();
    assert_eq!(conn.read_chunk().expect("a chunk").as_deref(), Some(&b"started\n"[..]));
    peer.write_all(b"0\r\nX-Sum: 1\r\n\r\n").unwrap();
    assert_eq!(conn.read_chunk().expect("the last chunk"), None);
    assert_eq!(conn.take_trailers(), [("X-Sum".to_owned(), "1".to_owned())]);
    drop(peer);
    conn.expect_fin();
}

#[test]
fn reset_is_told_from_an_end_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();

    let mut conn = Conn::connect(addr).unwrap();
    conn.send("unread").unwrap();
    let (peer, _) = listener.accept().unwrap();
    peer.peek(&mut [0]).expect("the bytes are there, so the close resets");
    drop(peer);
    assert_eq!(conn.expect_reset_or_eof(), (Vec::new(), Ended::Reset));

    let mut conn = Conn::connect(addr).unwrap();
    drop(listener.accept().unwrap());
    assert_eq!(conn.expect_reset_or_eof(), (Vec::new(), Ended::Fin));

    let conn = Conn::connect(addr).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    conn.reset();
    peer.read(&mut [0]).expect_err("a reset reaches the peer");
}

#[test]
fn header_blocks_of_the_rfc_are_read() {
    // RFC 7541, C.4.1, a request with Huffman coding; then `:status: 503` and a longer value.
    let block = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
    let fields = hpack::decode(block).expect("a block of the RFC");
    assert_eq!(fields[3], (":authority".to_owned(), "www.example.com".to_owned()));
    let long = "x".repeat(300);
    let fields = [(":status", "503"), ("retry-after", "1"), ("long", &long)];
    let read = hpack::decode(&hpack::encode(&fields)).expect("our own block");
    assert!(read.iter().map(|(n, v)| (&**n, &**v)).eq(fields), "{read:?}");
    hpack::decode(b"\xbe").expect_err("an index in the dynamic table");
}

/// Answers to the requests of one run, in one thread per connection.
struct Toy {
    addr: SocketAddr,
    closing: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    acceptor: thread::JoinHandle<()>,
}

impl Toy {
    /// Answers each request with `hello`; once stopped, the next one of each connection with
    /// `last`, behind which it closes.
    fn start(last: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (closing, stopping) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (close, stop) = (Arc::clone(&closing), Arc::clone(&stopping));
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if close.load(Ordering::SeqCst) {
                    return;
                }
                let stop = Arc::clone(&stop);
                thread::spawn(move || answer(stream.expect("a connection"), last, &stop));
            }
        });
        Self { addr, closing, stopping, acceptor }
    }

    fn stop(self) {
        self.closing.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.addr).expect("wakes the acceptor"));
        self.acceptor.join().expect("the acceptor ends");
        self.stopping.store(true, Ordering::SeqCst);
    }
}

fn answer(mut stream: TcpStream, last: &str, stopping: &AtomicBool) {
    let mut request = Vec::new();
    let mut bytes = [0; 1024];
    while let Ok(n) = stream.read(&mut bytes) {
        request.extend_from_slice(&bytes[..n]);
        if n == 0 || stopping.load(Ordering::SeqCst) {
            stream.write_all(last.as_bytes()).ok();
            stream.shutdown(Shutdown::Both).ok();
            return;
        }
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
            stream.write_all(whole).ok();
        }
    }
}

const TOY_CLIENTS: usize = 4;

fn drive_toy(last: &'static str) -> Ledger {
    let toy = Toy::start(last);
    Load::new(toy.addr, "/").drive(Mode::H1Kept, TOY_CLIENTS, || toy.stop()).0
}

#[test]
fn answers_that_say_close_and_then_refusal_are_no_loss() {
    let ledger =
        drive_toy("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
    ledger.assert_nothing_lost();
    assert_eq!((ledger.told, ledger.refused), (4, 4), "{ledger}");
}

#[test]
fn every_request_without_its_whole_right_answer_is_lost() {
    for last in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhallo",
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhellohello",
    ] {
        let ledger = drive_toy(last);
        assert_eq!(ledger.lost.len(), TOY_CLIENTS, "{last:?}: {ledger}");
    }
}

#[test]
fn a_listener_that_closes_with_a_full_queue_is_seen() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let load = Load::expecting(listener.local_addr().unwrap(), "/", "hello");
    // Nothing accepts: every client waits for its first answer when the listener is closed.
    let closer = thread::spawn(move || {
        let queued = || listener.accept().expect("a client has connected");
        let (mut first, _) = queued();
        first.read_exact(&mut [0]).expect("it has sent its request");
        drop(first);
        drop(listener);
    });
    let (ledger, ()) = load.drive(Mode::H1Fresh, TOY_CLIENTS, || ());
    closer.join().expect("the closer ends");
    assert_eq!(ledger.lost.len(), TOY_CLIENTS, "{ledger}");
}
