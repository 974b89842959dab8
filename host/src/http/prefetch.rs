//! Small request bodies are read before their exchange takes an instance, so that no exchange holds one
//! for bytes that have not come.
//!
//! Only where the head says the length. A client that sends chunks may wait for an answer between them,
//! and one that sends `Expect` waits before the first one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::upload::{UploadBody, declared_length};
use crate::component::{BodyError, WasiBody};

/// Bytes of all bodies together that are held this way: a thousand of the default size. What is beyond
/// is streamed, as larger bodies are.
const IN_ALL: usize = 64 << 20;

/// What is read ahead of guests.
#[derive(Debug)]
pub(super) struct Prefetch {
    most: u64,
    room: Arc<Semaphore>,
}

impl Prefetch {
    /// For bodies of at most so many bytes; none if 0.
    pub(super) fn new(most: u64) -> Self {
        Self::with_room(most, IN_ALL)
    }

    fn with_room(most: u64, room: usize) -> Self {
        Self { most, room: Arc::new(Semaphore::new(room)) }
    }

    /// Whether the body of a request is read first.
    pub(super) fn takes<B: Body>(&self, request: &Request<B>) -> bool {
        let headers = request.headers();
        let bare = !headers.contains_key(EXPECT) && !headers.contains_key(TRANSFER_ENCODING);
        let length = declared_length(headers);
        bare && !request.body().is_end_stream() && length.is_some_and(|it| it <= self.most)
    }

    /// Reads all of a body that it takes; what its client owes is up to the upload. With no room left,
    /// what has come is given, and the rest follows.
    ///
    /// # Errors
    /// Those of the upload, whose [`PeerFault`](super::peer_fault::PeerFault) has what the client did.
    pub(super) async fn read(&self, mut upload: UploadBody) -> Result<WasiBody, BodyError> {
        let mut body = PrefetchedBody::default();
        let mut joined = BytesMut::new();
        while let Some(frame) = upload.frame().await {
            let data = match frame?.into_data() {
                Ok(data) => data,
                Err(other) => {
                    body.trailers = other.into_trailers().ok();
                    continue;
                }
            };
            let has_room = body.hold(&self.room, data.len());
            // Most come in one piece. Others are joined, because each would keep hyper's buffer.
            match body.data.take() {
                None => body.data = Some(data),
                Some(before) => {
                    if joined.is_empty() {
                        joined.extend_from_slice(&before);
                    }
                    joined.extend_from_slice(&data);
                    body.data = Some(Bytes::new());
                }
            }
            if !has_room {
                body.rest = Some(upload);
                break;
            }
        }
        if !joined.is_empty() {
            body.data = Some(joined.freeze());
        }
        Ok(body.boxed_unsync())
    }
}

/// A body that is here, or its beginning.
#[derive(Default)]
struct PrefetchedBody {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
    rest: Option<UploadBody>,
    room: Option<OwnedSemaphorePermit>,
}

impl PrefetchedBody {
    /// Takes room for what is here already. False if there is none.
    fn hold(&mut self, room: &Arc<Semaphore>, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(more) = room.clone().try_acquire_many_owned(bytes) else { return false };
        match &mut self.room {
            Some(held) => held.merge(more),
            None => self.room = Some(more),
        }
        true
    }
}

impl Body for PrefetchedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(rest) = &mut self.rest {
            let frame = ready!(Pin::new(rest).poll_frame(cx));
            return Poll::Ready(frame);
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
            && self.trailers.is_none()
            && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let here = self.data.as_ref().map_or(0, |data| data.len() as u64);
        let Some(rest) = &self.rest else { return SizeHint::with_exact(here) };
        let rest = rest.size_hint();
        let mut all = SizeHint::new();
        all.set_lower(rest.lower() + here);
        if let Some(upper) = rest.upper() {
            all.set_upper(upper + here);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;
    use std::time::Duration;

    use host_clock::MinRate;
    use host_clock::Moment;
    use http::Response;
    use http_body_util::Empty;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::sync::mpsc;
    use tokio::time::sleep;

    use super::super::peer_fault::{PeerFault, UploadFault};
    use super::super::upload::{UploadLimits, receive};
    use host_manifest::LimitKey;

    use super::*;
    use host_net::RequestBody;

    const SECOND: Duration = Duration::from_secs(1);
    const RATE: MinRate = MinRate {
        bytes_per_second: 240,
        window: Duration::from_secs(10),
        grace: Duration::from_secs(5),
    };

    /// A client that has sent this, and what the host has of it.
    async fn sent(text: &str) -> (DuplexStream, Request<RequestBody>) {
        let (mut client, server) = duplex(1 << 20);
        let (send, mut requests) = mpsc::unbounded_channel();
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            send.send(request).unwrap();
            pending::<Result<Response<Empty<Bytes>>, Infallible>>()
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service));
        client.write_all(text.as_bytes()).await.unwrap();
        (client, requests.recv().await.unwrap().map(RequestBody::pumped))
    }

    fn post(length: usize, body: &str) -> String {
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
    }

    fn limits(min_rate: Option<MinRate>) -> UploadLimits {
        UploadLimits { bytes: 1 << 20, idle: 30 * SECOND, min_rate, scarcity: None }
    }

    async fn text(body: WasiBody) -> String {
        String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap()
    }

    #[tokio::test]
    async fn what_is_announced_to_be_small_is_read_first_and_nothing_else() {
        let prefetch = Prefetch::new(10);
        for (fields, takes) in [
            ("Content-Length: 10\r\n\r\n", true),
            ("Content-Length: 11\r\n\r\n", false),
            ("Content-Length: 0\r\n\r\n", false),
            ("\r\n", false),
            ("Expect: 100-continue\r\nContent-Length: 10\r\n\r\n", false),
            ("Transfer-Encoding: chunked\r\n\r\n", false),
        ] {
            let (_client, request) = sent(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}")).await;
            assert_eq!(prefetch.takes(&request), takes, "{fields}");
            assert!(!Prefetch::new(0).takes(&request), "it is off: {fields}");
        }
    }

    #[tokio::test]
    async fn a_body_that_comes_in_pieces_is_one_and_gives_its_room_back() {
        let prefetch = Prefetch::with_room(100, 100);
        for pieces in [&["0123456789"][..], &["0", "123", "", "456789"]] {
            let (mut client, request) = sent(&post(10, "")).await;
            let (_, upload) = UploadBody::new(request, &limits(None), &PeerFault::default());
            let send = async {
                for piece in pieces {
                    client.write_all(piece.as_bytes()).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let (body, ()) = tokio::join!(prefetch.read(upload), send);
            let body = body.unwrap();
            assert_eq!(body.size_hint().exact(), Some(10));
            assert_eq!(prefetch.room.available_permits(), 90);
            assert_eq!(text(body).await, "0123456789");
            assert_eq!(prefetch.room.available_permits(), 100);
        }
    }

    /// The memory of the host is bounded, however many clients there are.
    #[tokio::test]
    async fn a_body_for_which_there_is_no_room_is_streamed() {
        let prefetch = Prefetch::with_room(100, 7);
        let (mut client, request) = sent(&post(10, "01234")).await;
        let (_, upload) = UploadBody::new(request, &limits(None), &PeerFault::default());
        let send = async {
            tokio::task::yield_now().await;
            client.write_all(b"567").await.unwrap();
        };
        let (body, ()) = tokio::join!(prefetch.read(upload), send);
        let body = body.unwrap();
        assert_eq!(prefetch.room.available_permits(), 2);
        assert_eq!(body.size_hint().exact(), Some(10));
        client.write_all(b"89").await.unwrap();
        assert_eq!(text(body).await, "0123456789");
    }

    /// `slowhttptest -B`: a thousand bodies of a byte every ten seconds, for which the limit of pauses is
    /// no limit, held all instances for as long as they liked.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_a_byte_now_and_then_is_cut_whoever_waits_for_it() {
        for (first, rate) in [(true, Some(RATE)), (false, Some(RATE)), (true, None), (false, None)]
        {
            let (mut client, request) = sent(&post(20, "")).await;
            let (peer_fault, prefetch) = (PeerFault::default(), Prefetch::new(20));
            let began = Moment::now();
            let drips = tokio::spawn(async move {
                for _ in 0..20 {
                    sleep(10 * SECOND).await;
                    // The host has closed the connection once it is cut.
                    client.write_all(b"x").await.ok();
                }
                client
            });
            let read = if first {
                let (_, upload) = UploadBody::new(request, &limits(rate), &peer_fault);
                prefetch.read(upload).await
            } else {
                Ok(receive(request, &limits(rate), &peer_fault).into_body())
            };
            let got = match read {
                Ok(body) => body.collect().await.map(|body| body.to_bytes()),
                Err(why) => Err(why),
            };
            let took = began.elapsed();
            match rate {
                Some(_) => {
                    assert!(got.is_err() && took <= 25 * SECOND, "{first}: {took:?}");
                    assert_eq!(peer_fault.fault(), Some(UploadFault::TooSlow));
                    let limit = rate.map(|rate| LimitKey::MinRate.rate(rate.bytes_per_second));
                    assert_eq!(peer_fault.limit(), limit);
                }
                None => assert_eq!(got.unwrap().len(), 20, "nobody minds"),
            }
            drips.abort();
        }
    }

    /// A guest that took its time made its client slow.
    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_reads_is_not_the_clients() {
        let (mut client, request) = sent(&post(3, "1")).await;
        let peer_fault = PeerFault::default();
        let mut body = receive(request, &limits(Some(RATE)), &peer_fault).into_body();
        sleep(100 * SECOND).await;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "1");
        sleep(100 * SECOND).await;
        let send = async {
            sleep(14 * SECOND).await;
            client.write_all(b"23").await.unwrap();
        };
        let (frame, ()) = tokio::join!(body.frame(), send);
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "23");
        assert_eq!(peer_fault.fault(), None);
    }
}
