//! The byte stream as hyper sees it: one request at a time, never a byte of the next. So what the next request has already sent is known, and never thrown away unseen.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BufMut as _;
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

    /// Takes note of what the kernel takes of our bytes, and waits until it takes some.
    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.socket.try_write_vectored(slices) {
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    self.flow.state().write_blocked.get_or_insert_with(Instant::now);
                    ready!(self.socket.poll_write_ready(cx))?;
                }
                Ok(written) => {
                    self.flow.state().wrote(slices, written);
                    return Poll::Ready(Ok(written));
                }
                Err(why) => return Poll::Ready(Err(why)),
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
            let piece = state.ahead.split_to(take);
            buffer.put_slice(&piece);
            account(state, &piece, end.is_some(), self.flow.active());
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
        account(&mut state, &buffer.filled()[before..], end.is_some(), self.flow.active());
        Poll::Ready(Ok(()))
    }
}

/// Takes note of `bytes` given to hyper; `ended` says that what was being read ends with them.
fn account(state: &mut State, bytes: &[u8], ended: bool, active: usize) {
    state.moved = Instant::now();
    if let Some(streams) = &mut state.streams {
        streams.receive(bytes);
    }
    match &mut state.reading {
        Reading::Head { since, scan } if scan.has_begun() => {
            since.get_or_insert_with(Instant::now);
        }
        Reading::Body { left } => *left = left.saturating_sub(bytes.len() as u64),
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
        self.poll_write_with(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, slices)
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
