//! What the connections of tests go over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use host_lifecycle::{PhaseWatch, Tracker};
use rustls::SupportedProtocolVersion;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio_rustls::client::TlsStream;

use crate::tls::testing::{self, VERSIONS};
use crate::{ClientBounds, ConnectionContext, NetCounts, PeerLimits, Room, Scarcity};

/// What a connection goes over. All that is said of one here is so of each.
#[derive(Clone, Copy, Debug)]
pub(super) enum Over {
    Plain,
    Tls(&'static [&'static SupportedProtocolVersion]),
}

pub(super) const WIRES: [Over; 3] = [Over::Plain, Over::Tls(VERSIONS[0]), Over::Tls(VERSIONS[1])];

/// The peer's end. Over TLS an end without a `close_notify` is an error.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(UnixStream),
    Tls(Box<TlsStream<UnixStream>>),
}

impl Stream {
    /// Shakes hands where that is to be done.
    pub(super) async fn over(over: Over, stream: UnixStream) -> Self {
        match over {
            Over::Plain => Self::Plain(stream),
            Over::Tls(versions) => {
                let config = testing::client_config(versions, &[]);
                Self::Tls(Box::new(testing::connect(stream, config).await))
            }
        }
    }
}

/// Calls the same method on whichever stream it is.
macro_rules! on_either {
    ($stream:expr, $call:ident, $($given:expr),*) => {
        match $stream.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).$call($($given),*),
            Stream::Tls(stream) => Pin::new(stream).$call($($given),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_either!(self, poll_read, cx, to)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_either!(self, poll_write, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_either!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_either!(self, poll_shutdown, cx)
    }
}

/// What a connection shares with others.
pub(super) fn context(phase: PhaseWatch, tracker: &Tracker, room: &Arc<Room>) -> ConnectionContext {
    ConnectionContext {
        gate: host_lifecycle::AcceptGate::new(true),
        handing: crate::Handing::default(),
        phase,
        connections: tracker.clone(),
        counts: NetCounts::default(),
        limits: PeerLimits::TEST,
        clients: ClientBounds::unbounded(),
        scarcity: Scarcity::new(),
        room: room.clone(),
    }
}
