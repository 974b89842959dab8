//! The byte stream as hyper sees it: one request at a time, never a byte of the next. So what the next request has already sent is known, and never thrown away unseen.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::flow::{Flow, Reading, State};
use super::socket::Socket;

/// hyper's end of a connection. Dropping it leaves the socket open: the connection closes it.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Arc<Socket>,
    flow: Arc<Flow>,
}

impl Wire {
    pub(super) fn new(socket: Arc<Socket>, flow: Arc<Flow>) -> Self {
        Self { socket, flow }
    }

    /// Reads from the socket into `buffer`, at most `allowance` bytes. 0 bytes is the end.
    fn poll_socket(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        allowance: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.socket.try_read(&mut (&mut *buffer).limit(allowance)) {
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Takes note of whether the kernel takes our bytes, and waits until it does.
    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match write(&self.socket) {
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    self.flow.state().write_blocked.get_or_insert_with(Instant::now);
                    ready!(self.socket.poll_write_ready(cx))?;
                }
                done => {
                    self.flow.state().write_blocked = None;
                    return Poll::Ready(done);
                }
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut guard = self.flow.state();
        let state = &mut *guard;
        let allowance = match state.reading {
            Reading::Body { left: 0 } => {
                state.parked = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Reading::Body { left } => {
                buffer.remaining().min(usize::try_from(left).unwrap_or(usize::MAX))
            }
            Reading::Head { .. } | Reading::Chunked { .. } | Reading::Free => buffer.remaining(),
        };
        if !state.ahead.is_empty() {
            let take = state.ahead.len().min(allowance);
            let end = state.reading.end(&state.ahead[..take]);
            let take = end.unwrap_or(take);
            buffer.put_slice(&state.ahead[..take]);
            state.ahead.advance(take);
            account(state, take, end.is_some(), self.flow.active());
            return Poll::Ready(Ok(()));
        }
        drop(guard);
        let before = buffer.filled().len();
        let read = ready!(self.poll_socket(cx, buffer, allowance))?;
        let mut state = self.flow.state();
        let fresh = &buffer.filled()[before..];
        let end = state.reading.end(fresh);
        let keep = end.unwrap_or(read);
        state.ahead.extend_from_slice(&fresh[keep..]);
        buffer.set_filled(before + keep);
        account(&mut state, keep, end.is_some(), self.flow.active());
        Poll::Ready(Ok(()))
    }
}

/// Takes note of `bytes` given to hyper; `ended` says that what was being read ends with them.
fn account(state: &mut State, bytes: usize, ended: bool, active: usize) {
    match &mut state.reading {
        Reading::Head { since, scan } if scan.has_begun() => {
            since.get_or_insert_with(Instant::now);
        }
        Reading::Body { left } => *left = left.saturating_sub(bytes as u64),
        Reading::Chunked { .. } if ended => state.reading = Reading::Body { left: 0 },
        Reading::Head { .. } | Reading::Chunked { .. } | Reading::Free => {}
    }
    if active == 0 && state.request_is_complete() {
        state.next_head();
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |socket| socket.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |socket| socket.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.finish())
    }
}
