//! A connection with a hook on its reads and writes: what stands between a socket and HTTP forwards bytes in
//! one place.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection with what is added to its operations.
#[derive(Debug)]
pub(crate) struct HookedIo<T, H> {
    pub(crate) io: T,
    pub(crate) hook: H,
}

/// What a [`HookedIo`] adds to the operations of the connection under it. An operation that a hook leaves alone goes through.
pub(crate) trait IoHook<T> {
    /// A read.
    fn read(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>;

    /// A write, of one piece or of several.
    fn write(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
        operation: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>>
    where
        T: Unpin,
    {
        operation(Pin::new(io), cx)
    }

    /// A flush, or the end of what is written.
    fn finish(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
        operation: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>>
    where
        T: Unpin,
    {
        operation(Pin::new(io), cx)
    }
}

impl<T: AsyncRead + Unpin, H: IoHook<T> + Unpin> AsyncRead for HookedIo<T, H> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, hook } = self.get_mut();
        hook.read(io, cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin, H: IoHook<T> + Unpin> AsyncWrite for HookedIo<T, H> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { io, hook } = self.get_mut();
        hook.write(io, cx, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, hook } = self.get_mut();
        hook.finish(io, cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, hook } = self.get_mut();
        hook.finish(io, cx, AsyncWrite::poll_shutdown)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { io, hook } = self.get_mut();
        hook.write(io, cx, |io, cx| io.poll_write_vectored(cx, bytes))
    }
}
