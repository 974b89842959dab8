//! The guest's body of a request: looked at before its head is written, counted against the length that
//! the head says, and kept as far as it has been sent, so that the request can be sent again.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use host_clock::Moment;
use http::HeaderMap;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time;

use crate::error::{Other, SendError};
use crate::head::strip_trailers;

/// What is kept of a body for another attempt: one write of a guest, and more than forms and calls of
/// APIs have. A longer one is sent once.
const KEPT: usize = 64 * 1024;

/// How long a head waits for the first piece of its body, or the end of it. A guest that writes as soon
/// as it has handed the request over is waited for, so that a body without a byte is none on the wire.
/// One that wants to see the response first loses this once.
pub(crate) const FIRST_PIECE: Duration = Duration::from_millis(100);

/// What a body turns out to be before its head is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// No byte and no trailers.
    Empty,
    /// All of it is there: so many bytes.
    Whole(u64),
    /// There is or may be more.
    Streamed,
}

/// A guest's body. All clones are one.
#[derive(Clone)]
pub(crate) struct ReplayBody(Arc<Mutex<State>>);

struct State {
    /// None once it has ended or failed.
    body: Option<UnsyncBoxBody<Bytes, SendError>>,
    /// What has come, from the beginning; nothing once that has become too much.
    kept: Vec<Piece>,
    /// Pieces that are no longer kept.
    gone: usize,
    /// Bytes that have come.
    bytes: u64,
    /// Pieces that an attempt has taken, at most.
    taken: usize,
    /// When the last one of these was; the beginning, if there is none. Sending one again is no progress.
    moved: Moment,
    declared: Option<u64>,
    failure: Option<SendError>,
    attempt: u32,
    /// Nothing is kept any more.
    forgets: bool,
}

#[derive(Clone)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Piece {
    fn size(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(trailers) => {
                trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
            }
        }
    }

    fn into_frame(self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data),
            Self::Trailers(trailers) => Frame::trailers(trailers),
        }
    }
}

impl ReplayBody {
    pub(crate) fn new<B>(body: B, declared: Option<u64>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Other>,
    {
        let body = (!body.is_end_stream()).then(|| {
            body.map_err(|error| SendError::RequestBody(Arc::from(error.into()))).boxed_unsync()
        });
        Self(Arc::new(Mutex::new(State {
            body,
            kept: Vec::new(),
            gone: 0,
            bytes: 0,
            taken: 0,
            moved: Moment::now(),
            declared,
            failure: None,
            attempt: 0,
            forgets: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks what there is, for up to `wait` if nothing is. Nothing is lost: an attempt begins with it.
    pub(crate) async fn look(&self, wait: Duration) -> Result<Shape, SendError> {
        let looked = time::timeout(wait, poll_fn(|cx| self.state().poll_shape(cx))).await;
        looked.unwrap_or(Ok(Shape::Streamed))
    }

    /// For one more attempt, with its number.
    pub(crate) fn again(&self) -> (Self, u32) {
        let mut state = self.state();
        state.attempt += 1;
        (self.clone(), state.attempt)
    }

    /// The piece number `at` of the body, for an attempt.
    pub(crate) fn poll_frame(
        &self,
        attempt: u32,
        at: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        let mut state = self.state();
        if attempt != state.attempt {
            let other = SendError::Incomplete("it is sent over another connection".into());
            return Poll::Ready(Some(Err(other)));
        }
        state.poll_frame(at, cx)
    }

    /// When it last made progress.
    pub(crate) fn moved(&self) -> Moment {
        self.state().moved
    }

    /// Nothing of it has been handed to a connection.
    pub(crate) fn is_untouched(&self) -> bool {
        self.state().taken == 0
    }

    /// It can be sent from its beginning.
    pub(crate) fn is_replayable(&self) -> bool {
        let state = self.state();
        state.gone == 0 && state.failure.is_none()
    }

    /// Why it failed, if it did: a better reason than what the connection says then.
    pub(crate) fn failure(&self) -> Option<SendError> {
        self.state().failure.clone()
    }

    /// It will not be sent again: what is kept for that is let go.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.forgets = true;
        state.drop_taken();
    }
}

impl State {
    fn poll_shape(&mut self, cx: &mut Context<'_>) -> Poll<Result<Shape, SendError>> {
        loop {
            if self.body.is_none() {
                return Poll::Ready(match &self.failure {
                    Some(failure) => Err(failure.clone()),
                    None => Ok(self.shape()),
                });
            }
            if self.kept.iter().map(Piece::size).sum::<usize>() >= KEPT {
                return Poll::Ready(Ok(Shape::Streamed));
            }
            match self.poll_body(cx) {
                Poll::Pending if self.kept.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(Shape::Streamed)),
                Poll::Ready(_) => {}
            }
        }
    }

    /// Of a body that has ended, none of which was taken.
    fn shape(&self) -> Shape {
        match self.kept.last() {
            None => Shape::Empty,
            Some(Piece::Trailers(_)) => Shape::Streamed,
            Some(Piece::Data(_)) => Shape::Whole(self.bytes),
        }
    }

    fn poll_frame(
        &mut self,
        at: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        // What is gone has been taken by this attempt: one that would begin behind it is not made.
        while at.saturating_sub(self.gone) >= self.kept.len() {
            if let Some(failure) = &self.failure {
                return Poll::Ready(Some(Err(failure.clone())));
            }
            if self.body.is_none() {
                return Poll::Ready(None);
            }
            if self.poll_body(cx).is_pending() {
                return Poll::Pending;
            }
        }
        let piece = self.kept.get(at.saturating_sub(self.gone)).cloned();
        if at >= self.taken {
            (self.taken, self.moved) = (at + 1, Moment::now());
        }
        if self.forgets || self.kept.iter().map(Piece::size).sum::<usize>() > KEPT {
            self.drop_taken();
        }
        Poll::Ready(piece.map(|piece| Ok(piece.into_frame())))
    }

    /// Takes a piece from the guest, its end, or its failure.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(body) = &mut self.body else { return Poll::Ready(()) };
        let Poll::Ready(polled) = std::pin::Pin::new(body).poll_frame(cx) else {
            return Poll::Pending;
        };
        match polled {
            None => self.end(),
            Some(Err(failure)) => self.fail(failure),
            // Nothing in HTTP/1, where it would be an end; in HTTP/2 a frame that costs memory. A guest
            // that sends nothing else must not keep the thread.
            Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Ok(frame)) => self.keep(frame),
        }
        Poll::Ready(())
    }

    fn keep(&mut self, frame: Frame<Bytes>) {
        let piece = match frame.into_data() {
            Ok(data) => {
                self.bytes =
                    self.bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
                Piece::Data(data)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    strip_trailers(&mut trailers);
                    Piece::Trailers(trailers)
                }
                Err(_) => return,
            },
        };
        match self.declared {
            // Not one byte behind the length, where the next request would begin (RFC 9112 §6.3).
            Some(said) if self.bytes > said => {
                self.fail(SendError::BodyLength { said, bytes: self.bytes });
            }
            _ => self.kept.push(piece),
        }
    }

    fn end(&mut self) {
        match self.declared {
            Some(said) if self.bytes < said => {
                self.fail(SendError::BodyLength { said, bytes: self.bytes });
            }
            _ => self.body = None,
        }
    }

    fn fail(&mut self, failure: SendError) {
        self.body = None;
        self.failure = Some(failure);
    }

    /// Lets go of what the attempt has taken; from then on there is no other.
    fn drop_taken(&mut self) {
        let taken = self.taken.saturating_sub(self.gone).min(self.kept.len());
        self.kept.drain(..taken);
        self.gone += taken;
    }
}
