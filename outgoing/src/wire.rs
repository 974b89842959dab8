//! One TCP connection under a request: it can be cut from outside, and it notices its end early.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

/// A TCP connection with what counts it.
#[derive(Debug)]
pub(crate) struct Wire {
    io: TokioIo<TcpStream>,
    shears: Shears,
    /// The last bytes that moved were the peer's.
    heard: bool,
    _permit: OwnedSemaphorePermit,
}

/// Cuts a wire from outside. hyper keeps a connection whose peer takes no bytes for as long as there
/// is a body to send.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shears(Arc<Cut>);

#[derive(Debug, Default)]
struct Cut {
    done: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Wire {
    pub(crate) fn new(tcp: TcpStream, permit: OwnedSemaphorePermit) -> Self {
        Self { io: TokioIo::new(tcp), shears: Shears::default(), heard: false, _permit: permit }
    }

    /// Whether the peer's end has arrived, though the runtime has not been told yet.
    ///
    /// hyper reads before it begins a request. If it learns of the end only after that, the request
    /// is lost, because it may have been sent; if it learns of it there, the request, its body
    /// untouched, goes over another connection. tokio asks the kernel only after the reactor has
    /// said that there is something, which may be a whole tick of a busy guest later. (Under TLS the end
    /// stands behind a farewell, and is not seen here; that takes the reactor.)
    fn has_ended(&self) -> io::Result<bool> {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(self.io.inner()).peek(&mut byte) {
            Ok(0) => Ok(true),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What an operation gives, unless the wire is cut.
    fn unless_cut<T>(
        &mut self,
        cx: &mut Context<'_>,
        operation: impl FnOnce(Pin<&mut TokioIo<TcpStream>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.shears.0.done.load(Ordering::Acquire) {
            return Poll::Ready(Err(cut()));
        }
        let polled = operation(Pin::new(&mut self.io), cx);
        if polled.is_pending() && self.shears.wake_at_cut(cx.waker()) {
            return Poll::Ready(Err(cut()));
        }
        polled
    }
}

impl Shears {
    /// Ends the connection: whoever reads or writes gets an error, and then closes it.
    pub(crate) fn cut(&self) {
        self.0.done.store(true, Ordering::Release);
        let waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it has been cut meanwhile; else the waker is woken when it is. One place is enough:
    /// hyper has one task for both directions.
    fn wake_at_cut(&self, waker: &Waker) -> bool {
        let mut place = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *place {
            Some(there) => there.clone_from(waker),
            None => *place = Some(waker.clone()),
        }
        self.0.done.load(Ordering::Acquire)
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "cut by the host")
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.unless_cut(cx, |io, cx| io.poll_read(cx, buffer));
        match read {
            Poll::Pending if self.heard && self.has_ended()? => return Poll::Ready(Ok(())),
            Poll::Pending => {}
            Poll::Ready(_) => self.heard = true,
        }
        read
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.heard = false;
        self.unless_cut(cx, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_cut(cx, |io, cx| io.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_cut(cx, |io, cx| io.poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.heard = false;
        self.unless_cut(cx, |io, cx| io.poll_write_vectored(cx, bytes))
    }
}

impl Connection for Wire {
    /// The shears travel with what the pool tells of a connection.
    fn connected(&self) -> Connected {
        Connected::new().extra(self.shears.clone())
    }
}
