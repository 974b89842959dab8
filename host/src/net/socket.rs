//! One stream socket, TCP or Unix, that several owners may look at: the protocol reads and writes
//! through it, the connection watches it for a reset and closes it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BufMut;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

/// A connected stream socket. Dropping the last handle closes it.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What lies unread in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    Nothing,
    Bytes,
    /// The peer has finished sending.
    End,
    /// The connection is broken.
    Broken,
}

/// How often the peer of a Unix socket is looked after, while it waits for an answer.
const LOOK_AT_UNIX_PEER: Duration = Duration::from_millis(500);

/// Calls the same method on whichever stream it is.
macro_rules! on_stream {
    ($socket:expr, $stream:ident => $call:expr) => {
        match $socket {
            Socket::Tcp($stream) => $call,
            Socket::Unix($stream) => $call,
        }
    };
}

impl Socket {
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_read_ready(cx))
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_write_ready(cx))
    }

    pub(super) fn try_read(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        on_stream!(self, stream => stream.try_read_buf(buffer))
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        on_stream!(self, stream => stream.try_write(bytes))
    }

    pub(super) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        on_stream!(self, stream => stream.try_write_vectored(slices))
    }

    /// Waits until there is something to read, be it the end. Cancel-safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        on_stream!(self, stream => stream.readable().await)
    }

    /// Waits until something can be written. Cancel-safe.
    pub(super) async fn writable(&self) -> io::Result<()> {
        on_stream!(self, stream => stream.writable().await)
    }

    /// Waits until the peer has reset the connection. A peer that only has finished sending may
    /// still wait for its answer (RFC 9112 §9.6), so its FIN does not count. Cancel-safe.
    pub(super) async fn broken(&self) {
        match self {
            Self::Tcp(stream) => drop(stream.ready(Interest::ERROR).await),
            // The kernel says it with a hang-up, which the reactor does not pass on by itself.
            Self::Unix(_) => {
                while !self.refuses_bytes() {
                    sleep(LOOK_AT_UNIX_PEER).await;
                }
            }
        }
    }

    /// Whether the peer of a Unix socket has closed it, so that nothing can reach it any more.
    /// Sends nothing.
    fn refuses_bytes(&self) -> bool {
        self.sock_ref()
            .send_with_flags(&[], libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .is_err_and(|why| why.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Looks into the kernel's buffer, past everything that the reactor may not have said yet.
    pub(super) fn unread(&self) -> Unread {
        let mut byte = [MaybeUninit::uninit(); 1];
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        match self.sock_ref().recv_with_flags(&mut byte, flags) {
            Ok(0) => Unread::End,
            Ok(_) => Unread::Bytes,
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => Unread::Nothing,
            Err(_) => Unread::Broken,
        }
    }

    /// Small answers leave at once.
    pub(super) fn no_delay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            Self::Unix(_) => Ok(()),
        }
    }

    /// Sends FIN: nothing more will be written.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.sock_ref().shutdown(Shutdown::Write)
    }

    /// Makes the close a reset: for a message whose end the peer could only know from the close.
    pub(super) fn reset_on_close(&self) {
        let broken_already = self.sock_ref().set_linger(Some(Duration::ZERO));
        drop(broken_already);
    }

    fn sock_ref(&self) -> SockRef<'_> {
        on_stream!(self, stream => SockRef::from(stream))
    }
}
