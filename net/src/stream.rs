//! The byte stream of a connection: a socket, or a TLS session over one. Both have the same surface, so that the
//! protocols, the looks into the kernel and the close are the same over both.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::BufMut;

use super::socket::{Sending, Socket, Unread};
use super::tls::TlsSession;

/// Dropping it closes the socket.
#[derive(Debug)]
pub(super) enum ByteStream {
    Plain(Socket),
    Tls(Box<TlsSession>),
}

impl ByteStream {
    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(session) => session.socket(),
        }
    }

    /// Reads into `buffer` what fits. 0 bytes are the end.
    #[inline]
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut impl BufMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_read(cx, buffer),
            Self::Tls(session) => session.poll_read(cx, buffer),
        }
    }

    /// Takes bytes to write, and tells what becomes of them. What was taken and waits is owed until
    /// [`Self::poll_flush`] is ready.
    #[inline]
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        tell: impl Fn(Sending),
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => {
                let written = ready!(socket.poll_write(cx, slices, || tell(Sending::Blocked)))?;
                tell(Sending::Taken(written));
                Poll::Ready(Ok(written))
            }
            Self::Tls(session) => session.poll_write(cx, slices, &tell),
        }
    }

    /// Hands the kernel all that was taken.
    #[inline]
    pub(super) fn poll_flush(
        &self,
        cx: &mut Context<'_>,
        tell: impl Fn(Sending),
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(session) => session.poll_flush(cx, &tell),
        }
    }

    /// Says behind all that was written that nothing more will be.
    pub(super) fn poll_finish(
        &self,
        cx: &mut Context<'_>,
        tell: impl Fn(Sending),
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Poll::Ready(socket.finish()),
            Self::Tls(session) => session.poll_finish(cx, &tell),
        }
    }

    /// Reads what is there.
    pub(super) fn try_read(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_read(buffer),
            Self::Tls(session) => session.try_read(buffer),
        }
    }

    /// Writes what can be written now.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_write(&[IoSlice::new(bytes)]),
            Self::Tls(session) => session.try_write(bytes),
        }
    }

    /// Waits until there is something to read, be it the end. Cancel-safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.readable().await,
            Self::Tls(session) => session.readable().await,
        }
    }

    /// Waits until something can be written. Cancel-safe.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.socket().writable().await
    }

    /// Looks for bytes of the peer that nobody has read, past everything that the reactor may not have said yet. For
    /// the connection's own task.
    pub(super) fn unread(&self) -> Unread {
        match self {
            Self::Plain(socket) => socket.unread(),
            Self::Tls(session) => session.unread(),
        }
    }

    /// Whether the kernel has bytes of the peer, whatever they are. For any task.
    pub(super) fn kernel_has_bytes(&self) -> bool {
        self.socket().unread() == Unread::Bytes
    }

    #[inline]
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether part of a TLS record is here, and nothing before it that could be read.
    pub(super) fn has_half_record(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(session) => session.has_half_record(),
        }
    }

    /// Whether the kernel would take bytes, past everything that the reactor may not have said yet.
    pub(super) fn takes_bytes(&self) -> bool {
        self.socket().takes_bytes()
    }

    /// Waits until the peer has reset the connection. Cancel-safe.
    pub(super) async fn broken(&self) {
        self.socket().broken().await;
    }

    /// Makes the close a reset: for a message whose end the peer could only know from the close.
    pub(super) fn reset_on_close(&self) {
        self.socket().reset_on_close();
    }
}
