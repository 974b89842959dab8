//! The body of a request on its way out, and the record of how far it is.
//!
//! ```text
//! guest's body ─→ ReplayBody (keeps what was taken, up to a bound) ─→ Upload of attempt 1, 2, … ─→ hyper
//! ```

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use host_clock::Moment;
use http_body::{Body, Frame, SizeHint};
use hyper_util::client::legacy::connect::CaptureConnection;
use tokio::sync::OwnedSemaphorePermit;

use crate::counted::ConnectionRecord;
use crate::error::SendError;
use crate::replay::ReplayBody;

/// The body of a request in one attempt to send it. Dropping it says that there is nothing more to
/// send, for good or ill.
pub(crate) struct Upload {
    source: ReplayBody,
    attempt: u32,
    /// Frames of the source that this attempt has taken.
    at: usize,
    empty: bool,
    progress: Arc<UploadProgress>,
    connection: Option<CaptureConnection>,
}

/// How far an upload is. The request counts as long as one of these is held: by the upload, and by
/// the body of the response.
#[derive(Debug)]
pub(crate) struct UploadProgress {
    state: Mutex<State>,
    /// What had been read from the connection when the request began on it.
    read_before: AtomicU64,
    _permit: Arc<OwnedSemaphorePermit>,
}

#[derive(Debug)]
struct State {
    moved: Moment,
    /// hyper has asked for the body.
    asked: bool,
    /// There is none.
    empty: bool,
    ended: bool,
    cancelled: bool,
    waker: Option<Waker>,
}

impl Upload {
    /// The next attempt to send a body; earlier ones get nothing more of it. `empty`: there is none,
    /// as was found out before.
    pub(crate) fn new(
        source: &ReplayBody,
        empty: bool,
        permit: Arc<OwnedSemaphorePermit>,
    ) -> (Self, Arc<UploadProgress>) {
        let state = State {
            moved: source.moved(),
            asked: false,
            empty,
            ended: false,
            cancelled: false,
            waker: None,
        };
        let (state, read_before) = (Mutex::new(state), AtomicU64::new(0));
        let progress = Arc::new(UploadProgress { state, read_before, _permit: permit });
        let (source, attempt) = source.again();
        let upload =
            Self { source, attempt, at: 0, empty, progress: progress.clone(), connection: None };
        (upload, progress)
    }

    /// Says which connection the request is given.
    pub(crate) fn goes_over(&mut self, connection: CaptureConnection) {
        self.connection = Some(connection);
    }
}

impl UploadProgress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the last piece was taken; the beginning, if none was.
    pub(crate) fn moved(&self) -> Moment {
        self.state().moved
    }

    /// Whether nothing more will be sent.
    pub(crate) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// Whether the request went out without so much as a look at its body.
    pub(crate) fn was_left_out(&self) -> bool {
        let state = self.state();
        state.ended && !state.asked && !state.empty
    }

    /// Bytes that had been read from the connection when the request began on it.
    pub(crate) fn read_before(&self) -> u64 {
        self.read_before.load(Ordering::Acquire)
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
        let polled = this.source.poll_frame(this.attempt, this.at, cx);
        let mut state = this.progress.state();
        state.asked = true;
        if state.cancelled {
            return Poll::Ready(Some(Err(SendError::Incomplete(
                "nobody reads the response".into(),
            ))));
        }
        match &polled {
            Poll::Pending => state.waker = Some(cx.waker().clone()),
            Poll::Ready(Some(Ok(_))) => {
                state.moved = this.source.moved();
                this.at += 1;
            }
            Poll::Ready(_) => {}
        }
        polled
    }

    /// hyper asks first when it begins the request on a connection, and does not count the bytes of a
    /// body that says then that it has ended.
    fn is_end_stream(&self) -> bool {
        if self.at == 0
            && !self.progress.state().asked
            && let Some(record) = self.connection.as_ref().and_then(ConnectionRecord::captured)
        {
            self.progress.read_before.store(record.read_so_far(), Ordering::Release);
        }
        self.empty
    }

    /// Framing is said in the head, and hyper is to add nothing to it.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
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
