//! The end of a connection: FIN, then read what still comes until the peer's FIN, then close.
//!
//! A close with unread input is a reset, and a reset may erase an answer that the peer has not
//! read yet (RFC 9112 §9.6). So we read and discard, within bounds.

use std::io;
use std::time::Duration;

use bytes::BufMut as _;
use host_lifecycle::{Phase, PhaseWatch};
use tokio::time::{Instant, sleep_until};

use super::socket::Socket;

/// Longer than the round trip of any peer that still matters.
const LINGERING_CLOSE: Duration = Duration::from_secs(2);

/// A refused upload may have this much under way; who sends more has not looked at the answer.
const DISCARD_AT_MOST: usize = 16 * 1024 * 1024;

/// The same, once the stop has cut: only the answer that is just leaving must not be erased.
const LINGERING_AFTER_CUT: Duration = Duration::from_millis(300);

/// Closes politely. Bounded by time and bytes; a cut shortens it.
pub(super) async fn politely(socket: &Socket, phase: &PhaseWatch) {
    if socket.finish().is_err() {
        return;
    }
    tokio::select! {
        biased;
        () = discard(socket) => {}
        () = sleep_until(Instant::now() + LINGERING_CLOSE) => {}
        () = async {
            phase.reached(Phase::Cut).await;
            sleep_until(Instant::now() + LINGERING_AFTER_CUT).await;
        } => {}
    }
}

async fn discard(socket: &Socket) {
    let mut discarded = 0;
    let mut scratch = Vec::with_capacity(16 * 1024);
    while discarded < DISCARD_AT_MOST {
        scratch.clear();
        let room = scratch.capacity();
        match socket.try_read(&mut (&mut scratch).limit(room)) {
            Ok(0) => return,
            Ok(read) => discarded += read,
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                if socket.readable().await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// Writes a whole answer by hand, within `patience`.
pub(super) async fn write_all(socket: &Socket, mut bytes: &[u8], patience: Duration) {
    let write = async {
        while !bytes.is_empty() {
            match socket.try_write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    if socket.writable().await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    };
    let in_time = tokio::time::timeout(patience, write).await;
    drop(in_time);
}
