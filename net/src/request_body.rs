//! The body of a request, on its way from hyper to the service.
//!
//! hyper's body stays with the connection, in a [`Pump`]; the service holds the other end of a channel.
//! So the body ends when the connection says so, whatever becomes of the service's end: the last frame of
//! an answer ends the exchange, and what is still to come of its request is read and thrown away.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::PollSender;

/// Frames that wait for the service. One, so that a peer goes no faster than who reads.
const FRAMES: usize = 1;

/// Frames taken in one go, before others get their turn.
const FRAMES_IN_A_ROW: usize = 32;

/// A request's body, as the service is handed it.
///
/// Dropping it before its end makes the answer say that the connection closes, unless all of the body is
/// here already; [`RequestBody::discard`] keeps the connection.
///
/// Ends with [`BodyError::Over`] when the last frame of the answer has been handed over before the body
/// has ended (RFC 9110 §7.5: the exchange is over with its answer).
#[derive(Debug)]
pub struct RequestBody {
    /// None at the end.
    pieces: Option<mpsc::Receiver<Piece>>,
    /// Tells that the body is wanted, where its peer waits for that.
    ask: Option<oneshot::Sender<()>>,
    /// What is still to come, where the peer has said so.
    left: Option<u64>,
    /// None where there is no body.
    hold: Option<Arc<AtomicU8>>,
    /// Whether we let the peer send nothing.
    held_back: Option<Arc<AtomicBool>>,
}

/// How the service holds a body.
#[repr(u8)]
enum Hold {
    /// It may read it.
    Held,
    /// It does not want the rest, which is read all the same.
    Discarded,
    /// It does not want the rest.
    Abandoned,
}

/// Why a body did not come to its end.
#[derive(Debug)]
pub enum BodyError {
    /// The peer went away, or sent what is no body.
    Peer(hyper::Error),
    /// The answer has ended first.
    Over,
}

/// What goes through the channel. An end without [`Piece::End`] is that of the exchange.
#[derive(Debug)]
enum Piece {
    Frame(Frame<Bytes>),
    End,
    Broken(hyper::Error),
}

/// The connection's end of a body. Dropping it ends the body: hyper then closes the connection, unless
/// the body has been read to its end.
#[derive(Debug)]
pub(super) struct Pump {
    body: Incoming,
    /// None when the rest is thrown away.
    to: Option<PollSender<Piece>>,
    /// The peer sends nothing until the service asks for it (RFC 9110 §10.1.1).
    asked: Option<oneshot::Receiver<()>>,
    hold: Arc<AtomicU8>,
}

/// The body for the service, and what has to be polled for it to get its frames: nothing where there is
/// no body. `expects` is whether the peer waits until it is asked for it; `held_back` tells of the rest of its
/// life whether the peer may send nothing.
pub(super) fn split(
    body: Incoming,
    expects: bool,
    held_back: Option<&Arc<AtomicBool>>,
) -> (RequestBody, Option<Pump>) {
    if body.is_end_stream() {
        let none =
            RequestBody { pieces: None, ask: None, left: Some(0), hold: None, held_back: None };
        return (none, None);
    }
    let hold = Arc::new(AtomicU8::new(Hold::Held as u8));
    let left = body.size_hint().exact();
    let (send, pieces) = mpsc::channel(FRAMES);
    let (ask, asked) = if expects {
        let (ask, asked) = oneshot::channel();
        (Some(ask), Some(asked))
    } else {
        (None, None)
    };
    let pump = Pump { body, to: Some(PollSender::new(send)), asked, hold: hold.clone() };
    let held_back = held_back.cloned();
    (RequestBody { pieces: Some(pieces), ask, left, hold: Some(hold), held_back }, Some(pump))
}

impl RequestBody {
    /// A body that a task of its own reads, in place of a connection: for tests of a service.
    #[must_use]
    pub fn pumped(body: Incoming) -> Self {
        let (body, pump) = split(body, false, None);
        if let Some(mut pump) = pump {
            tokio::spawn(std::future::poll_fn(move |cx| pump.poll(cx)));
        }
        body
    }

    /// Whether the peer may send. Over HTTP/2 it may not while other uploads on its connection, which nobody
    /// reads, fill the window that all of them share (RFC 9113 §6.9).
    #[inline]
    pub fn may_be_sent(&self) -> bool {
        self.held_back.as_ref().is_none_or(|held_back| !held_back.load(Ordering::Acquire))
    }

    /// Nobody wants the rest. It is read and thrown away, so that the connection can go on behind it.
    pub fn discard(self) {
        if let Some(hold) = &self.hold {
            hold.store(Hold::Discarded as u8, Ordering::Release);
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(hold) = &self.hold else { return };
        let (held, abandoned) = (Hold::Held as u8, Hold::Abandoned as u8);
        hold.compare_exchange(held, abandoned, Ordering::AcqRel, Ordering::Acquire).ok();
    }
}

impl Pump {
    /// Passes on what has come. Ready when nothing more is to be done: the body has ended, or its peer
    /// was never asked for it and never will be.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..FRAMES_IN_A_ROW {
            if let Some(asked) = &mut self.asked {
                match ready!(Pin::new(asked).poll(cx)) {
                    Ok(()) => self.asked = None,
                    Err(_) => return Poll::Ready(()),
                }
            }
            if let Some(to) = &mut self.to
                && ready!(to.poll_reserve(cx)).is_err()
            {
                self.to = None;
            }
            let (piece, is_last) = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => (Piece::Frame(frame), false),
                Some(Err(why)) => (Piece::Broken(why), true),
                None => (Piece::End, true),
            };
            // Nobody has to take it.
            let sent = self.to.as_mut().map(|to| to.send_item(piece));
            drop(sent);
            if is_last {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the peer waits for nothing of ours any more before it sends.
    pub(super) fn is_asked_for(&self) -> bool {
        self.asked.is_none()
    }

    /// Whether the service has dropped the body, and does not care what becomes of the connection.
    pub(super) fn is_abandoned(&self) -> bool {
        self.hold.load(Ordering::Acquire) == Hold::Abandoned as u8
    }

    /// The exchange is over. Reads and discards the rest, until nothing has come of it for `pause`.
    pub(super) async fn discard_until_pause(mut self, pause: Duration) {
        while let Ok(Some(Ok(_))) = timeout(pause, self.body.frame()).await {}
    }

    /// The exchange is over: the service gets nothing more, and polling reads and discards the rest.
    pub(super) fn discarding(mut self) -> Self {
        self.to = None;
        self.asked = None;
        self
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    #[inline]
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(ask) = self.ask.take() {
            // Where nobody hears it, the channel says why.
            ask.send(()).ok();
        }
        let Some(pieces) = &mut self.pieces else { return Poll::Ready(None) };
        let end = match ready!(pieces.poll_recv(cx)) {
            Some(Piece::Frame(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.left = self.left.map(|left| left.saturating_sub(bytes));
                return Poll::Ready(Some(Ok(frame)));
            }
            Some(Piece::End) => None,
            Some(Piece::Broken(why)) => Some(Err(BodyError::Peer(why))),
            None => Some(Err(BodyError::Over)),
        };
        self.pieces = None;
        Poll::Ready(end)
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.pieces.is_none()
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(why) => why.fmt(f),
            Self::Over => f.write_str("the answer has ended before the request's body"),
        }
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Peer(why) => Some(why),
            Self::Over => None,
        }
    }
}
