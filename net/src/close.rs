//! The end of a connection: FIN, then read what still comes until the peer's FIN, then close.
//!
//! A close with unread input is a reset, and a reset may erase an answer that the peer has not
//! read yet (RFC 9112 §9.6). So we read and discard, within bounds.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::BufMut as _;
use host_lifecycle::{Phase, PhaseWatch};
use tokio::time::{Instant, sleep_until, timeout};

use super::stream::ByteStream;

/// Longer than the round trip of any peer that still matters.
const LINGERING_CLOSE: Duration = Duration::from_secs(2);

/// A refused upload may have this much under way; who sends more has not looked at the answer.
const DISCARD_AT_MOST: usize = 16 * 1024 * 1024;

/// The same, once the stop has cut: only the answer that is just leaving must not be erased.
const LINGERING_AFTER_CUT: Duration = Duration::from_millis(300);

/// A peer that reads nothing may hold up the last that there is to be said for so long.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(500);

/// Closes politely. Bounded by time and bytes; a cut shortens it.
pub(super) async fn politely(stream: &ByteStream, phase: &PhaseWatch) {
    let finish = poll_fn(|task| stream.poll_finish(task, |_| ()));
    if !matches!(timeout(LAST_WORDS, finish).await, Ok(Ok(()))) {
        return;
    }
    tokio::select! {
        biased;
        () = discard(stream) => {}
        () = sleep_until(Instant::now() + LINGERING_CLOSE) => {}
        () = async {
            phase.reached(Phase::Cut).await;
            sleep_until(Instant::now() + LINGERING_AFTER_CUT).await;
        } => {}
    }
}

async fn discard(stream: &ByteStream) {
    let mut discarded = 0;
    let mut scratch = Vec::with_capacity(16 * 1024);
    while discarded < DISCARD_AT_MOST {
        scratch.clear();
        let room = scratch.capacity();
        match stream.try_read(&mut (&mut scratch).limit(room)) {
            Ok(0) => return,
            Ok(read) => discarded += read,
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                if stream.readable().await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// Writes a whole answer by hand, within `patience`.
pub(super) async fn write_all(stream: &ByteStream, mut bytes: &[u8], patience: Duration) {
    let write = async {
        while !bytes.is_empty() {
            match stream.try_write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    if stream.writable().await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    };
    let in_time = timeout(patience, write).await;
    drop(in_time);
}
