//! The body of a response, as hyper is given it: the host's own, or a guest's with the guest inside.

use std::error::Error;
use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use host_body::PolledFrame;
use host_compress::EncoderPlace;
use http_body::{Body, Frame, SizeHint};

use super::account::Account;
use super::blame::ExchangeError;
use super::body_coding::BodyCoding;
use super::guest_body::GuestBody;
use crate::component::WasiBody;

/// Of so many bytes a body that is here is compressed in one go.
const AT_ONCE: usize = 64 * 1024;

/// A response body, of the guest or of the host. Dropping it ends the exchange, and the guest with
/// it unless all of the body was delivered.
pub struct ResponseBody {
    source: Source,
    coding: Option<Box<BodyCoding>>,
    end: DelayedBreak<ResponseBroken>,
}

enum Source {
    /// All of it is here; of a guest's, the exchange lasts until it is handed over.
    Whole(WholeBody),
    Guest(Box<GuestBody>),
    /// From the network, behind a plugin.
    Network(Box<NetworkBody>),
}

/// Why a message was broken off. hyper only needs to know that it was.
#[derive(Debug)]
pub struct ResponseBroken(ExchangeError);

impl ResponseBody {
    /// One that is here, the host's or a guest's, with the account of its exchange.
    pub(super) fn whole(bytes: Bytes, account: Option<Account>) -> Self {
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self::from(Source::Whole(WholeBody { bytes, is_held_back: false, account }))
    }

    /// A guest's that is still being written.
    pub(super) fn guest(body: GuestBody) -> Self {
        Self::from(Source::Guest(Box::new(body)))
    }

    /// One that comes from the network. With the account of a part that it ends, if it ends one.
    pub(super) fn network(body: WasiBody, account: Option<Account>) -> Self {
        Self::from(Source::Network(Box::new(NetworkBody { body, account })))
    }

    /// How many bytes it will have, if that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// Has it compressed on its way out. What is here and small is so at once, and needs no place any longer.
    pub(super) fn compress(&mut self, place: EncoderPlace) {
        let place = match &mut self.source {
            Source::Whole(whole) => whole.compress(place),
            Source::Guest(_) | Source::Network(_) => Some(place),
        };
        self.coding = place.map(|place| Box::new(BodyCoding::new(place)));
    }

    /// Takes all of it, if it is here.
    pub(super) fn take_whole(&mut self) -> Option<Bytes> {
        match &mut self.source {
            Source::Whole(whole) => Some(whole.take().unwrap_or_default()),
            Source::Guest(_) | Source::Network(_) => None,
        }
    }

    /// Waits for the moment when it is not to be held back any longer: its time is up, or its end was
    /// decided. Holds nothing of it.
    pub(super) fn is_overdue(&self) -> impl Future<Output = ()> + Send + 'static {
        let overdue = match &self.source {
            Source::Guest(body) => body.overdue(),
            // The client that fetches it has deadlines of its own.
            Source::Whole(_) | Source::Network(_) => None,
        };
        async move {
            match overdue {
                Some(overdue) => overdue.await,
                None => pending().await,
            }
        }
    }
}

/// The body of a response to a request that went out.
struct NetworkBody {
    body: WasiBody,
    account: Option<Account>,
}

/// All of a body. Dropping it before it was taken says that its peer has gone.
struct WholeBody {
    bytes: Option<Bytes>,
    /// Its encoder has not given all of it.
    is_held_back: bool,
    account: Option<Account>,
}

impl WholeBody {
    fn take(&mut self) -> Option<Bytes> {
        let bytes = self.bytes.take()?;
        self.sent(bytes.len());
        Some(bytes)
    }

    fn sent(&mut self, bytes: usize) {
        if let Some(account) = &mut self.account {
            account.sent(bytes);
        }
    }

    /// Compresses it here and now, if that takes no time to speak of. Gives the place back if it has not.
    fn compress(&mut self, place: EncoderPlace) -> Option<EncoderPlace> {
        let Some(small) = self.bytes.as_ref().filter(|bytes| bytes.len() <= AT_ONCE) else {
            return Some(place);
        };
        match host_compress::whole(place, small.clone()) {
            Ok(compressed) => {
                self.bytes = Some(compressed);
                None
            }
            Err(place) => Some(place),
        }
    }
}

impl Drop for WholeBody {
    fn drop(&mut self) {
        let is_owed = self.bytes.is_some() || self.is_held_back;
        if let (true, Some(account)) = (is_owed, &mut self.account) {
            account.lost();
        }
    }
}

impl Source {
    /// The next frame for hyper, of which the account is told.
    fn poll(
        &mut self,
        coding: &mut Option<Box<BodyCoding>>,
        cx: &mut Context<'_>,
    ) -> PolledFrame<Bytes, ExchangeError> {
        let frame = match coding {
            None => self.next(cx),
            Some(coding) => {
                let frame = coding.poll(cx, |cx| self.next(cx));
                self.set_held_back(!coding.has_ended());
                frame
            }
        };
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.sent(data.len());
        }
        frame
    }

    fn next(&mut self, cx: &mut Context<'_>) -> PolledFrame<Bytes, ExchangeError> {
        match self {
            Self::Whole(whole) => {
                Poll::Ready(whole.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Guest(body) => body.hand_over(cx),
            Self::Network(body) => Pin::new(&mut body.body)
                .poll_frame(cx)
                .map_err(|why| ExchangeError::BodyBroken(why.to_string())),
        }
    }

    fn sent(&mut self, bytes: usize) {
        match self {
            Self::Whole(whole) => whole.sent(bytes),
            Self::Guest(body) => body.sent(bytes),
            Self::Network(body) => {
                body.account.iter_mut().for_each(|account| account.sent(bytes));
            }
        }
    }

    fn set_held_back(&mut self, is_held_back: bool) {
        match self {
            Self::Whole(whole) => whole.is_held_back = is_held_back,
            Self::Guest(body) => body.set_held_back(is_held_back),
            Self::Network(_) => {}
        }
    }
}

impl From<Source> for ResponseBody {
    fn from(source: Source) -> Self {
        Self { source, coding: None, end: DelayedBreak::default() }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBroken>>> {
        let Self { source, coding, end } = &mut *self;
        match (source, coding) {
            (Source::Whole(whole), None) => {
                Poll::Ready(whole.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            (source, coding) => end.poll(cx, |cx| source.poll(coding, cx).map_err(ResponseBroken)),
        }
    }

    fn is_end_stream(&self) -> bool {
        if let Some(coding) = &self.coding {
            return coding.has_ended() && !self.end.is_due();
        }
        match &self.source {
            Source::Whole(whole) => whole.bytes.is_none(),
            // A guest may still fail before it has said that this was all.
            Source::Guest(body) => body.has_ended() && !self.end.is_due(),
            Source::Network(body) => body.body.is_end_stream() && !self.end.is_due(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.coding.is_some() {
            return SizeHint::default();
        }
        match &self.source {
            Source::Whole(whole) => {
                SizeHint::with_exact(whole.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Guest(body) => body.owed().map_or_else(SizeHint::default, SizeHint::with_exact),
            Source::Network(body) => body.body.size_hint(),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::Whole(_) => "ResponseBody::Whole",
            Source::Guest(_) => "ResponseBody::Guest",
            Source::Network(_) => "ResponseBody::Network",
        })
    }
}

impl fmt::Display for ResponseBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for ResponseBroken {}

/// The break of a body, held back for one turn. hyper throws away what it has not written yet when a body
/// breaks, the head too. A client that has seen nothing may take the request for one that was never
/// served, and send it again: so hyper gets a turn for writing first.
struct DelayedBreak<E>(Option<E>);

impl<E> Default for DelayedBreak<E> {
    fn default() -> Self {
        Self(None)
    }
}

impl<E> DelayedBreak<E> {
    fn is_due(&self) -> bool {
        self.0.is_some()
    }

    /// What `frame` gives, but for its error: that comes when this is polled next.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        frame: impl FnOnce(&mut Context<'_>) -> Poll<Option<Result<T, E>>>,
    ) -> Poll<Option<Result<T, E>>> {
        if let Some(broken) = self.0.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        match ready!(frame(cx)) {
            Some(Err(broken)) => {
                self.0 = Some(broken);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => Poll::Ready(frame),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[derive(Default)]
    struct BreaksAtOnce(DelayedBreak<fmt::Error>);

    impl Body for BreaksAtOnce {
        type Data = Bytes;
        type Error = fmt::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, fmt::Error>>> {
            self.0.poll(cx, |_| Poll::Ready(Some(Err(fmt::Error))))
        }
    }

    /// It did, whenever the guest failed in hyper's first look at its body: the client saw the
    /// connection close without a word.
    #[tokio::test]
    async fn a_break_does_not_outrun_the_head_on_its_way_to_the_client() {
        let service = service_fn(|_: Request<hyper::body::Incoming>| {
            let response = Response::new(BreaksAtOnce::default());
            std::future::ready(Ok::<_, std::convert::Infallible>(response))
        });
        let (mut client, server) = duplex(1024);
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let served = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(server), service)
            .await;
        assert!(served.is_err_and(|why| why.is_user()), "the message is broken");
        let mut seen = String::new();
        client.read_to_string(&mut seen).await.unwrap();
        assert!(seen.starts_with("HTTP/1.1 200 OK\r\n") && seen.ends_with("\r\n\r\n"), "{seen}");
    }
}
