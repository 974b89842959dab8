//! The body of a request on its way out, and the book of how far it is.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::error::{Other, SendError};
use crate::head::strip_trailers;

/// The body of a request. Dropping it says that there is nothing more to send, for good or ill.
pub(crate) struct Upload {
    body: UnsyncBoxBody<Bytes, SendError>,
    /// It had no body from the beginning.
    empty: bool,
    progress: Arc<Progress>,
}

/// How far an upload is. The request counts as long as one of these is held: by the upload, and by
/// whoever reads the response.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Mutex<State>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct State {
    moved: Instant,
    ended: bool,
    cancelled: bool,
    waker: Option<Waker>,
}

impl Upload {
    pub(crate) fn new<B>(body: B, permit: OwnedSemaphorePermit) -> (Self, Arc<Progress>)
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Other>,
    {
        let state = State { moved: Instant::now(), ended: false, cancelled: false, waker: None };
        let progress = Arc::new(Progress { state: Mutex::new(state), _permit: permit });
        let empty = body.is_end_stream();
        let body = body.map_err(|error| SendError::RequestBody(Arc::from(error.into())));
        (Self { body: body.boxed_unsync(), empty, progress: Arc::clone(&progress) }, progress)
    }
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the last piece was taken; the beginning, if none was.
    pub(crate) fn moved(&self) -> Instant {
        self.state().moved
    }

    /// Whether nothing more will be sent.
    pub(crate) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// The upload fails when it is next asked for a piece, which is now, unless the peer takes none.
    pub(crate) fn cancel(&self) {
        let waker = {
            let mut state = self.state();
            state.cancelled = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = SendError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        let mut state = this.progress.state();
        if state.cancelled {
            return Poll::Ready(Some(Err(SendError::Incomplete(
                "nobody reads the response".into(),
            ))));
        }
        match polled {
            Poll::Pending => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            // Nothing in HTTP/1; in HTTP/2 a frame that costs memory. It is no progress.
            Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(Bytes::is_empty) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Some(Ok(mut frame))) => {
                state.moved = Instant::now();
                if let Some(trailers) = frame.trailers_mut() {
                    strip_trailers(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            other @ Poll::Ready(_) => other,
        }
    }

    /// What it was when the head was judged. hyper asks when there is a connection, and does not count
    /// the bytes of a body that says it has ended.
    fn is_end_stream(&self) -> bool {
        self.empty
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.progress.state().ended = true;
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("progress", &self.progress).finish_non_exhaustive()
    }
}
