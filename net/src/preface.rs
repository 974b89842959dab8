//! Which protocol is it? HTTP/2 with prior knowledge begins with a fixed preface (RFC 9113 §3.4);
//! everything else is HTTP/1. Our own, because hyper-util's detection has no deadline and its
//! builder no limit for the size of a head.

use std::io;

use bytes::BytesMut;
use host_lifecycle::Phase;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::context::ConnectionContext;
use super::registry::{Call, ConnectionEntry};
use super::socket::Unread;
use super::stream::ByteStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client of TLS begins with (RFC 8446 §5.1): a handshake, in a version that is 3.
const HANDSHAKE_RECORD: [u8; 2] = [22, 3];

/// Room for the first read; most heads fit.
const FIRST_READ: usize = 2048;

/// What the first bytes said, with the bytes.
#[derive(Debug)]
pub(super) enum Opening {
    Http1(BytesMut),
    Http2(BytesMut),
    /// The peer left, or sent nothing for too long.
    Nothing,
    /// The peer sent part of a preface and no more.
    Stuck,
    /// Another process goes on with the connection, which has sent so much: too little to tell.
    GoesOver(BytesMut),
}

/// What the peer speaks: what was agreed on with it (ALPN), or else what its first bytes say, of which `ahead` have
/// come.
pub(super) async fn opening(
    (agreed, ahead): (Option<&str>, BytesMut),
    stream: &ByteStream,
    entry: &ConnectionEntry,
    context: &ConnectionContext,
) -> Opening {
    match agreed {
        Some("h2") => Opening::Http2(BytesMut::new()),
        Some("http/1.1") => Opening::Http1(BytesMut::new()),
        _ => detect(stream, ahead, entry, context).await,
    }
}

/// Reads until the protocol is known.
///
/// Bounded by the head timeout; during a stop a peer that has sent nothing has the linger. Ends at
/// once when the stop cuts. A peer that has sent nothing makes room for another one when it is asked.
async fn detect(
    stream: &ByteStream,
    mut bytes: BytesMut,
    entry: &ConnectionEntry,
    context: &ConnectionContext,
) -> Opening {
    let accepted = Instant::now();
    bytes.reserve(FIRST_READ);
    loop {
        match stream.try_read(&mut bytes) {
            Ok(0) => return Opening::Nothing,
            Ok(_) => match protocol(&bytes) {
                Some(false) if bytes.starts_with(&HANDSHAKE_RECORD) && !stream.is_tls() => {
                    debug!(peer = %entry, "a hello of TLS on a port of plain HTTP");
                    return Opening::Http1(bytes);
                }
                Some(true) => return Opening::Http2(bytes),
                Some(false) => return Opening::Http1(bytes),
                None => continue,
            },
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Opening::Nothing,
        }
        if context.handing.is_on() && !stream.is_tls() {
            return Opening::GoesOver(bytes);
        }
        let draining = context.phase.now() >= Phase::Draining;
        let mut deadline = accepted + context.limits.head;
        let is_silent = bytes.is_empty() && !stream.has_half_record();
        if draining && is_silent {
            deadline = deadline.min(Instant::now() + context.limits.linger);
        }
        tokio::select! {
            biased;
            ready = stream.readable() => if ready.is_err() { return Opening::Nothing },
            () = sleep_until(deadline) => {
                // The reactor may not have said yet what the kernel has.
                let unread = stream.unread();
                if unread == Unread::Bytes || unread == Unread::Part && is_silent { continue }
                return stuck(bytes, unread);
            }
            call = entry.called() => {
                let leaves = call == Call::MakeRoom && is_silent;
                if leaves && stream.unread() == Unread::Nothing { return Opening::Nothing }
            }
            () = context.phase.reached(Phase::Cut) => return stuck(bytes, stream.unread()),
            () = context.phase.reached(Phase::Draining), if !draining => {}
        }
    }
}

/// What is made of a peer that says no more. `PRI` may begin other heads too: HTTP/1 says why it ends.
fn stuck(bytes: BytesMut, unread: Unread) -> Opening {
    match bytes.len() {
        0 if unread != Unread::Part => Opening::Nothing,
        0..=3 => Opening::Http1(bytes),
        _ => Opening::Stuck,
    }
}

/// Whether the bytes are HTTP/2, once they say so.
fn protocol(bytes: &[u8]) -> Option<bool> {
    let seen = bytes.len().min(PREFACE.len());
    if bytes[..seen] != PREFACE[..seen] {
        return Some(false);
    }
    (seen == PREFACE.len()).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_decides_as_soon_as_it_can() {
        assert_eq!(protocol(b""), None);
        assert_eq!(protocol(b"PRI * HTTP/2"), None);
        assert_eq!(protocol(b"G"), Some(false));
        assert_eq!(protocol(b"PRI * HTTP/1"), Some(false));
        assert_eq!(protocol(b"PUT / HTTP/1.1"), Some(false));
        assert_eq!(protocol(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0"), Some(true));
    }
}
