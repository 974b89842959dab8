//! One connection of an operator: hyper speaks HTTP/1.1, the deadlines are ours.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};

use super::deadlines::Deadlines;
use super::reply::ReplyBody;

/// Requests are short lines; hyper's own bound is 400 KiB.
const LARGEST_HEAD: usize = 16 * 1024;

/// After the last answer, what the peer still sends is read for this long and this far: a close with
/// unread bytes may erase the answer.
const DISCARD_FOR: Duration = Duration::from_millis(500);
const DISCARD_AT_MOST: u64 = 1024 * 1024;

/// Serves requests until the peer leaves or a deadline passes. The handler tells `deadlines` when it has
/// the whole request. Dropping the future drops the connection.
pub(super) async fn serve<I, H, F>(io: I, deadlines: Deadlines, handler: H)
where
    I: AsyncRead + AsyncWrite + Unpin + Send,
    H: Fn(Request<Incoming>) -> F + Send,
    F: Future<Output = Response<ReplyBody>> + Send,
{
    let service = service_fn(|request| {
        deadlines.head_received();
        let (deadlines, answer) = (deadlines.clone(), handler(request));
        async move { Ok::<_, Infallible>(answer.await.map(|body| body.told_to(deadlines))) }
    });
    let io = TokioIo::new(TimedIo { io, deadlines: deadlines.clone() });
    let mut connection =
        http1::Builder::new().max_buf_size(LARGEST_HEAD).serve_connection(io, service);
    let mut timer = std::pin::pin!(sleep_until(Instant::now()));
    let peer_left = std::future::poll_fn(|task| {
        if Pin::new(&mut connection).poll(task).is_ready() {
            return Poll::Ready(true);
        }
        let Some(deadline) = deadlines.deadline() else { return Poll::Pending };
        if deadline != timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(task).map(|()| false)
    });
    if peer_left.await {
        discard(connection.into_parts().io.into_inner().io).await;
    }
}

async fn discard(io: impl AsyncRead + Unpin) {
    let mut rest = io.take(DISCARD_AT_MOST);
    let mut nowhere = tokio::io::sink();
    // However it ends, the connection is over.
    drop(timeout(DISCARD_FOR, tokio::io::copy(&mut rest, &mut nowhere)).await);
}

/// The socket. It tells the deadlines when bytes come and go.
struct TimedIo<I> {
    io: I,
    deadlines: Deadlines,
}

impl<I: AsyncRead + Unpin> AsyncRead for TimedIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(task, buffer);
        if buffer.filled().len() > before {
            self.deadlines.bytes_read();
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for TimedIo<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(task, bytes);
        self.deadlines.bytes_written(written.is_pending());
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
