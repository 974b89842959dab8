//! One stream socket, TCP or Unix, that several owners may look at: the protocol reads and writes
//! through it, the connection watches it for a reset and closes it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BufMut;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
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

/// What of a peer nobody has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    Nothing,
    Bytes,
    /// Part of a TLS record, of which no byte can be read before all of it is here.
    Part,
    /// The peer has finished sending.
    End,
    /// The connection is broken.
    Broken,
}

/// What becomes of bytes on their way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// The kernel has taken so many, counted as they are on the wire.
    Taken(usize),
    /// The kernel takes none, and some wait.
    Blocked,
}

/// The kernel has, or takes, bytes of which the reactor has not told yet: it does so in its next turn. Until
/// then a connection whose deadline has passed waits, and looks again after this.
pub(super) const REACTOR_TURN: Duration = Duration::from_millis(10);

/// Bytes of a line that is looked for ahead.
const LONGEST_LINE: usize = 128;

/// Looks into the kernel that may find something of which the reactor then does not tell, one after the
/// other.
pub(super) const LOOKS: u32 = 100;

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
    /// Takes it out of the runtime.
    pub(super) fn into_fd(self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(stream) => Ok(stream.into_std()?.into()),
            Self::Unix(stream) => Ok(stream.into_std()?.into()),
        }
    }

    /// One that does not block, for the runtime that this is called in.
    pub(super) fn from_fd(fd: OwnedFd, is_unix: bool) -> io::Result<Self> {
        match is_unix {
            true => Ok(Self::Unix(UnixStream::from_std(fd.into())?)),
            false => Ok(Self::Tcp(TcpStream::from_std(fd.into())?)),
        }
    }

    /// Reads into `buffer` what fits. 0 bytes are the end.
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut impl BufMut,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(on_stream!(self, stream => stream.poll_read_ready(cx)))?;
            match self.try_read(buffer) {
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Writes what the kernel takes. Tells `blocked` when it takes nothing, and waits until it does.
    ///
    /// The kernel is always asked: it tells of room only when a third of its buffer is free, which a slow
    /// peer may leave it without for longer than any deadline, and takes bytes before that.
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        blocked: impl Fn(),
    ) -> Poll<io::Result<usize>> {
        match self
            .sock_ref()
            .send_vectored_with_flags(slices, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
        {
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            done => return Poll::Ready(done),
        }
        loop {
            match on_stream!(self, stream => stream.try_write_vectored(slices)) {
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    blocked();
                    ready!(on_stream!(self, stream => stream.poll_write_ready(cx)))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// Whether the kernel would take bytes, past everything that the reactor may not have said yet.
    pub(super) fn takes_bytes(&self) -> bool {
        let fd = on_stream!(self, stream => stream.as_fd());
        let mut ask = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
        poll(&mut ask, Some(&Timespec::default())).is_ok()
            && ask[0].revents().contains(PollFlags::OUT)
    }

    /// Reads what is there. Less than there is room for was all: so the next read waits for the kernel to tell of
    /// more, and asks it nothing. (tokio's own `AsyncRead` does the same.)
    pub(super) fn try_read(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        let room = buffer.chunk_mut().len();
        let mut all = None;
        // The readiness that is forgotten is that of before the read. What comes meanwhile is told anew.
        let read = on_stream!(self, stream => stream.try_io(Interest::READABLE, || {
            let read = stream.try_read_buf(buffer)?;
            if read == 0 || read == room {
                return Ok(read);
            }
            all = Some(read);
            Err(io::ErrorKind::WouldBlock.into())
        }));
        all.map_or(read, Ok)
    }

    /// The same past everything that the reactor may not have said yet, into the room that `buffer` has.
    pub(super) fn recv_now(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let fd = on_stream!(self, stream => stream.as_fd());
        let (_, read) = recv(fd, spare_capacity(buffer), RecvFlags::DONTWAIT)?;
        Ok(read)
    }

    /// Waits until the reactor tells of something to read, be it the end.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_read_ready(cx))
    }

    /// Writes what the kernel takes now.
    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
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

    /// How many of the bytes that the kernel has belong to a line that has begun: up to LF, and no more than `most`.
    pub(super) fn line_ahead(&self, most: usize) -> usize {
        let mut bytes = [0; LONGEST_LINE];
        let bytes = &mut bytes[..most.min(LONGEST_LINE)];
        let fd = on_stream!(self, stream => stream.as_fd());
        let seen = recv(fd, &mut *bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        let seen = seen.map_or(0, |(seen, _)| seen.min(bytes.len()));
        let end = bytes[..seen].iter().position(|byte| *byte == b'\n');
        end.map_or(seen, |end| end + 1)
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
