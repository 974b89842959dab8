//! HTTP/2's byte stream as hyper sees it. What goes through is followed, to know which streams are open.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Limits;
use super::h2::Link;
use super::h2_interim::Interim;
use super::h2_streams::Streams;
use super::out_rate::OutRate;

/// What has gone over the wire.
#[derive(Debug)]
pub(super) struct Traffic {
    /// The moment of this turn of the connection's task.
    pub(super) now: Instant,
    /// What was read before it was known that this is HTTP/2.
    ahead: BytesMut,
    pub(super) streams: Streams,
    pub(super) interim: Interim,
    pub(super) output: OutRate,
    /// When bytes last went either way.
    pub(super) moved: Instant,
    /// When the kernel last took something that it had held up.
    pub(super) delivered: Instant,
    /// Whether the peer may send no part of a body: its uploads look at it.
    pub(super) holds_back: Arc<AtomicBool>,
    /// Since when half a head is here.
    pub(super) half_head: Option<Instant>,
}

impl Traffic {
    pub(super) fn new(limits: &Limits, accepted: Instant, ahead: BytesMut) -> Self {
        Self {
            now: accepted,
            ahead,
            streams: Streams::new(),
            interim: Interim::default(),
            output: OutRate::new(limits.stall, limits.min_rate),
            moved: accepted,
            delivered: accepted,
            holds_back: Arc::default(),
            half_head: None,
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        self.moved = self.now;
        let newest = self.streams.newest();
        self.streams.receive(bytes);
        let began = self.half_head.filter(|_| newest == self.streams.newest());
        let since = began.unwrap_or(self.now);
        self.half_head = self.streams.has_half_a_head().then_some(since);
        self.holds_back.store(self.streams.holds_peer_back(), Ordering::Release);
    }

    pub(super) fn held_up(&mut self) {
        self.output.blocked(self.now);
    }

    pub(super) fn sent(&mut self, slices: &[IoSlice<'_>], mut length: usize) {
        self.moved = self.now;
        self.output.wrote(self.now, length);
        for slice in slices {
            let part = slice.get(..length.min(slice.len())).unwrap_or_default();
            self.streams.send(part, self.now);
            length -= part.len();
        }
        self.holds_back.store(self.streams.holds_peer_back(), Ordering::Release);
    }
}

/// hyper's end of a connection. Dropping it leaves the socket open: the connection closes it.
#[derive(Debug)]
pub(super) struct Wire(Arc<Link>);

impl Wire {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self(link)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let link = &self.0;
        {
            let traffic = &mut *link.traffic();
            if !traffic.ahead.is_empty() {
                let piece = traffic.ahead.split_to(traffic.ahead.len().min(buffer.remaining()));
                buffer.put_slice(&piece);
                traffic.received(&piece);
                return Poll::Ready(Ok(()));
            }
        }
        let before = buffer.filled().len();
        ready!(link.socket.poll_read(cx, buffer))?;
        link.traffic().received(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.0.poll_interim(cx))?;
        self.0.poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// h2 asks for this when all that it had to write is taken.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let traffic = &mut *self.0.traffic();
        if traffic.output.flushed() {
            traffic.delivered = traffic.now;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.socket.finish())
    }
}
