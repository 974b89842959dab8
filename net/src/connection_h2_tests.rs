//! The same of HTTP/2.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_http2_peer_that_never_acknowledges_the_ping_is_closed_when_it_owes_nothing() {
    for over in WIRES {
        let (set, phase) = ready();
        let mut peer = connect(over, phase).await;
        peer.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        // An empty SETTINGS frame (RFC 9113 §6.5).
        peer.stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        set(Phase::Draining);
        let (_, at) = peer.rest().await;
        assert_eq!(at, Duration::from_secs(1) + Duration::from_secs(1));
        peer.gone().await;
    }
}

/// An idle connection needs neither linger nor patience: GOAWAY tells its peer what was not looked at.
#[tokio::test(start_paused = true)]
async fn an_idle_http2_connection_whose_peer_answers_the_ping_leaves_at_once() {
    for over in WIRES {
        for requests in [0, 1] {
            let (set, phase) = ready();
            let peer = connect(over, phase).await;
            let (mut client, connection) = ::h2::client::handshake(peer.stream).await.unwrap();
            let driven = tokio::spawn(connection);
            for _ in 0..requests {
                let get = Request::get("http://a/").body(()).unwrap();
                let (response, _) = client.send_request(get, true).unwrap();
                let mut body = response.await.unwrap().into_body();
                while body.data().await.is_some() {}
            }
            let began = Instant::now();
            set(Phase::Draining);
            driven.await.unwrap().unwrap();
            peer.served.await.unwrap();
            assert_eq!(began.elapsed(), Duration::ZERO, "after {requests} requests");
            assert_eq!(peer.tracker.counts().cut, 0);
            drop(client);
        }
    }
}

/// A whole preface, and then not even the SETTINGS that must follow.
#[tokio::test(start_paused = true)]
async fn a_preface_without_settings_does_not_hold_a_drain() {
    for over in WIRES {
        let (set, phase) = ready();
        let mut peer = connect(over, phase).await;
        peer.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        set(Phase::Draining);
        peer.rest().await;
        assert_eq!(began.elapsed(), Duration::from_secs(1), "the patience behind a GOAWAY");
        assert_eq!(peer.gone().await.counts().cut, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_http2_peer_that_asks_nothing_is_told_after_the_head_timeout() {
    for over in WIRES {
        let (_set, phase) = ready();
        let mut peer = connect(over, phase).await;
        peer.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let (_, at) = peer.rest().await;
        assert!(at >= LIMITS.head && at <= LIMITS.head + Duration::from_secs(1), "{at:?}");
        peer.gone().await;
    }
}

/// The stream was reset behind the answer at once. That is no error (RFC 9113 §8.1), but curl 7.88 threw the
/// answer away with it, whenever the upload was longer than the window.
#[tokio::test(start_paused = true)]
async fn rest_of_an_http2_upload_is_read_behind_its_answer_for_a_while() {
    for over in WIRES {
        let keeper = Keeper::default();
        let (_set, phase) = ready();
        let peer = connect_to(over, keeper.clone(), phase).await;
        let (mut client, connection) = ::h2::client::handshake(peer.stream).await.unwrap();
        let driven = tokio::spawn(connection);
        let post = Request::post("http://a/").body(()).unwrap();
        let (response, mut upload) = client.send_request(post, false).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "ok");
        assert!(body.data().await.is_none());
        let answered = Instant::now();
        let mut left = 300 * 1024;
        while left > 0 {
            upload.reserve_capacity(left);
            let room = std::future::poll_fn(|task| upload.poll_capacity(task)).await;
            let room = room.unwrap().unwrap();
            upload.send_data(vec![0; room].into(), false).unwrap();
            left -= room;
        }
        let reset = std::future::poll_fn(|task| upload.poll_reset(task)).await.unwrap();
        assert_eq!((reset, answered.elapsed()), (::h2::Reason::NO_ERROR, Duration::from_secs(1)));
        // The connection goes on.
        let get = Request::get("http://a/").body(()).unwrap();
        let (response, _) = client.send_request(get, true).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
        assert_eq!(keeper.0.lock().unwrap().len(), 2);
        drop(client);
        driven.await.unwrap().unwrap();
        peer.served.await.unwrap();
        assert_eq!(peer.tracker.in_flight(), 0);
    }
}

/// Frames of a client: an empty SETTINGS, and `GET /` of `a` on a stream.
pub(super) fn h2_get(stream: u32) -> Vec<u8> {
    let head = [0x82, 0x84, 0x86, 0x41, 0x01, b'a'];
    [&[0, 0, 6, 1, 5][..], &stream.to_be_bytes(), &head].concat()
}

async fn h2_connect(over: Over, phase: PhaseWatch) -> Peer {
    let mut peer = connect(over, phase).await;
    peer.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    peer.stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    peer
}

impl Peer {
    /// Reads frames until one of this kind, and gives its payload.
    async fn frame(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.expect("a frame");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await.expect("its payload");
            if head[3] == kind {
                return payload;
            }
        }
    }
}

const DATA: u8 = 0;
const GOAWAY: u8 = 7;

/// Idle for longer than a peer may stall: the next request was dropped without a word when it came in two
/// pieces.
#[tokio::test(start_paused = true)]
async fn an_http2_request_that_comes_in_pieces_is_served_however_long_its_connection_idled() {
    for over in WIRES {
        let (_set, phase) = ready();
        let mut peer = h2_connect(over, phase).await;
        for (stream, idle) in [(1, Duration::ZERO), (3, LIMITS.stall + Duration::from_secs(5))] {
            tokio::time::sleep(idle).await;
            let get = h2_get(stream);
            for piece in [&get[..11], &get[11..]] {
                peer.stream.write_all(piece).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            assert_eq!(peer.frame(DATA).await, b"ok");
        }
        peer.gone().await;
    }
}

/// It was held for as long as a peer may stall, and counted as dropped by a stop.
#[tokio::test(start_paused = true)]
async fn half_an_http2_head_has_the_time_of_a_head_and_nothing_is_owed_to_it() {
    for over in WIRES {
        let (_set, phase) = ready();
        let mut peer = h2_connect(over, phase).await;
        peer.stream.write_all(&h2_get(1)).await.unwrap();
        peer.frame(DATA).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        peer.stream.write_all(&h2_get(3)[..11]).await.unwrap();
        let began = Instant::now();
        assert_eq!(peer.frame(GOAWAY).await[..4], 0x7fff_ffff_u32.to_be_bytes());
        assert_eq!(began.elapsed(), LIMITS.head);
        // It does not answer the PING, so it is told in the end that 3 was not served.
        assert_eq!(peer.frame(GOAWAY).await, [0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(began.elapsed(), LIMITS.head + Duration::from_secs(1));
        assert_eq!(peer.gone().await.counts().cut, 0);
    }
}

/// What crossed the end of the connection could not be sent again: nobody had said that it was not served.
#[tokio::test(start_paused = true)]
async fn an_http2_peer_is_told_which_stream_was_the_last_one_though_it_answers_no_ping() {
    for over in WIRES {
        let (set, phase) = ready();
        let mut peer = h2_connect(over, phase).await;
        for stream in [1, 3] {
            peer.stream.write_all(&h2_get(stream)).await.unwrap();
            peer.frame(DATA).await;
        }
        set(Phase::Draining);
        assert_eq!(peer.frame(GOAWAY).await[..4], 0x7fff_ffff_u32.to_be_bytes());
        assert_eq!(peer.frame(GOAWAY).await, [0, 0, 0, 3, 0, 0, 0, 0]);
        peer.gone().await;
    }
}

/// hyper does not ask for a body before there is a window. So nobody had begun to wait, and a peer that gave
/// none held its guest for as long as an exchange may last.
#[tokio::test(start_paused = true)]
async fn an_http2_peer_that_never_gives_a_window_is_given_up() {
    for over in WIRES {
        let (_set, phase) = ready();
        let peer = connect(over, phase).await;
        let mut client = ::h2::client::Builder::new();
        let (mut client, connection) =
            client.initial_window_size(0).handshake::<_, Bytes>(peer.stream).await.unwrap();
        let driven = tokio::spawn(connection);
        let get = Request::get("http://a/").body(()).unwrap();
        let (response, _) = client.send_request(get, true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let began = Instant::now();
        let broken = body.data().await.unwrap().unwrap_err();
        assert!(broken.is_reset(), "{broken}");
        let took = began.elapsed();
        let turn = Duration::from_millis(50);
        assert!((LIMITS.stall..LIMITS.stall + turn).contains(&took), "{took:?}");
        drop((client, body));
        driven.await.unwrap().unwrap();
        peer.served.await.unwrap();
        assert_eq!(peer.tracker.in_flight(), 0);
    }
}

/// Notes what it is asked, and what it is told that was answered without it. Its own answers have no body.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<(usize, Vec<StatusCode>)>>);

impl Service for Ledger {
    type Body = Full<Bytes>;

    fn connected(&self, _peer: &crate::Peer) -> Self {
        self.clone()
    }

    fn answered_by_hyper(&self, status: StatusCode) {
        self.0.lock().unwrap().1.push(status);
    }

    fn call(
        self: &Arc<Self>,
        _request: Request<RequestBody>,
        _arrived: Instant,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send + 'static {
        self.0.lock().unwrap().0 += 1;
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        std::future::ready(response)
    }

    fn refusal(&self, why: Refusal) -> Bytes {
        Ok200.refusal(why)
    }
}

/// h2 answers 431 to a head above the limit, and tells nobody: such a request was in no log and no count.
#[tokio::test(start_paused = true)]
async fn what_h2_answers_itself_is_told_once_whatever_the_table_of_fields() {
    for over in WIRES {
        for table in [0, 4096] {
            let ledger = Ledger::default();
            let (_set, phase) = ready();
            let peer = connect_to(over, ledger.clone(), phase).await;
            let mut client = ::h2::client::Builder::new();
            let client = client.header_table_size(table).handshake::<_, Bytes>(peer.stream);
            let (mut client, connection) = client.await.unwrap();
            let driven = tokio::spawn(connection);
            let long = "v".repeat(LIMITS.header_size);
            for long in [Some(&long), None, None, Some(&long), Some(&long), None] {
                let mut get = Request::get("http://a/");
                if let Some(long) = long {
                    get = get.header("x-long", long);
                }
                let (response, _) = client.send_request(get.body(()).unwrap(), true).unwrap();
                // All the same to its client.
                assert_eq!(response.await.unwrap().status(), 431);
            }
            drop(client);
            driven.await.unwrap().unwrap();
            peer.served.await.unwrap();
            let (asked, told) = &*ledger.0.lock().unwrap();
            assert_eq!(
                (*asked, &told[..]),
                (3, &[StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE; 3][..])
            );
        }
    }
}
