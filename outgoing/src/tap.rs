//! A connection as HTTP sees it, above TLS, with the book of what has come over it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::Wire;

/// A connection that counts what is read from it.
#[derive(Debug)]
pub(crate) struct Tap {
    io: TokioIo<MaybeHttpsStream<Wire>>,
    life: Life,
}

/// What is known of a connection. Travels with what the pool tells of it; all clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    read: AtomicU64,
    answered: AtomicBool,
}

impl Life {
    /// Bytes of HTTP that have come.
    pub(crate) fn read(&self) -> u64 {
        self.0.read.load(Ordering::Acquire)
    }

    /// A response has come.
    pub(crate) fn has_answered(&self) -> bool {
        self.0.answered.load(Ordering::Acquire)
    }

    /// Takes note of a response.
    pub(crate) fn answer(&self) {
        self.0.answered.store(true, Ordering::Release);
    }
}

impl Tap {
    pub(crate) fn new(io: MaybeHttpsStream<Wire>) -> TokioIo<Self> {
        TokioIo::new(Self { io: TokioIo::new(io), life: Life::default() })
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        let bytes = buffer.filled().len().saturating_sub(before);
        self.life.0.read.fetch_add(u64::try_from(bytes).unwrap_or_default(), Ordering::AcqRel);
        read
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }
}

impl Connection for Tap {
    fn connected(&self) -> Connected {
        self.io.inner().connected().extra(self.life.clone())
    }
}
