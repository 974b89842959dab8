//! The header of the PROXY protocol, in front of everything else on a connection: from a trusted proxy, within a
//! deadline, and to the byte, because TLS or HTTP begins behind it.

use std::io;
use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};
use host_forwarded::{ProxyHeader, ProxyHeaderFault, ProxyHeaderStep, TrustedProxies};
use host_lifecycle::Phase;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::connection_end::ConnectionEnd;
use super::context::ConnectionContext;
use super::counts::ProxyRefusal;
use super::rare_line::RareLine;
use super::registry::ConnectionEntry;
use super::socket::{Socket, Unread};

/// What a listener expects whose connections begin with a header. Shared by its connections.
#[derive(Debug)]
pub(super) struct ExpectedHeader {
    trusted: Arc<TrustedProxies>,
    /// What the log is told of refusals, by their reason.
    told: [RareLine; ProxyRefusal::ALL.len()],
}

impl ExpectedHeader {
    /// From these proxies.
    pub(super) fn from(trusted: Arc<TrustedProxies>) -> Self {
        Self { trusted, told: Default::default() }
    }

    /// Reads the header of a connection that has just been accepted, and nothing that stands behind it.
    ///
    /// Bounded by the head timeout; during a stop a peer that has sent nothing has the linger. A peer that has sent
    /// nothing makes room for another one when it is asked.
    ///
    /// # Errors
    /// How the connection ends, where it has no header. A refusal is counted.
    pub(super) async fn read(
        &self,
        socket: &Socket,
        entry: &ConnectionEntry,
        context: &ConnectionContext,
    ) -> Result<ProxyHeader, ConnectionEnd> {
        let refuse = |why, text| {
            context.counts.refused_proxy(why);
            self.tell(why, text, entry);
            Err(ConnectionEnd::Gone)
        };
        if !self.trusted.has(entry.address().map(|address| address.ip())) {
            return refuse(ProxyRefusal::Untrusted, "");
        }
        let accepted = Instant::now();
        let mut bytes = BytesMut::new();
        loop {
            let next = match ProxyHeader::read(&bytes) {
                Ok(ProxyHeaderStep::Done(header)) => return Ok(header),
                Ok(ProxyHeaderStep::Needs(next)) => next,
                // Where nothing is there yet, the next byte is of the line.
                Ok(ProxyHeaderStep::Line(most)) => socket.line_ahead(most).max(1),
                Err(ProxyHeaderFault::Missing) => return refuse(ProxyRefusal::Missing, ""),
                Err(ProxyHeaderFault::Malformed(why)) => {
                    return refuse(ProxyRefusal::Malformed, why);
                }
            };
            match socket.try_read(&mut (&mut bytes).limit(next)) {
                Ok(0) if bytes.is_empty() => return Err(ConnectionEnd::Finished),
                Ok(0) => return refuse(ProxyRefusal::Malformed, "half a header"),
                Ok(_) => continue,
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(ConnectionEnd::Gone),
            }
            match wait(socket, entry, context, accepted, bytes.is_empty()).await {
                Wait::Over => {}
                Wait::Late => return refuse(ProxyRefusal::Late, ""),
                Wait::End(end) => return Err(end),
            }
        }
    }

    /// Writes the first refusal of each reason into the log, and then one in a while.
    fn tell(&self, why: ProxyRefusal, text: &'static str, entry: &ConnectionEntry) {
        debug!(why = why.name(), text, "refused: {entry}");
        if self.told[why as usize].next().is_some() {
            warn!(
                why = why.name(),
                text,
                "no header of the PROXY protocol: refused {entry}; more of this kind are counted in \
                 host_proxy_protocol_refused_total, and named once a minute"
            );
        }
    }
}

/// How a wait for bytes ends.
enum Wait {
    /// There may be some, or the phase has changed.
    Over,
    Late,
    End(ConnectionEnd),
}

async fn wait(
    socket: &Socket,
    entry: &ConnectionEntry,
    context: &ConnectionContext,
    accepted: Instant,
    is_silent: bool,
) -> Wait {
    // Nothing is owed to a peer that has not said who its client is.
    let left = if is_silent { ConnectionEnd::Finished } else { ConnectionEnd::Gone };
    let draining = context.phase.now() >= Phase::Draining;
    let mut deadline = accepted + context.limits.head;
    if draining && is_silent {
        deadline = deadline.min(Instant::now() + context.limits.linger);
    }
    tokio::select! {
        biased;
        ready = socket.readable() => match ready {
            Ok(()) => Wait::Over,
            Err(_) => Wait::End(left),
        },
        () = sleep_until(deadline) => match (socket.unread(), draining && is_silent) {
            // The reactor may not have said yet what the kernel has.
            (Unread::Bytes, _) => Wait::Over,
            (_, true) => Wait::End(left),
            (_, false) => Wait::Late,
        },
        () = entry.room_wanted(), if is_silent => match socket.unread() {
            Unread::Nothing => Wait::End(left),
            _ => Wait::Over,
        },
        () = context.phase.reached(Phase::Cut) => Wait::End(left),
        () = context.phase.reached(Phase::Draining), if !draining => Wait::Over,
    }
}

#[cfg(test)]
#[path = "proxy_protocol_tests.rs"]
mod tests;
