//! One connection of an operator: hyper speaks HTTP/1.1, the deadlines are ours.

use std::io;
use std::pin::Pin;
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

use super::pace::Pace;
use super::reply::Reply;

/// Requests are short lines; hyper's own bound is 400 KiB.
const LARGEST_HEAD: usize = 16 * 1024;

/// After the last answer, what the peer still sends is read for this long and this far: a close with
/// unread bytes may erase the answer.
const DISCARD_FOR: Duration = Duration::from_millis(500);
const DISCARD_AT_MOST: u64 = 1024 * 1024;

/// Serves requests until the peer leaves or a deadline passes. `pace` tells others how far it is; a
/// handler says by it when it has the whole request. Dropping the future drops the connection.
pub(super) async fn serve<I, H, F>(io: I, pace: Pace, handler: H)
where
    I: AsyncRead + AsyncWrite + Unpin + Send,
    H: Fn(Request<Incoming>) -> F + Send,
    F: Future<Output = Response<Reply>> + Send,
{
    let service = service_fn(|request| {
        pace.has_head();
        let (pace, answer) = (pace.clone(), handler(request));
        async move { Ok::<_, std::convert::Infallible>(answer.await.map(|body| Paced { body, pace })) }
    });
    let io = TokioIo::new(PacedIo { io, pace: pace.clone() });
    let mut connection =
        http1::Builder::new().max_buf_size(LARGEST_HEAD).serve_connection(io, service);
    let mut timer = std::pin::pin!(sleep_until(Instant::now()));
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

pin_project_lite::pin_project! {
    /// An answer. When it has been handed over or dropped, the next request is waited for.
    struct Paced {
        #[pin]
        body: Reply,
        pace: Pace,
    }

    impl PinnedDrop for Paced {
        fn drop(this: Pin<&mut Self>) {
            this.pace.idles();
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
