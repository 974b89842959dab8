//! One connection of an operator: hyper speaks HTTP/1.1, the deadlines are ours.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};

use super::reply::Reply;

/// From accept, or from the first byte of a later request, to the end of its head; and the same
/// again for a body. Operators' tools are near and send both at once.
pub(super) const REQUEST_IN: Duration = Duration::from_secs(5);

/// Between two requests.
const IDLE: Duration = Duration::from_secs(30);

/// A peer that takes no byte of an answer for this long is given up.
const STALLED: Duration = Duration::from_secs(5);

/// Requests are short lines; hyper's own bound is 400 KiB.
const LARGEST_HEAD: usize = 16 * 1024;

/// After the last answer, what the peer still sends is read for this long and this far: a close with
/// unread bytes may erase the answer.
const DISCARD_FOR: Duration = Duration::from_millis(500);
const DISCARD_AT_MOST: u64 = 1024 * 1024;

/// Serves requests until the peer leaves or a deadline passes. Dropping the future drops the
/// connection.
pub(super) async fn serve<I, H, F>(io: I, handler: H)
where
    I: AsyncRead + AsyncWrite + Unpin + Send,
    H: Fn(Request<Incoming>) -> F + Send,
    F: Future<Output = Response<Reply>> + Send,
{
    let pace = Pace::begin();
    let service = service_fn(|request| {
        pace.enter(Stage::Working);
        let (pace, answer) = (pace.clone(), handler(request));
        async move { Ok::<_, std::convert::Infallible>(answer.await.map(|body| Paced { body, pace })) }
    });
    let io = TokioIo::new(PacedIo { io, pace: pace.clone() });
    let mut connection =
        http1::Builder::new().max_buf_size(LARGEST_HEAD).serve_connection(io, service);
    let mut timer = std::pin::pin!(sleep_until(Instant::now() + IDLE));
    let in_time = std::future::poll_fn(|task| {
        if Pin::new(&mut connection).poll(task).is_ready() {
            return Poll::Ready(true);
        }
        let Some(due) = pace.due() else { return Poll::Pending };
        if due != timer.deadline() {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(task).map(|()| false)
    });
    if in_time.await {
        discard(connection.into_parts().io.into_inner().io).await;
    }
}

async fn discard(io: impl AsyncRead + Unpin) {
    let mut rest = io.take(DISCARD_AT_MOST);
    let mut nowhere = tokio::io::sink();
    // However it ends, the connection is over.
    drop(timeout(DISCARD_FOR, tokio::io::copy(&mut rest, &mut nowhere)).await);
}

/// What a connection waits for, shared by its socket, its service and its answers.
#[derive(Clone)]
struct Pace(Arc<Mutex<State>>);

struct State {
    stage: Stage,
    /// Since when the peer takes no bytes.
    blocked: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Stage {
    /// A head that has begun, or the first one.
    Head { until: Instant },
    /// The next request.
    Idle { until: Instant },
    /// The handler, which has bounds of its own, or the rest of its answer.
    Working,
}

impl Pace {
    fn begin() -> Self {
        let stage = Stage::Head { until: Instant::now() + REQUEST_IN };
        Self(Arc::new(Mutex::new(State { stage, blocked: None })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, stage: Stage) {
        self.state().stage = stage;
    }

    /// Bytes have come: the first ones of a request begin its time.
    fn read(&self) {
        let mut state = self.state();
        if matches!(state.stage, Stage::Idle { .. }) {
            state.stage = Stage::Head { until: Instant::now() + REQUEST_IN };
        }
    }

    fn wrote(&self, blocked: bool) {
        let mut state = self.state();
        state.blocked = blocked.then(|| state.blocked.unwrap_or_else(Instant::now));
    }

    fn due(&self) -> Option<Instant> {
        let state = self.state();
        match (state.blocked, state.stage) {
            (Some(since), _) => Some(since + STALLED),
            (None, Stage::Head { until } | Stage::Idle { until }) => Some(until),
            (None, Stage::Working) => None,
        }
    }
}

pin_project_lite::pin_project! {
    /// An answer. When it has been handed over or dropped, the next request is waited for.
    struct Paced {
        #[pin]
        body: Reply,
        pace: Pace,
    }

    impl PinnedDrop for Paced {
        fn drop(this: Pin<&mut Self>) {
            this.pace.enter(Stage::Idle { until: Instant::now() + IDLE });
        }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.project().body.poll_frame(task)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The socket, watched.
struct PacedIo<I> {
    io: I,
    pace: Pace,
}

impl<I: AsyncRead + Unpin> AsyncRead for PacedIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(task, buffer);
        if buffer.filled().len() > before {
            self.pace.read();
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for PacedIo<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(task, bytes);
        self.pace.wrote(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(task)
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
