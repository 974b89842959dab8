//! A TLS session over a socket, with the surface of a socket: everything by `&self`, and every look goes into the
//! kernel, past everything that the reactor may not have said yet.
//!
//! Ciphertext that the kernel does not take waits in the session, at most [`OUT_AT_MOST`] of it: no more plaintext is
//! taken before it has gone, and nothing counts as flushed.

use std::fmt;
use std::io::{self, BufRead as _, IoSlice, Write};
use std::task::{Context, Poll, ready};

use atomic_refcell::{AtomicRefCell, AtomicRefMut};
use bytes::BufMut;
use rustls::ServerConnection;

use super::records::{IncomingRecords, READ};
use crate::socket::{Sending, Socket, Unread};

/// Ciphertext that waits for the kernel: two records of the largest size.
const OUT_AT_MOST: usize = 32 * 1024;

/// A session whose handshake is done. Dropping it closes the socket, without a `close_notify`.
pub(crate) struct TlsSession {
    pub(super) socket: Socket,
    /// Touched by the connection's task only, one after the other, and never borrowed across a wait.
    inner: AtomicRefCell<Inner>,
}

struct Inner {
    tls: ServerConnection,
    incoming: IncomingRecords,
    /// The peer has sent FIN.
    ended: bool,
    /// What came is no TLS of this session. Nothing more is read.
    failed: bool,
}

impl TlsSession {
    /// A session whose handshake is done, behind which `incoming` has come already.
    pub(super) fn new(
        socket: Socket,
        mut tls: ServerConnection,
        incoming: IncomingRecords,
    ) -> Self {
        tls.set_buffer_limit(Some(OUT_AT_MOST));
        let inner = Inner { tls, incoming, ended: false, failed: false };
        Self { socket, inner: AtomicRefCell::new(inner) }
    }

    fn inner(&self) -> AtomicRefMut<'_, Inner> {
        self.inner.borrow_mut()
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Reads plaintext into `buffer`. 0 bytes are the end: the peer's `close_notify`, or its FIN.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut impl BufMut,
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.inner();
        loop {
            if let Some(read) = inner.take(&self.socket, buffer)? {
                return Poll::Ready(Ok(read));
            }
            let Poll::Ready(ready) = self.socket.poll_read_ready(cx) else {
                inner.incoming.shrink();
                return Poll::Pending;
            };
            ready?;
            match inner.receive(|bytes| self.socket.try_read(bytes)) {
                Err(why) if why.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(why));
                }
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Reads plaintext that is there.
    pub(crate) fn try_read(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        let inner = &mut *self.inner();
        loop {
            if let Some(read) = inner.take(&self.socket, buffer)? {
                return Ok(read);
            }
            if let Err(why) = inner.receive(|bytes| self.socket.try_read(bytes)) {
                inner.incoming.shrink();
                return Err(why);
            }
        }
    }

    /// Looks for plaintext, decrypting what the kernel has. Tickets, updates of keys and the like are none.
    pub(crate) fn unread(&self) -> Unread {
        let inner = &mut *self.inner();
        loop {
            if inner.decrypt(&self.socket).is_err() {
                return Unread::Broken;
            }
            if inner.has_plaintext() {
                return Unread::Bytes;
            }
            if inner.is_over() {
                return Unread::End;
            }
            match inner.receive(|bytes| self.socket.recv_now(bytes)) {
                Ok(_) => {}
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    inner.incoming.shrink();
                    return if inner.incoming.is_partial() {
                        Unread::Part
                    } else {
                        Unread::Nothing
                    };
                }
                Err(_) => return Unread::Broken,
            }
        }
    }

    /// Whether part of a record is here, and nothing before it that could be read.
    pub(crate) fn has_half_record(&self) -> bool {
        let inner = &mut *self.inner();
        inner.incoming.is_partial() && !inner.has_plaintext()
    }

    /// Waits until [`Self::try_read`] has something to say. Cancel-safe.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        if self.inner().is_readable() {
            return Ok(());
        }
        self.socket.readable().await
    }

    /// Encrypts what there is room for, and hands it to the kernel. Gives how much plaintext that was: what the kernel
    /// has not taken of it is written by the next call of this or of [`Self::poll_flush`]. `tell` is told of bytes
    /// that the kernel takes, and when it takes none.
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        tell: &impl Fn(Sending),
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.inner();
        ready!(inner.poll_drain(&self.socket, cx, tell))?;
        let taken = inner.tls.writer().write_vectored(slices)?;
        match inner.poll_drain(&self.socket, cx, tell) {
            Poll::Ready(Err(why)) => Poll::Ready(Err(why)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(taken)),
        }
    }

    /// Hands the kernel all that was encrypted.
    pub(crate) fn poll_flush(
        &self,
        cx: &mut Context<'_>,
        tell: &impl Fn(Sending),
    ) -> Poll<io::Result<()>> {
        self.inner().poll_drain(&self.socket, cx, tell)
    }

    /// Writes without waiting. Nothing is taken while the kernel has not taken what was written before.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let inner = &mut *self.inner();
        inner.try_drain(&self.socket)?;
        let taken = inner.tls.writer().write(bytes)?;
        match inner.try_drain(&self.socket) {
            Err(why) if why.kind() != io::ErrorKind::WouldBlock => Err(why),
            Ok(()) | Err(_) => Ok(taken),
        }
    }

    /// Says `close_notify` behind all that was written, and then sends FIN (RFC 8446 §6.1). Behind a fatal alert
    /// there is only the FIN.
    pub(crate) fn poll_finish(
        &self,
        cx: &mut Context<'_>,
        tell: &impl Fn(Sending),
    ) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner();
        inner.tls.send_close_notify();
        ready!(inner.poll_drain(&self.socket, cx, tell))?;
        Poll::Ready(self.socket.finish())
    }
}

impl Inner {
    fn has_plaintext(&mut self) -> bool {
        self.tls.reader().fill_buf().is_ok_and(|plaintext| !plaintext.is_empty())
    }

    /// Whether nothing more comes: `close_notify`, or the peer's FIN behind the last whole record.
    fn is_over(&mut self) -> bool {
        self.ended || self.tls_is_closed()
    }

    fn is_readable(&mut self) -> bool {
        self.failed || self.has_plaintext() || self.is_over() || self.incoming.first().is_some()
    }

    /// Plaintext into `buffer`; 0 at the end, none while there is none.
    fn take(&mut self, socket: &Socket, buffer: &mut impl BufMut) -> io::Result<Option<usize>> {
        self.decrypt(socket)?;
        let mut reader = self.tls.reader();
        if let Ok(plaintext) = reader.fill_buf()
            && !plaintext.is_empty()
        {
            let length = plaintext.len().min(buffer.remaining_mut());
            buffer.put_slice(&plaintext[..length]);
            reader.consume(length);
            return Ok(Some(length));
        }
        Ok(self.is_over().then_some(0))
    }

    /// Reads from the kernel, with `read`.
    fn receive(&mut self, read: impl FnOnce(&mut Vec<u8>) -> io::Result<usize>) -> io::Result<()> {
        self.ended = self.incoming.read(READ, read)? == 0;
        Ok(())
    }

    /// Decrypts records until one of them has plaintext, or no whole one is left. An alert goes out if it can.
    fn decrypt(&mut self, socket: &Socket) -> io::Result<()> {
        while !self.failed && !self.has_plaintext() && !self.tls_is_closed() {
            let Some(record) = self.incoming.first() else { return Ok(()) };
            let (length, mut rest) = (record.len(), record);
            self.failed = feed(&mut self.tls, &mut rest).is_err();
            let fed = length - rest.len();
            self.incoming.consume(fed);
        }
        if !self.failed {
            return Ok(());
        }
        // Nobody waits for it to go.
        self.try_drain(socket).ok();
        Err(io::ErrorKind::InvalidData.into())
    }

    /// Whether the peer has said `close_notify`.
    fn tls_is_closed(&mut self) -> bool {
        self.tls.reader().fill_buf().is_ok_and(<[u8]>::is_empty)
    }

    fn poll_drain(
        &mut self,
        socket: &Socket,
        cx: &mut Context<'_>,
        tell: &impl Fn(Sending),
    ) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            let mut kernel = PolledKernel { socket, cx, tell };
            match self.tls.write_tls(&mut kernel) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => tell(Sending::Taken(written)),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(why) => return Poll::Ready(Err(why)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn try_drain(&mut self, socket: &Socket) -> io::Result<()> {
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut Kernel(socket))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

/// Gives the session a record, or a piece of it.
fn feed(tls: &mut ServerConnection, rest: &mut &[u8]) -> io::Result<()> {
    if tls.read_tls(rest)? == 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    tls.process_new_packets().map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
    Ok(())
}

/// The kernel, asked without waiting.
struct Kernel<'a>(&'a Socket);

impl Write for Kernel<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The kernel, which wakes the task when it takes bytes again.
struct PolledKernel<'a, 'cx, T> {
    socket: &'a Socket,
    cx: &'a mut Context<'cx>,
    tell: &'a T,
}

impl<T: Fn(Sending)> Write for PolledKernel<'_, '_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.socket.poll_write(self.cx, slices, || (self.tell)(Sending::Blocked)) {
            Poll::Ready(done) => done,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession").field("socket", &self.socket).finish_non_exhaustive()
    }
}
