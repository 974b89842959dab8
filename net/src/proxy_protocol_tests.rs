//! Reading the header: real sockets, the paused clock.

use std::time::Duration;

use host_forwarded::{ProxySource, TrustedProxy};
use host_lifecycle::{PhaseWatch, Tracker};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::{ClientBounds, ClientConnectionLimits, NetCounts, PeerLimits, Room, Scarcity};

const HEADER: &str = "PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n";
const BEHIND: &str = "GET / HTTP/1.1\r\n";
const LIMITS: PeerLimits = PeerLimits::TEST;

/// A header that is being read, and its peer.
struct Reading<S> {
    peer: UnixStream,
    outcome: JoinHandle<(Result<ProxyHeader, ConnectionEnd>, Vec<u8>)>,
    counts: NetCounts,
    began: Instant,
    set: S,
}

/// How that went.
#[derive(Debug)]
struct Outcome {
    header: Result<ProxyHeader, ConnectionEnd>,
    /// What is left for what comes behind the header.
    behind: String,
    refused: Vec<&'static str>,
    took: Duration,
}

/// Reads the header of a connection to a Unix socket where these are trusted.
fn reading(trusted: &str) -> Reading<impl Fn(Phase) + use<>> {
    let (set, phase) = PhaseWatch::with_setter();
    set(Phase::Ready);
    let (peer, ours) = UnixStream::pair().unwrap();
    let trusted = trusted.parse::<TrustedProxy>().unwrap();
    let expected = ExpectedHeader::from(Arc::new([trusted].into_iter().collect()));
    let counts = NetCounts::default();
    let connections = Tracker::awaited();
    let context = ConnectionContext {
        gate: host_lifecycle::AcceptGate::new(true),
        handing: crate::Handing::default(),
        phase,
        room: Room::new(1, connections.clone()),
        connections,
        counts: counts.clone(),
        limits: LIMITS,
        clients: ClientBounds::new(ClientConnectionLimits::default(), counts.clone()),
        scarcity: Scarcity::new(),
    };
    let outcome = tokio::spawn(async move {
        let socket = Socket::Unix(ours);
        let entry = ConnectionEntry::new(None, "test".into());
        let header = expected.read(&socket, &entry, &context).await;
        let mut behind = Vec::with_capacity(4096);
        if socket.unread() == Unread::Bytes {
            // The reactor tells of it.
            while socket.try_read(&mut behind).is_err() {
                socket.readable().await.unwrap();
            }
        }
        (header, behind)
    });
    Reading { peer, outcome, counts, began: Instant::now(), set }
}

impl<S> Reading<S> {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.peer.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn outcome(self) -> Outcome {
        let (header, behind) = self.outcome.await.unwrap();
        let refused = self.counts.refused_proxies().into_iter().filter(|(_, count)| *count == 1);
        Outcome {
            header,
            behind: String::from_utf8(behind).unwrap(),
            refused: refused.map(|(why, _)| why).collect(),
            took: self.began.elapsed(),
        }
    }
}

fn version_2() -> Vec<u8> {
    let fixed = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x13";
    let addresses = b"\xc0\x00\x02\x01\xc0\x00\x02\x02\x12\x67\x01\xbb\x04\x00\x04\n\r\n\0";
    [&fixed[..], addresses].concat()
}

/// Whatever the pieces: the byte behind the header is for TLS or HTTP.
#[tokio::test(start_paused = true)]
async fn a_header_is_read_to_the_byte_however_it_comes() {
    for header in [HEADER.as_bytes().to_vec(), version_2()] {
        let whole = [&header, BEHIND.as_bytes()].concat();
        for cut in 0..whole.len() {
            let mut reading = reading("unix");
            let (first, second) = whole.split_at(cut);
            reading.send(first).await;
            // The reactor tells of it, and the reader has its turn.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let is_whole = cut >= header.len();
            if !is_whole {
                reading.send(second).await;
            }
            let outcome = reading.outcome().await;
            let source = "192.0.2.1:4711".parse().map(ProxySource::Address).unwrap();
            assert_eq!(outcome.header.unwrap().source, source, "cut at {cut}");
            let behind = if is_whole { &whole[header.len()..cut] } else { BEHIND.as_bytes() };
            assert_eq!(outcome.behind.as_bytes(), behind, "cut at {cut}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_not_trusted_is_refused_before_anything_is_read() {
    let mut reading = reading("10.0.0.0/8");
    reading.send(HEADER).await;
    let outcome = reading.outcome().await;
    assert_eq!(
        (outcome.header, &outcome.refused[..]),
        (Err(ConnectionEnd::Gone), &["untrusted"][..])
    );
    assert_eq!(outcome.behind, HEADER);
}

#[tokio::test(start_paused = true)]
async fn something_else_than_a_header_is_refused_as_soon_as_it_shows() {
    for (sent, why) in [
        ("GET / HTTP/1.1\r\n", "missing"),
        ("\x16\x03\x01\x02", "missing"),
        ("PROXY TCP4 x\r\n", "malformed"),
        (&format!("PROXY UNKNOWN {}", "x".repeat(200)), "malformed"),
    ] {
        let mut reading = reading("unix");
        reading.send(sent).await;
        let outcome = reading.outcome().await;
        assert_eq!(outcome.header, Err(ConnectionEnd::Gone), "{sent}");
        assert_eq!((&outcome.refused[..], outcome.took), (&[why][..], Duration::ZERO), "{sent}");
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_header_has_the_time_of_a_head() {
    for sent in ["", "PRO", "PROXY TCP4 192.0.2.1 192.0", "\r\n\r\n\0\r\nQUIT\n\x21"] {
        let mut reading = reading("unix");
        reading.send(sent).await;
        let outcome = reading.outcome().await;
        assert_eq!(outcome.header, Err(ConnectionEnd::Gone), "{sent:?}");
        assert_eq!((&outcome.refused[..], outcome.took), (&["late"][..], LIMITS.head), "{sent:?}");
    }
}

/// A probe that only connects is nobody's fault.
#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_without_a_byte_is_not_counted() {
    let mut gone = reading("unix");
    gone.peer.shutdown().await.unwrap();
    let outcome = gone.outcome().await;
    assert_eq!((outcome.header, outcome.refused), (Err(ConnectionEnd::Finished), Vec::new()));
    let mut half = reading("unix");
    half.send("PROXY TCP4").await;
    half.peer.shutdown().await.unwrap();
    let outcome = half.outcome().await;
    assert_eq!(
        (outcome.header, &outcome.refused[..]),
        (Err(ConnectionEnd::Gone), &["malformed"][..])
    );
}

/// As a connection without the header has it.
#[tokio::test(start_paused = true)]
async fn during_a_stop_a_silent_peer_has_the_linger_and_one_that_has_begun_its_time() {
    let silent = reading("unix");
    (silent.set)(Phase::Draining);
    let outcome = silent.outcome().await;
    assert_eq!((outcome.header, outcome.refused), (Err(ConnectionEnd::Finished), Vec::new()));
    assert_eq!(outcome.took, LIMITS.linger);
    let mut begun = reading("unix");
    begun.send("PROXY TCP4 192.0.2.1 ").await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    (begun.set)(Phase::Draining);
    tokio::time::sleep(LIMITS.linger * 2).await;
    begun.send("192.0.2.2 4711 443\r\n").await;
    assert!(begun.outcome().await.header.is_ok());
    let late = reading("unix");
    (late.set)(Phase::Draining);
    yield_now().await;
    (late.set)(Phase::Cut);
    let outcome = late.outcome().await;
    assert_eq!((outcome.header, outcome.took), (Err(ConnectionEnd::Finished), Duration::ZERO));
}
