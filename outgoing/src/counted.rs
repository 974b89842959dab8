//! A connection as HTTP sees it, above TLS, with the record of what has come over it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use http::Extensions;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{CaptureConnection, Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, ReadBuf};

use crate::hooked_io::{HookedIo, IoHook};
use crate::wire::Wire;

/// What is under HTTP: TCP, perhaps with TLS.
pub(crate) type Secured = MaybeHttpsStream<TokioIo<Wire>>;

/// A connection that counts what is read from it.
pub(crate) type Counted = HookedIo<TokioIo<Secured>, ConnectionRecord>;

/// What is known of a connection. Travels with what the pool tells of it; all clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionRecord(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    read: AtomicU64,
    answered: AtomicBool,
}

impl ConnectionRecord {
    /// That of the connection which a request was given, if it was given one.
    pub(crate) fn captured(connection: &CaptureConnection) -> Option<Self> {
        let mut extras = Extensions::new();
        connection.connection_metadata().as_ref()?.get_extras(&mut extras);
        extras.remove()
    }

    /// Bytes of HTTP that have come.
    pub(crate) fn read_so_far(&self) -> u64 {
        self.0.read.load(Ordering::Acquire)
    }

    /// A response has come.
    pub(crate) fn has_answered(&self) -> bool {
        self.0.answered.load(Ordering::Acquire)
    }

    /// Takes note of a response.
    pub(crate) fn note_answer(&self) {
        self.0.answered.store(true, Ordering::Release);
    }
}

impl Counted {
    pub(crate) fn new(io: Secured) -> TokioIo<Self> {
        TokioIo::new(Self { io: TokioIo::new(io), hook: ConnectionRecord::default() })
    }
}

impl IoHook<TokioIo<Secured>> for ConnectionRecord {
    fn read(
        &mut self,
        io: &mut TokioIo<Secured>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(io).poll_read(cx, buffer);
        let bytes = buffer.filled().len().saturating_sub(before);
        self.0.read.fetch_add(u64::try_from(bytes).unwrap_or_default(), Ordering::AcqRel);
        read
    }
}

impl Connection for Counted {
    fn connected(&self) -> Connected {
        self.io.inner().connected().extra(self.hook.clone())
    }
}
