//! One TCP connection under a request: it can be aborted from outside, and it notices its end early.

use std::future::Future as _;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connected, Connection};
use socket2::SockRef;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{self, Sleep};

use crate::hooked_io::{HookedIo, IoHook};

/// A TCP connection with what counts it.
pub(crate) type Wire = HookedIo<TcpStream, TcpHook>;

/// What a [`Wire`] adds to a socket.
#[derive(Debug)]
pub(crate) struct TcpHook {
    abort: AbortHandle,
    /// The last bytes that moved were the peer's.
    heard: bool,
    /// The peer takes nothing any more, and what it had to say is being read.
    deaf: Option<(Deaf, Pin<Box<Sleep>>)>,
    _permit: OwnedSemaphorePermit,
}

/// How long a write to a peer that takes nothing stands still while what it said is read. It lies in the
/// kernel already; a reader that has not come for it by then does not come.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How a peer let us know that it takes nothing any more.
#[derive(Clone, Copy, Debug)]
enum Deaf {
    /// It had said its last byte before (EPIPE).
    Finished,
    /// It had not (ECONNRESET): the end of what can be read is none of its making.
    Reset,
}

impl Deaf {
    fn from_error(error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Some(Self::Finished),
            io::ErrorKind::ConnectionReset => Some(Self::Reset),
            _ => None,
        }
    }
}

/// Ends a connection from outside. hyper keeps a connection whose peer takes no bytes for as long as there
/// is a body to send.
#[derive(Clone, Debug, Default)]
pub(crate) struct AbortHandle(Arc<Aborted>);

#[derive(Debug, Default)]
struct Aborted {
    done: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Wire {
    pub(crate) fn new(tcp: TcpStream, permit: OwnedSemaphorePermit) -> Self {
        let hook =
            TcpHook { abort: AbortHandle::default(), heard: false, deaf: None, _permit: permit };
        Self { io: tcp, hook }
    }
}

/// What lies in the kernel to be read: so many bytes, the peer's end (0), or nothing yet.
fn ahead(tcp: &TcpStream) -> io::Result<Option<usize>> {
    let mut byte = [MaybeUninit::uninit()];
    match SockRef::from(tcp).peek(&mut byte) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the peer's end has arrived, though the runtime has not been told yet.
///
/// hyper reads before it begins a request. If it learns of the end only after that, the request
/// is lost, because it may have been sent; if it learns of it there, the request, its body
/// untouched, goes over another connection. tokio asks the kernel only after the reactor has
/// said that there is something, which may be a whole tick of a busy guest later. (Under TLS the end
/// stands behind a farewell, and is not seen here; that takes the reactor.)
fn has_ended(tcp: &TcpStream) -> io::Result<bool> {
    Ok(ahead(tcp)? == Some(0))
}

impl TcpHook {
    /// Whether there is something to read on a connection that cannot be written to: the end that the
    /// peer has made of what it said is something, and that of a reset is not.
    fn has_last_words(&self, tcp: &TcpStream, deaf: Deaf) -> bool {
        let ahead = ahead(tcp).ok().flatten();
        !self.abort.is_aborted()
            && ahead.is_some_and(|bytes| bytes > 0 || matches!(deaf, Deaf::Finished))
    }

    /// What an operation gives, unless the connection is aborted.
    fn unless_aborted<T>(
        &self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
        operation: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.abort.is_aborted() {
            return Poll::Ready(Err(aborted()));
        }
        let polled = operation(Pin::new(tcp), cx);
        if polled.is_pending() && self.abort.wake_at_abort(cx.waker()) {
            return Poll::Ready(Err(aborted()));
        }
        polled
    }
}

impl IoHook<TcpStream> for TcpHook {
    fn read(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some((Deaf::Reset, _)) = self.deaf
            && has_ended(tcp)?
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let read = self.unless_aborted(tcp, cx, |tcp, cx| tcp.poll_read(cx, buffer));
        match read {
            Poll::Pending if self.heard && has_ended(tcp)? => return Poll::Ready(Ok(())),
            Poll::Pending => {}
            Poll::Ready(_) => self.heard = true,
        }
        read
    }

    /// If the peer takes nothing any more, but has said something that has not been read, a write
    /// stands still, so that this is read first.
    ///
    /// A server that answers early (413) and closes has answered, and a close with unread bytes is a
    /// reset, which the next write learns of. hyper would give up on the connection there, with the
    /// response in the kernel's buffer.
    fn write(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
        operation: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.heard = false;
        let Some((_, last_words)) = &mut self.deaf else {
            let polled = self.unless_aborted(tcp, cx, operation);
            let Poll::Ready(Err(error)) = &polled else { return polled };
            let Some(deaf) = Deaf::from_error(error).filter(|deaf| self.has_last_words(tcp, *deaf))
            else {
                return polled;
            };
            self.deaf = Some((deaf, Box::pin(time::sleep(LAST_WORDS))));
            // Comes back at once, to wait; the task had looked for bytes before it wrote.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        match last_words.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Poll::Pending => self.unless_aborted(tcp, cx, |_, _| Poll::Pending),
        }
    }

    fn finish(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
        operation: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        self.unless_aborted(tcp, cx, operation)
    }
}

impl AbortHandle {
    /// Ends the connection: the next read or write fails, and hyper closes it.
    pub(crate) fn abort(&self) {
        self.0.done.store(true, Ordering::Release);
        let waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn is_aborted(&self) -> bool {
        self.0.done.load(Ordering::Acquire)
    }

    /// Whether it has been aborted meanwhile; else the waker is woken when it is. One place is enough:
    /// hyper has one task for both directions.
    fn wake_at_abort(&self, waker: &Waker) -> bool {
        let mut place = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *place {
            Some(there) => there.clone_from(waker),
            None => *place = Some(waker.clone()),
        }
        drop(place);
        self.is_aborted()
    }
}

fn aborted() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "cut by the host")
}

impl Connection for Wire {
    /// The handle travels with what the pool tells of a connection.
    fn connected(&self) -> Connected {
        Connected::new().extra(self.hook.abort.clone())
    }
}
