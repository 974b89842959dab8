//! The byte stream of a connection as hyper sees it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a protocol does with the bytes that hyper reads and writes.
pub(super) trait Transport {
    /// Gives hyper bytes of the peer. None at all are the end.
    fn poll_read(&self, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>>;

    /// Takes of hyper's bytes what may be written now.
    fn poll_write(&self, task: &mut Context<'_>, slices: &[IoSlice<'_>])
    -> Poll<io::Result<usize>>;

    /// Waits until the kernel has taken all that hyper had to write, and takes note of it.
    fn poll_flush(&self, task: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Says that nothing more will be written.
    fn poll_finish(&self, task: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// hyper's end of a connection. Dropping it leaves the socket open: the connection closes it.
#[derive(Debug)]
pub(super) struct Wire<T>(Arc<T>);

impl<T> Wire<T> {
    pub(super) fn new(transport: Arc<T>) -> Self {
        Self(transport)
    }
}

impl<T: Transport> AsyncRead for Wire<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(task, buffer)
    }
}

impl<T: Transport> AsyncWrite for Wire<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(task, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(task, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper and h2 ask for this when all that they had to write is taken.
    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(task)
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_finish(task)
    }
}
