//! Every deadline of a connection, on the paused clock: real sockets, a stub in place of guests.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use host_lifecycle::{Phase, Tracker};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::*;
use crate::room::Room;
use crate::tls::testing;
use crate::{PeerLimits, RequestBody};
use wires::{Over, Stream, WIRES, context};

/// Answers `ok` to everything.
#[derive(Clone)]
struct Ok200;

impl Service for Ok200 {
    type Body = Full<Bytes>;

    fn connected(&self, _peer: &crate::Peer) -> Self {
        self.clone()
    }

    fn answered_by_hyper(&self, _status: StatusCode) {}

    fn call(
        self: &Arc<Self>,
        request: Request<RequestBody>,
        _arrived: Instant,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send + 'static {
        drop(request);
        std::future::ready(Response::new(Full::from("ok")))
    }

    fn refusal(&self, why: Refusal) -> Bytes {
        match why {
            Refusal::HeadTooSlow => Bytes::from_static(b"HTTP/1.1 408 x\r\n\r\n"),
            Refusal::Malformed(_) => Bytes::from_static(b"HTTP/1.1 400 x\r\n\r\n"),
            Refusal::ClientConnections { .. } | Refusal::ClientConnectionRate { .. } => {
                Bytes::from_static(b"HTTP/1.1 429 x\r\n\r\n")
            }
            Refusal::NoRoom | Refusal::Stopping => Bytes::from_static(b"HTTP/1.1 503 x\r\n\r\n"),
        }
    }
}

const LIMITS: PeerLimits = PeerLimits::TEST;

struct Peer {
    stream: Stream,
    served: JoinHandle<()>,
    began: Instant,
    tracker: Tracker,
}

/// Answers at once and holds on to what it was sent, unread, as a guest at work after its answer may.
#[derive(Clone, Default)]
struct Keeper(Arc<Mutex<Vec<RequestBody>>>);

impl Service for Keeper {
    type Body = Full<Bytes>;

    fn connected(&self, _peer: &crate::Peer) -> Self {
        self.clone()
    }

    fn answered_by_hyper(&self, _status: StatusCode) {}

    fn call(
        self: &Arc<Self>,
        request: Request<RequestBody>,
        _arrived: Instant,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send + 'static {
        self.0.lock().unwrap().push(request.into_body());
        std::future::ready(Response::new(Full::from("ok")))
    }

    fn refusal(&self, why: Refusal) -> Bytes {
        Ok200.refusal(why)
    }
}

async fn connect(over: Over, phase: PhaseWatch) -> Peer {
    connect_to(over, Ok200, phase).await
}

async fn connect_to(over: Over, service: impl Service, phase: PhaseWatch) -> Peer {
    let (stream, served, tracker) = accepted(!matches!(over, Over::Plain), service, phase);
    let stream = Stream::over(over, stream).await;
    Peer { stream, served, began: Instant::now(), tracker }
}

/// The peer's end of a connection, whose task has just begun.
fn accepted(
    tls: bool,
    service: impl Service,
    phase: PhaseWatch,
) -> (UnixStream, JoinHandle<()>, Tracker) {
    let (stream, ours) = UnixStream::pair().unwrap();
    let tracker = Tracker::awaited();
    let entry = ConnectionEntry::new(None, "test".into());
    let guard = tracker.guard(entry.clone());
    let room = Room::new(1, tracker.clone());
    let context = context(phase, &tracker, &room);
    let socket = (Socket::Unix(ours), None, tls.then(testing::configs));
    let served = tokio::spawn(serve(socket, context, service, room.turn_now(), entry, guard));
    (stream, served, tracker)
}

impl Peer {
    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Everything until the host's FIN, and when it came.
    async fn rest(&mut self) -> (String, Duration) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.unwrap();
        (String::from_utf8_lossy(&rest).into_owned(), self.began.elapsed())
    }

    async fn answer(&mut self) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok") {
            assert_ne!(self.stream.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
        }
        String::from_utf8(answer).unwrap()
    }

    /// Waits until the connection has ended on our side too.
    async fn gone(self) -> Tracker {
        drop(self.stream);
        self.served.await.unwrap();
        self.tracker
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn ready() -> (impl Fn(Phase), PhaseWatch) {
    let (set, phase) = PhaseWatch::with_setter();
    set(Phase::Ready);
    (set, phase)
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_nothing_is_closed_after_the_head_timeout() {
    for over in WIRES {
        let (_set, phase) = ready();
        let mut peer = connect(over, phase).await;
        assert_eq!(peer.rest().await, (String::new(), LIMITS.head));
        peer.gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_head_is_answered_408_after_the_head_timeout() {
    for over in WIRES {
        let (_set, phase) = ready();
        let mut peer = connect(over, phase).await;
        peer.send("GET / HT").await;
        let (answer, at) = peer.rest().await;
        assert_eq!((answer.as_str(), at), ("HTTP/1.1 408 x\r\n\r\n", LIMITS.head));
        peer.gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_second_head_has_the_head_timeout_and_not_that_of_an_idle_connection() {
    for over in WIRES {
        let (_set, phase) = ready();
        let mut peer = connect(over, phase).await;
        peer.send(GET).await;
        peer.answer().await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        peer.send("GET / HT").await;
        let (answer, at) = peer.rest().await;
        assert_eq!(answer, "HTTP/1.1 408 x\r\n\r\n");
        assert_eq!(at, Duration::from_secs(20) + LIMITS.head);
        peer.gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_the_keep_alive_timeout() {
    for over in WIRES {
        let (_set, phase) = ready();
        let mut peer = connect(over, phase).await;
        peer.send(GET).await;
        peer.answer().await;
        assert_eq!(peer.rest().await, (String::new(), LIMITS.keep_alive));
        peer.gone().await;
    }
}

/// Bytes of a body that nobody reads were taken for a request that has begun, and the driver looked
/// for it again and again without a pause. The exchange is over with its answer; what still comes of its
/// request is waited for as long as for any body.
#[tokio::test(start_paused = true)]
async fn a_body_that_is_held_unread_does_not_keep_its_connection() {
    for over in WIRES {
        let (_set, phase) = ready();
        let mut peer = connect_to(over, Keeper::default(), phase).await;
        peer.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n").await;
        peer.answer().await;
        peer.send("01234").await;
        assert_eq!(peer.rest().await, (String::new(), LIMITS.stall));
        peer.gone().await;
    }
}

/// C1, C2: what the service holds of a request is taken from it with the last frame of the answer. A chunk
/// that looks like a request is none, and the request behind it is served at once, in a drain as well.
#[tokio::test(start_paused = true)]
async fn what_is_behind_a_body_that_is_held_unread_is_served_at_once() {
    for over in WIRES {
        for in_a_drain in [false, true] {
            let (set, phase) = ready();
            let keeper = Keeper::default();
            let mut peer = connect_to(over, keeper.clone(), phase).await;
            let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
            peer.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            for _ in 0..2 {
                peer.send(&format!("{:x}\r\n{smuggled}\r\n", smuggled.len())).await;
            }
            peer.answer().await;
            if in_a_drain {
                set(Phase::Draining);
            }
            peer.send(&format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n{GET}", smuggled.len())).await;
            assert!(peer.answer().await.starts_with("HTTP/1.1 200"));
            assert_eq!(peer.began.elapsed(), Duration::ZERO);
            let patience = if in_a_drain { Duration::ZERO } else { LIMITS.keep_alive };
            assert_eq!(peer.rest().await, (String::new(), patience), "nobody asked for more");
            assert_eq!(keeper.0.lock().unwrap().len(), 2);
            peer.gone().await;
        }
    }
}

/// The service reads an error where it would have taken a broken body for a whole one.
#[tokio::test(start_paused = true)]
async fn a_held_body_ends_in_an_error_once_its_answer_has_ended() {
    for over in WIRES {
        let (_set, phase) = ready();
        let keeper = Keeper::default();
        let mut peer = connect_to(over, keeper.clone(), phase).await;
        peer.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        peer.answer().await;
        peer.send("1\r\na\r\n0\r\n\r\n").await;
        peer.send(GET).await;
        peer.answer().await;
        let held = keeper.0.lock().unwrap().remove(0);
        let read = held.collect().await.map(http_body_util::Collected::to_bytes);
        assert!(matches!(read, Err(crate::BodyError::Over)), "{read:?}");
    }
}

/// C13: the connection refuses what could be read in two ways, in a head and in a body.
#[tokio::test(start_paused = true)]
async fn what_is_no_http_is_answered_400_and_closed() {
    for over in WIRES {
        for head in ["GET / HTTP/1.1\nHost: a\n\n", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", "\n"] {
            let (_set, phase) = ready();
            let mut peer = connect(over, phase).await;
            peer.send(GET).await;
            peer.answer().await;
            peer.send(head).await;
            assert_eq!(
                peer.rest().await,
                ("HTTP/1.1 400 x\r\n\r\n".into(), Duration::ZERO),
                "{head:?}"
            );
            peer.gone().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_draining_idle_connection_lingers_from_the_moment_of_the_drain() {
    for over in WIRES {
        let (set, phase) = ready();
        let mut peer = connect(over, phase).await;
        peer.send(GET).await;
        peer.answer().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        set(Phase::Draining);
        assert_eq!(peer.rest().await, (String::new(), Duration::from_secs(5) + LIMITS.linger));
        peer.gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_within_the_linger_is_served_and_told_to_close() {
    for over in WIRES {
        let (set, phase) = ready();
        let mut peer = connect(over, phase).await;
        peer.send(GET).await;
        assert!(!peer.answer().await.contains("connection: close"));
        set(Phase::Draining);
        tokio::time::sleep(LIMITS.linger - Duration::from_millis(1)).await;
        peer.send(GET).await;
        let (answer, _) = peer.rest().await;
        assert!(answer.contains("connection: close") && answer.ends_with("ok"), "{answer}");
        peer.gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_draining_fresh_connection_has_the_linger_too() {
    for over in WIRES {
        let (set, phase) = ready();
        set(Phase::Draining);
        let mut peer = connect(over, phase).await;
        assert_eq!(peer.rest().await, (String::new(), LIMITS.linger));
        peer.gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_begun_during_the_linger_is_not_idle() {
    for over in WIRES {
        let (set, phase) = ready();
        let mut peer = connect(over, phase).await;
        peer.send(GET).await;
        peer.answer().await;
        set(Phase::Draining);
        tokio::time::sleep(Duration::from_millis(999)).await;
        peer.send("GET / HTTP/1.1\r\n").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        peer.send("Host: a\r\n\r\n").await;
        let (answer, _) = peer.rest().await;
        assert!(answer.ends_with("ok"), "{answer}");
        peer.gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_head_is_told_503_when_the_stop_cuts() {
    for over in WIRES {
        let (set, phase) = ready();
        let mut peer = connect(over, phase).await;
        peer.send("GET / HT").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        set(Phase::Cut);
        assert_eq!(peer.rest().await.0, "HTTP/1.1 503 x\r\n\r\n");
        peer.gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_close_is_closed_after_the_lingering_close() {
    for over in WIRES {
        let (set, phase) = ready();
        set(Phase::Draining);
        let mut peer = connect(over, phase).await;
        peer.send(GET).await;
        peer.answer().await;
        let began = Instant::now();
        let Peer { stream, served, tracker, .. } = peer;
        served.await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        assert_eq!(tracker.in_flight(), 0);
        drop(stream);
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_preface_is_bounded_by_the_head_timeout() {
    for over in WIRES {
        let (_set, phase) = ready();
        let mut peer = connect(over, phase).await;
        peer.send("PRI * HTTP/2.0\r\n").await;
        // It is left without a word.
        let mut rest = Vec::new();
        let told = peer.stream.read_to_end(&mut rest).await;
        assert_eq!((rest.len(), peer.began.elapsed()), (0, LIMITS.head));
        assert_eq!(told.is_err(), !matches!(over, Over::Plain), "{over:?}");
        peer.gone().await;
    }
}

#[path = "connection_test_wires.rs"]
mod wires;

#[path = "connection_h2_tests.rs"]
mod http2;

#[path = "connection_handing_tests.rs"]
mod handing;
#[path = "connection_tls_tests.rs"]
mod tls;
