//! HTTP/1's byte stream as hyper sees it: what the state of the connection says is due, and no more.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BufMut as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection_state::Due;
use super::h1::Link;

/// hyper's end of a connection. Dropping it leaves the socket open: the connection closes it.
#[derive(Debug)]
pub(super) struct Wire(Arc<Link>);

impl Wire {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self(link)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let link = &self.0;
        loop {
            let most = match link.state().due(buffer.remaining()) {
                // The driver polls hyper again when something is.
                Due::Nothing => return Poll::Pending,
                Due::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                Due::UpTo(most) => most,
            };
            let ahead = link.state().take_ahead(most);
            if !ahead.is_empty() {
                buffer.put_slice(&ahead);
                return Poll::Ready(Ok(()));
            }
            if link.state().has_ahead() {
                // Malformed from its first byte.
                continue;
            }
            let before = buffer.filled().len();
            ready!(link.socket.poll_read(cx, &mut (&mut *buffer).limit(most)))?;
            let fresh = &buffer.filled()[before..];
            if fresh.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let given = link.state().receive(fresh);
            buffer.set_filled(before + given);
            // Nothing at all would tell hyper of the end.
            if given > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let link = &self.0;
        let written = ready!(link.socket.poll_write(cx, slices, || link.state().blocked()))?;
        link.state().wrote(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper asks for this when all that it had to write is taken.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.state().flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.socket.finish())
    }
}
