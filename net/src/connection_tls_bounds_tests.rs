//! What TLS may not change: bytes that wait, answers that break, floods, and who gets a place.

use std::convert::Infallible;
use std::future::{Ready, ready as now};
use std::io;

use futures_util::stream;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Full, StreamBody};

use super::*;
use crate::TlsPeer;

/// Notes who comes, and answers so many bytes, or breaks the answer off behind them.
#[derive(Clone, Default)]
struct Bulk {
    bytes: usize,
    breaks: bool,
    peers: Arc<Mutex<Vec<Arc<TlsPeer>>>>,
}

impl Service for Bulk {
    type Body = UnsyncBoxBody<Bytes, io::Error>;

    fn connected(&self, peer: &crate::Peer) -> Self {
        self.peers.lock().unwrap().extend(peer.tls.clone());
        self.clone()
    }

    fn answered_by_hyper(&self, _status: StatusCode) {}

    fn call(
        self: &Arc<Self>,
        _request: Request<RequestBody>,
        _arrived: Instant,
    ) -> impl Future<Output = Response<Self::Body>> + Send + 'static {
        let bytes = Bytes::from(vec![b'x'; self.bytes]);
        let answer: Ready<_> = now(Response::new(if self.breaks {
            let frames = [Ok(Frame::data(bytes)), Err(io::ErrorKind::Other.into())];
            UnsyncBoxBody::new(StreamBody::new(stream::iter(frames)))
        } else {
            UnsyncBoxBody::new(Full::new(bytes).map_err(|never: Infallible| match never {}))
        }));
        answer
    }

    fn refusal(&self, why: Refusal) -> Bytes {
        Ok200.refusal(why)
    }
}

/// A peer of this service, over TLS 1.3.
async fn shaken_with(service: impl Service, phase: PhaseWatch) -> Raw {
    let (stream, served, tracker) = accepted(true, service, phase);
    let records = Records::new(testing::client_config(VERSIONS[0], &["http/1.1"]));
    let mut peer = Raw { stream, records, served, began: Instant::now(), tracker };
    let flight = peer.last_flight().await;
    peer.send(&flight).await;
    peer
}

const LAST_GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Whatever its length, and so wherever the kernel stopped taking it.
#[tokio::test(start_paused = true)]
async fn an_answer_whose_end_waits_in_the_session_comes_whole_to_a_peer_that_reads_late() {
    for kib in (150..400).step_by(7) {
        let (_set, phase) = ready();
        let bytes = kib * 1024;
        let mut peer = shaken_with(Bulk { bytes, ..Bulk::default() }, phase).await;
        let get = peer.records.seal(LAST_GET.as_bytes());
        peer.send(&get).await;
        tokio::time::sleep(LIMITS.stall - Duration::from_secs(1)).await;
        let (answer, closed) = peer.rest().await;
        assert!(closed, "{kib}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body.len(), bytes);
        assert_eq!(peer.gone().await.counts().cut, 0);
    }
}

/// What the session holds counts as owed: the connection is neither idle nor waited for without a bound.
#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_given_up_after_the_stall_and_not_told_that_all_is_whole() {
    for drains in [false, true] {
        let (set, phase) = ready();
        let mut peer = shaken_with(Bulk { bytes: 1 << 20, ..Bulk::default() }, phase).await;
        let get = peer.records.seal(GET.as_bytes());
        peer.send(&get).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if drains {
            set(Phase::Draining);
        }
        (&mut peer.served).await.unwrap();
        let took = peer.began.elapsed();
        assert!(took >= LIMITS.stall && took < LIMITS.stall + Duration::from_secs(2), "{took:?}");
        assert!(!peer.rest().await.1);
        assert_eq!(peer.tracker.counts().cut, 1);
    }
}

/// A `close_notify` would say that the answer is whole (RFC 8446 §6.1).
#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_has_no_close_notify_behind_it() {
    for version in ["1.0", "1.1"] {
        for bytes in [10, 1 << 20] {
            let (_set, phase) = ready();
            let service = Bulk { bytes, breaks: true, ..Bulk::default() };
            let mut peer = shaken_with(service, phase).await;
            let get = format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n");
            let get = peer.records.seal(get.as_bytes());
            peer.send(&get).await;
            let (answer, closed) = peer.rest().await;
            assert!(!closed, "{version} {bytes}");
            assert!(!answer.ends_with("0\r\n\r\n"));
            // What hyper had not written before it broke off is gone with it.
            assert_eq!(answer.contains("200 OK"), bytes > 10);
            peer.gone().await;
        }
    }
}

/// Head and body of a small answer are one record, those of a large one as few as may be.
#[tokio::test(start_paused = true)]
async fn answers_are_made_of_few_records() {
    for (bytes, most) in [(10, 1), (15_000, 1), (1 << 20, (1 << 20) / 16_384 + 3)] {
        let (_set, phase) = ready();
        let mut peer = shaken_with(Bulk { bytes, ..Bulk::default() }, phase).await;
        let mut tickets = [0; 8192];
        let read = peer.stream.read(&mut tickets).await.unwrap();
        peer.records.open(&tickets[..read]);
        let get = peer.records.seal(LAST_GET.as_bytes());
        peer.send(&get).await;
        let mut wire = Vec::new();
        peer.stream.read_to_end(&mut wire).await.unwrap();
        let (mut records, mut rest) = (0, &wire[..]);
        while let [_, _, _, high, low, ..] = *rest {
            rest = &rest[5 + usize::from(u16::from_be_bytes([high, low]))..];
            records += 1;
        }
        assert!(records <= most + 1, "{records} for {bytes} bytes, with the close_notify");
        peer.gone().await;
    }
}

/// rustls bounds them: 32 without a byte of data between them.
#[tokio::test(start_paused = true)]
async fn a_flood_of_key_updates_ends_the_connection() {
    for (updates, ends) in [(30, false), (40, true)] {
        let (_set, phase) = ready();
        let mut peer = shaken(phase).await;
        let flood: Vec<u8> = (0..updates).flat_map(|_| peer.records.key_update()).collect();
        peer.send(&flood).await;
        let mut said = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(1), peer.stream.read_to_end(&mut said));
        assert_eq!(read.await.is_ok(), ends, "{updates}");
        peer.gone().await;
    }
}

/// What is allowed once or twice in a handshake (RFC 8446 §D.4), or not at all.
#[tokio::test(start_paused = true)]
async fn a_flood_of_empty_messages_ends_the_handshake() {
    let change_cipher_spec = [20, 3, 3, 0, 1, 1].repeat(10);
    for flood in [change_cipher_spec, vec![22, 3, 1, 0, 0]] {
        let (_set, phase) = ready();
        let mut peer = raw(VERSIONS[0], &[], phase);
        let hello = peer.records.outgoing();
        peer.send(&[hello, flood].concat()).await;
        peer.stream.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(peer.began.elapsed(), Duration::ZERO);
        peer.gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_record_of_the_session_ends_the_connection_with_an_alert() {
    for garbage in
        [&[23, 3, 3, 0, 20, 0][..], &[23, 3, 3, 0xff, 0xff, 1], b"GET / HTTP/1.1\r\n\r\n"]
    {
        let (_set, phase) = ready();
        let mut peer = shaken(phase).await;
        peer.send(garbage).await;
        peer.send(&[0; 19]).await;
        let mut said = Vec::new();
        peer.stream.read_to_end(&mut said).await.ok();
        assert_eq!(peer.began.elapsed(), Duration::ZERO);
        // Tickets, and behind them a record as long as that of an alert: 2 bytes, 1 of the type, 16 of the tag.
        assert!(said.windows(5).any(|header| header == [23, 3, 3, 0, 19]), "no alert");
        peer.gone().await;
    }
}

/// A ticket saves a handshake; early data could be replayed, and is not taken (RFC 8446 §8).
#[tokio::test(start_paused = true)]
async fn a_session_is_resumed_by_its_ticket_and_without_early_data() {
    for versions in VERSIONS {
        let mut config = testing::client_config(versions, &["http/1.1"]);
        config.enable_early_data = true;
        let service = Bulk { bytes: 2, ..Bulk::default() };
        for _ in 0..2 {
            let (_set, phase) = ready();
            let (stream, served, _) = accepted(true, service.clone(), phase);
            let mut stream = testing::connect(stream, config.clone()).await;
            stream.write_all(LAST_GET.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
            assert!(!stream.get_ref().1.is_early_data_accepted());
            drop(stream);
            served.await.unwrap();
        }
        let peers = service.peers.lock().unwrap();
        let resumed: Vec<_> = peers.iter().map(|peer| peer.resumed).collect();
        assert_eq!(resumed, [false, true]);
        let [_, peer] = &peers[..] else { panic!("two have come") };
        assert_eq!(peer.alpn.as_deref(), Some("http/1.1"));
        assert_eq!(peer.server_name.as_deref(), Some("localhost"));
        assert!(peer.version.starts_with("TLSv1.") && peer.cipher_suite.starts_with("TLS"));
        assert!(peer.certificates.is_empty());
    }
}

/// Each of `limit` connections of one room, with its tracker.
fn in_room(limit: usize) -> impl Fn(&PhaseWatch) -> (UnixStream, JoinHandle<()>) {
    let tracker = Tracker::awaited();
    let room = Room::new(limit, tracker.clone());
    move |phase| {
        let (stream, ours) = UnixStream::pair().unwrap();
        let entry = ConnectionEntry::new(None, "test".into());
        let guard = tracker.guard(entry.clone());
        let context = context(phase.clone(), &tracker, &room);
        let socket = (Socket::Unix(ours), None, Some(testing::configs()));
        let serving = serve(socket, context, Ok200, room.turn_now(), entry, guard);
        (stream, tokio::spawn(serving))
    }
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_room_is_told_503_over_tls_and_the_rest_of_a_crowd_is_closed() {
    let (_set, phase) = ready();
    let connect = in_room(0);
    let (stream, served) = connect(&phase);
    let mut told = testing::connect(stream, testing::client_config(VERSIONS[0], &[])).await;
    let mut answer = String::new();
    told.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "HTTP/1.1 503 x\r\n\r\n");
    drop(told);
    served.await.unwrap();
    // None of them says anything.
    let crowd: Vec<_> = (0..100).map(|_| connect(&phase)).collect();
    let began = Instant::now();
    for (stream, served) in crowd {
        served.await.unwrap();
        drop(stream);
    }
    assert!(began.elapsed() <= Duration::from_secs(4), "{:?}", began.elapsed());
}

/// 2,000 half-open handshakes are in nobody's way.
#[tokio::test(start_paused = true)]
async fn half_open_handshakes_make_room_for_who_comes() {
    let (_set, phase) = ready();
    let connect = in_room(2_000);
    let mut half_open = Vec::new();
    for number in 0..2_000 {
        let (mut stream, served) = connect(&phase);
        if number % 2 == 0 {
            stream.write_all(&[22, 3, 1]).await.unwrap();
        }
        half_open.push((stream, served));
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    let (stream, _served) = connect(&phase);
    let mut peer = testing::connect(stream, testing::client_config(VERSIONS[0], &[])).await;
    peer.write_all(LAST_GET.as_bytes()).await.unwrap();
    peer.flush().await.unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("ok"), "{answer}");
    assert_eq!(began.elapsed(), Duration::ZERO);
    let alive = half_open.iter().filter(|(_, served)| !served.is_finished()).count();
    assert!(alive <= 1_000, "half as many as there may be connections: {alive}");
}

/// Of HTTP/2 as well: what has begun when the drain begins is served.
#[tokio::test(start_paused = true)]
async fn half_a_record_of_http2_is_waited_for_in_a_drain() {
    let (set, phase) = ready();
    let mut peer = raw(VERSIONS[0], &["h2"], phase);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let flight = [peer.last_flight().await, peer.records.seal(preface)].concat();
    peer.send(&flight).await;
    let request = peer.records.seal(&http2::h2_get(1));
    peer.send(&request[..request.len() / 2]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    set(Phase::Draining);
    tokio::time::sleep(Duration::from_secs(4)).await;
    peer.send(&request[request.len() / 2..]).await;
    let (said, _) = peer.rest().await;
    assert!(said.contains("ok"), "{said:?}");
    peer.gone().await;
}
