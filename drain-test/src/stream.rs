//! A connection with or without TLS, and an exact look at what has come on it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connection that has been made.
#[derive(Debug)]
pub(crate) enum AnyStream {
    /// Without TLS.
    Plain(TcpStream),
    /// After the handshake.
    Tls(Box<TlsStream<TcpStream>>),
}

/// What the kernel holds for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KernelHolds {
    /// Nothing.
    Nothing,
    /// Bytes.
    Bytes,
    /// The end.
    Fin,
    /// A reset or another error.
    Reset,
}

impl AnyStream {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Asks the kernel, not the runtime: tokio knows of an event only when it has polled for it, and a client
    /// that sends on after a FIN that it could have seen is no strict one.
    pub(crate) fn held(&self) -> KernelHolds {
        let mut byte = [0];
        match recv(self.tcp(), &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((0, _)) => KernelHolds::Fin,
            Ok(_) => KernelHolds::Bytes,
            Err(e) if e == rustix::io::Errno::AGAIN || e == rustix::io::Errno::INTR => {
                KernelHolds::Nothing
            }
            Err(_) => KernelHolds::Reset,
        }
    }

    fn pinned(self: Pin<&mut Self>) -> Pinned<'_> {
        match self.get_mut() {
            Self::Plain(tcp) => Pinned::Plain(Pin::new(tcp)),
            Self::Tls(tls) => Pinned::Tls(Pin::new(tls.as_mut())),
        }
    }
}

enum Pinned<'a> {
    Plain(Pin<&'a mut TcpStream>),
    Tls(Pin<&'a mut TlsStream<TcpStream>>),
}

impl AsyncRead for AnyStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.pinned() {
            Pinned::Plain(tcp) => tcp.poll_read(cx, buf),
            Pinned::Tls(tls) => tls.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for AnyStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.pinned() {
            Pinned::Plain(tcp) => tcp.poll_write(cx, buf),
            Pinned::Tls(tls) => tls.poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.pinned() {
            Pinned::Plain(tcp) => tcp.poll_flush(cx),
            Pinned::Tls(tls) => tls.poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.pinned() {
            Pinned::Plain(tcp) => tcp.poll_shutdown(cx),
            Pinned::Tls(tls) => tls.poll_shutdown(cx),
        }
    }
}
