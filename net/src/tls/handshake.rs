//! The handshake of one connection, in its own task: its deadline, and everything else that may end it.

use std::future::pending;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use host_lifecycle::Phase;
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::half_open::{HalfOpen, Handshake};
use super::outcome::HandshakeOutcome;
use super::records::IncomingRecords;
use super::session::TlsSession;
use crate::connection_end::ConnectionEnd;
use crate::context::ConnectionContext;
use crate::peer::TlsPeer;
use crate::registry::ConnectionEntry;
use crate::service::Refusal;
use crate::socket::{LOOKS, REACTOR_TURN, Socket, Unread};

/// Room for a read: most hellos fit.
const READ: usize = 2048;

/// What is answered in plain text to who speaks it on a port of TLS.
const USE_HTTPS: &str = "this port speaks TLS; use https://\n";

/// What a handshake may take, and what it has to do with the rest of the process.
pub(crate) struct HandshakeTerms<'a> {
    pub(crate) entry: &'a ConnectionEntry,
    pub(crate) context: &'a ConnectionContext,
    pub(crate) half_open: &'a HalfOpen,
    /// From its beginning to its end.
    pub(crate) patience: Duration,
}

/// A handshake that came to nothing.
#[derive(Debug)]
pub(crate) struct HandshakeFailure {
    pub(crate) socket: Socket,
    /// How the connection ends.
    pub(crate) end: ConnectionEnd,
}

/// Accepts a session. Counts and logs what it comes to. Dropping the future closes the socket.
///
/// Bounded by the patience; during a stop a peer that has sent nothing has the linger. Ends at once when the stop cuts
/// or when others need its place.
pub(crate) async fn accept(
    socket: Socket,
    config: Arc<ServerConfig>,
    terms: HandshakeTerms<'_>,
) -> Result<(TlsSession, TlsPeer), HandshakeFailure> {
    let done = Attempt::new(&socket, &terms).run(config.clone()).await;
    let outcome = done.as_ref().map_or_else(|ended| ended.outcome, |_| HandshakeOutcome::Done);
    terms.context.counts.handshake(outcome);
    match done {
        Ok((tls, records)) => {
            let peer = TlsPeer::of(&tls, &config.alpn_protocols);
            Ok((TlsSession::new(socket, tls, records), peer))
        }
        Err(ended) => {
            let why = ended.why.as_ref().map(tracing::field::display);
            debug!(outcome = outcome.name(), why, peer = %terms.entry, "TLS handshake failed");
            Err(HandshakeFailure { socket, end: ended.end() })
        }
    }
}

/// Why an attempt has come to nothing.
struct Ended {
    outcome: HandshakeOutcome,
    /// What the library says.
    why: Option<io::Error>,
    /// Whether a byte had come.
    began: bool,
}

impl Ended {
    fn end(&self) -> ConnectionEnd {
        match self.outcome {
            HandshakeOutcome::NotTls => ConnectionEnd::Refused(Refusal::Malformed(USE_HTTPS)),
            // Who knows whether there was a request behind it.
            HandshakeOutcome::Stopped if self.began => ConnectionEnd::Dropped,
            HandshakeOutcome::Gone | HandshakeOutcome::Crowded => ConnectionEnd::Gone,
            // An alert is on its way, or nothing was said at all.
            _ => ConnectionEnd::Finished,
        }
    }
}

/// One handshake under way.
struct Attempt<'a> {
    socket: &'a Socket,
    terms: &'a HandshakeTerms<'a>,
    place: Handshake<'a>,
    deadline: Instant,
}

impl<'a> Attempt<'a> {
    fn new(socket: &'a Socket, terms: &'a HandshakeTerms<'a>) -> Self {
        let place = terms.half_open.begin();
        Self { socket, terms, place, deadline: Instant::now() + terms.patience }
    }

    async fn run(
        &self,
        config: Arc<ServerConfig>,
    ) -> Result<(ServerConnection, IncomingRecords), Ended> {
        let records = tokio::select! {
            biased;
            records = self.first_bytes() => records,
            outcome = self.over(false) => Err(Ended { outcome, why: None, began: false }),
        }?;
        if records.rest().first().is_some_and(u8::is_ascii_uppercase) {
            return Err(Ended { outcome: HandshakeOutcome::NotTls, why: None, began: true });
        }
        let io = HandshakeIo { socket: self.socket, records };
        // On the heap: connections without TLS would pay for its size.
        let accept = Box::pin(TlsAcceptor::from(config).accept(io).into_fallible());
        tokio::select! {
            biased;
            done = accept => match done {
                Ok(stream) => {
                    let (HandshakeIo { records, .. }, tls) = stream.into_inner();
                    Ok((tls, records))
                }
                Err((why, _)) => {
                    let outcome = HandshakeOutcome::of(&why);
                    Err(Ended { outcome, why: Some(why), began: true })
                }
            },
            outcome = self.over(true) => Err(Ended { outcome, why: None, began: true }),
        }
    }

    /// Waits for the first bytes. A peer that sends none costs no session.
    async fn first_bytes(&self) -> Result<IncomingRecords, Ended> {
        let gone = |why| Ended { outcome: HandshakeOutcome::Gone, why, began: false };
        let mut records = IncomingRecords::default();
        loop {
            match records.read(READ, |bytes| self.socket.try_read(bytes)) {
                Ok(0) => return Err(gone(None)),
                Ok(_) => return Ok(records),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => records.shrink(),
                Err(why) => return Err(gone(Some(why))),
            }
            self.socket.readable().await.map_err(|why| gone(Some(why)))?;
        }
    }

    /// Waits until the peer gets no more time, and gives the reason. `began` is whether it has sent something.
    async fn over(&self, began: bool) -> HandshakeOutcome {
        let HandshakeTerms { entry, context: ConnectionContext { phase, limits, .. }, .. } =
            self.terms;
        let linger = async {
            phase.reached(Phase::Draining).await;
            if began {
                pending::<()>().await;
            }
            self.past(Instant::now() + limits.linger).await;
        };
        let crowded = async {
            tokio::select! {
                () = entry.room_wanted() => {}
                () = self.place.turned_out() => {}
            }
            // The kernel may have the end of the handshake, and a request behind it.
            self.past(Instant::now()).await;
        };
        tokio::select! {
            biased;
            () = phase.reached(Phase::Cut) => HandshakeOutcome::Stopped,
            () = crowded => HandshakeOutcome::Crowded,
            () = self.past(self.deadline) => HandshakeOutcome::TooSlow,
            () = linger => HandshakeOutcome::Stopped,
        }
    }

    /// Waits until then, and longer while the kernel has bytes of which the reactor has not told yet.
    async fn past(&self, moment: Instant) {
        sleep_until(moment).await;
        for _ in 0..LOOKS {
            if self.socket.unread() != Unread::Bytes {
                return;
            }
            sleep(REACTOR_TURN).await;
        }
    }
}

/// The socket, as the handshake reads and writes it: whole records only, so that what comes behind the handshake is
/// in [`IncomingRecords`] or has been decrypted.
struct HandshakeIo<'a> {
    socket: &'a Socket,
    records: IncomingRecords,
}

impl AsyncRead for HandshakeIo<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, records } = self.get_mut();
        loop {
            if let Some(record) = records.first() {
                let length = record.len().min(buffer.remaining());
                buffer.put_slice(&record[..length]);
                records.consume(length);
                return Poll::Ready(Ok(()));
            }
            ready!(socket.poll_read_ready(task))?;
            match records.read(READ, |bytes| socket.try_read(bytes)) {
                Ok(0) => return Poll::Ready(Ok(())),
                Err(why) if why.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(why));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
}

impl AsyncWrite for HandshakeIo<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_write(task, &[IoSlice::new(bytes)], || ())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_write(task, slices, || ())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.finish())
    }
}
