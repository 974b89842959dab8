//! What there is over TLS only: handshakes and their end, records of which a part is here.

use super::*;
use rustls::SupportedProtocolVersion;

use crate::tls::testing::{Records, VERSIONS};

/// A peer whose records are seen as bytes.
struct Raw {
    stream: UnixStream,
    records: Records,
    served: JoinHandle<()>,
    began: Instant,
    tracker: Tracker,
}

fn raw(
    versions: &'static [&'static SupportedProtocolVersion],
    alpn: &[&str],
    phase: PhaseWatch,
) -> Raw {
    let (stream, served, tracker) = accepted(true, Ok200, phase);
    let records = Records::new(testing::client_config(versions, alpn));
    Raw { stream, records, served, began: Instant::now(), tracker }
}

impl Raw {
    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends what the handshake wants to say and reads what is answered, until all but the last flight is sent.
    async fn last_flight(&mut self) -> Vec<u8> {
        loop {
            let flight = self.records.outgoing();
            if !self.records.is_handshaking() {
                return flight;
            }
            self.send(&flight).await;
            let mut bytes = [0; 8192];
            let read = self.stream.read(&mut bytes).await.unwrap();
            assert_ne!(read, 0, "the handshake has failed");
            self.records.open(&bytes[..read]);
        }
    }

    /// All that is said until FIN, and whether `close_notify` was.
    async fn rest(&mut self) -> (String, bool) {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).await.unwrap();
        let (plaintext, closed) = self.records.open(&bytes);
        (String::from_utf8_lossy(&plaintext).into_owned(), closed)
    }

    async fn gone(self) -> Tracker {
        drop(self.stream);
        self.served.await.unwrap();
        self.tracker
    }
}

/// A peer of which the whole handshake is done.
async fn shaken(phase: PhaseWatch) -> Raw {
    let mut peer = raw(VERSIONS[0], &["http/1.1"], phase);
    let flight = peer.last_flight().await;
    peer.send(&flight).await;
    peer
}

/// A record of which a part had come looked idle: the request in it was closed upon, at a linger without a word.
#[tokio::test(start_paused = true)]
async fn half_a_record_has_the_time_of_a_head_and_is_answered_408() {
    let (_set, phase) = ready();
    let mut peer = shaken(phase).await;
    let record = peer.records.seal(GET.as_bytes());
    peer.send(&record[..record.len() - 1]).await;
    assert_eq!(peer.rest().await, ("HTTP/1.1 408 x\r\n\r\n".into(), true));
    assert_eq!(peer.began.elapsed(), LIMITS.head);
    peer.gone().await;
}

#[tokio::test(start_paused = true)]
async fn half_a_record_in_a_drain_is_waited_for_and_served() {
    for split in [1, 4, 5, 20] {
        let (set, phase) = ready();
        let mut peer = shaken(phase).await;
        set(Phase::Draining);
        tokio::time::sleep(LIMITS.linger / 2).await;
        let record = peer.records.seal(GET.as_bytes());
        peer.send(&record[..split]).await;
        tokio::time::sleep(LIMITS.linger * 3).await;
        peer.send(&record[split..]).await;
        let (answer, closed) = peer.rest().await;
        assert!(answer.contains("connection: close") && answer.ends_with("ok"), "{answer}");
        assert!(closed);
        peer.gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_record_is_told_503_when_the_stop_cuts() {
    let (set, phase) = ready();
    let mut peer = shaken(phase).await;
    let record = peer.records.seal(GET.as_bytes());
    peer.send(&record[..9]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    set(Phase::Cut);
    assert_eq!(peer.rest().await, ("HTTP/1.1 503 x\r\n\r\n".into(), true));
    assert_eq!(peer.gone().await.counts().cut, 1);
}

/// Neither tickets nor updates of keys are requests.
#[tokio::test(start_paused = true)]
async fn a_record_without_a_request_does_not_keep_an_idle_connection() {
    let (set, phase) = ready();
    let mut peer = shaken(phase).await;
    set(Phase::Draining);
    tokio::time::sleep(LIMITS.linger / 2).await;
    let update = peer.records.key_update();
    peer.send(&update).await;
    assert_eq!(peer.rest().await, (String::new(), true));
    assert_eq!(peer.began.elapsed(), LIMITS.linger);
    peer.gone().await;
}

#[tokio::test(start_paused = true)]
async fn close_notify_without_fin_is_the_end_behind_the_answer() {
    let (_set, phase) = ready();
    let mut peer = shaken(phase).await;
    let mut bytes = peer.records.seal(GET.as_bytes());
    bytes.extend(peer.records.close_notify());
    peer.send(&bytes).await;
    let (answer, closed) = peer.rest().await;
    assert!(answer.ends_with("ok") && closed, "{answer}");
    assert_eq!(peer.began.elapsed(), Duration::ZERO);
    peer.served.await.unwrap();
}

/// The request lies in the same flight as the end of the handshake, before which the drain has begun.
#[tokio::test(start_paused = true)]
async fn a_request_right_behind_the_handshake_is_served_in_a_drain() {
    let (set, phase) = ready();
    let mut peer = raw(VERSIONS[0], &["http/1.1"], phase);
    let mut flight = peer.last_flight().await;
    set(Phase::Draining);
    tokio::time::sleep(LIMITS.linger * 2).await;
    flight.extend(peer.records.seal(GET.as_bytes()));
    peer.send(&flight).await;
    let (answer, closed) = peer.rest().await;
    assert!(answer.contains("connection: close") && answer.ends_with("ok"), "{answer}");
    assert!(closed);
    assert_eq!(peer.gone().await.counts().cut, 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_has_the_time_of_a_handshake_or_the_linger_of_a_drain() {
    for draining in [false, true] {
        let (set, phase) = ready();
        let mut peer = raw(VERSIONS[0], &[], phase);
        let patience = if draining { LIMITS.linger } else { LIMITS.handshake };
        if draining {
            set(Phase::Draining);
        }
        assert_eq!(peer.rest().await, (String::new(), false));
        assert_eq!(peer.began.elapsed(), patience);
        assert_eq!(peer.gone().await.counts().cut, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_comes_byte_by_byte_is_served_within_the_time_of_a_handshake() {
    let (set, phase) = ready();
    let mut peer = raw(VERSIONS[0], &[], phase);
    let hello = peer.records.outgoing();
    set(Phase::Draining);
    for byte in &hello[..hello.len() - 1] {
        peer.send(&[*byte]).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The linger has passed: what has begun in a drain is finished.
    assert!(peer.began.elapsed() > LIMITS.linger, "{} bytes", hello.len());
    peer.send(&hello[hello.len() - 1..]).await;
    let mut bytes = [0; 8192];
    let read = peer.stream.read(&mut bytes).await.unwrap();
    peer.records.open(&bytes[..read]);
    let flight = [peer.last_flight().await, peer.records.seal(GET.as_bytes())].concat();
    peer.send(&flight).await;
    assert!(peer.rest().await.0.ends_with("ok"));
    peer.gone().await;
}

#[tokio::test(start_paused = true)]
async fn a_hello_without_its_end_is_closed_after_the_time_of_a_handshake() {
    let (_set, phase) = ready();
    let mut peer = raw(VERSIONS[0], &[], phase);
    let hello = peer.records.outgoing();
    peer.send(&hello[..hello.len() - 1]).await;
    assert_eq!(peer.rest().await, (String::new(), false));
    assert_eq!(peer.began.elapsed(), LIMITS.handshake);
    peer.gone().await;
}

#[tokio::test(start_paused = true)]
async fn a_half_open_handshake_that_the_stop_cuts_is_counted() {
    let (set, phase) = ready();
    let mut peer = raw(VERSIONS[0], &[], phase);
    let hello = peer.records.outgoing();
    peer.send(&hello).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    set(Phase::Cut);
    assert_eq!(peer.gone().await.counts().cut, 1);
}

#[tokio::test(start_paused = true)]
async fn plain_http_is_answered_400_in_plain_text() {
    let (_set, phase) = ready();
    let mut peer = raw(VERSIONS[0], &[], phase);
    peer.send(GET.as_bytes()).await;
    let mut answer = String::new();
    peer.stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "HTTP/1.1 400 x\r\n\r\n");
    peer.gone().await;
}

/// An alert (RFC 8446 §6.2), and then FIN.
#[tokio::test(start_paused = true)]
async fn what_is_no_tls_is_told_so_by_an_alert() {
    // A hello of SSL 2, one of TLS that is longer than a record may be, nonsense in a record.
    for garbage in [
        &b"\x80\x2e\x01\x03\x01\x00\x15\x00"[..],
        &[22, 3, 1, 0xff, 0xff, 1],
        &[22, 3, 1, 0, 4, 9, 0, 0, 0],
    ] {
        let (_set, phase) = ready();
        let mut peer = raw(VERSIONS[0], &[], phase);
        peer.send(garbage).await;
        let mut alert = Vec::new();
        peer.stream.read_to_end(&mut alert).await.unwrap();
        assert_eq!((alert[0], alert[5], alert.len()), (21, 2, 7), "{alert:?}");
        peer.gone().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hello_with_fin_behind_it_ends_the_connection() {
    let (_set, phase) = ready();
    let mut peer = raw(VERSIONS[0], &[], phase);
    let hello = peer.records.outgoing();
    peer.send(&hello).await;
    rustix::net::shutdown(&peer.stream, rustix::net::Shutdown::Write).unwrap();
    peer.served.await.unwrap();
    assert_eq!(peer.began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_was_agreed_on_decides_the_protocol() {
    // HTTP/1 in place of HTTP/2, and the other way.
    for (alpn, said, answered) in
        [("http/1.1", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 400"), ("h2", GET, "\0")]
    {
        let (_set, phase) = ready();
        let mut peer = raw(VERSIONS[0], &[alpn], phase);
        let flight = [peer.last_flight().await, peer.records.seal(said.as_bytes())].concat();
        peer.send(&flight).await;
        let (answer, closed) = peer.rest().await;
        assert!(answer.starts_with(answered) && closed, "{alpn}: {answer:?}");
        assert_eq!(peer.began.elapsed(), Duration::ZERO);
        peer.gone().await;
    }
}

#[path = "connection_tls_bounds_tests.rs"]
mod bounds;
