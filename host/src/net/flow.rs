//! What one connection is doing at the moment: shared by its wire, its service and its driver.
//!
//! hyper does not say whether a connection is idle, has half a head, or owes an answer. The wire
//! sees the bytes and the service sees the exchanges; put together here they tell.

use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::BytesMut;
use tokio::time::Instant;

use super::frames::Streams;
use super::scan::{ChunkScan, HeadScan};

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Flow {
    /// Exchanges whose answer has not been handed over whole.
    active: AtomicUsize,
    /// An answer had to be broken off.
    broken: AtomicBool,
    /// The answer being written has no end but the close (HTTP/1.0).
    ends_by_close: AtomicBool,
    state: Mutex<State>,
}

/// The part that the wire changes with every read and write.
#[derive(Debug)]
pub(super) struct State {
    pub(super) reading: Reading,
    /// Bytes that came behind the head which hyper is working on.
    pub(super) ahead: BytesMut,
    pub(super) idle_since: Instant,
    /// When bytes last went either way.
    pub(super) moved: Instant,
    /// Of an HTTP/2 connection.
    pub(super) streams: Option<Streams>,
    /// Since when answers should say that this is the end.
    pub(super) leaving: Option<Instant>,
    /// Since when the kernel takes no more bytes.
    pub(super) write_blocked: Option<Instant>,
    /// hyper asked for bytes that it is not due yet.
    pub(super) parked: Option<Waker>,
    pub(super) served: u64,
}

/// What the next bytes on the wire belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A request head, of which bytes have come since the given moment.
    Head { since: Option<Instant>, scan: HeadScan },
    /// A body of known length, of which so much is still to come; 0 once it is complete.
    Body { left: u64 },
    /// A chunked body.
    Chunked { scan: ChunkScan },
    /// HTTP/2 frames.
    Free,
}

impl Flow {
    /// A connection that was accepted at `accepted`, and has sent `ahead` since.
    pub(super) fn new(reading: Reading, ahead: BytesMut, accepted: Instant) -> Arc<Self> {
        let streams = (reading == Reading::Free).then(Streams::new);
        Arc::new(Self {
            active: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            ends_by_close: AtomicBool::new(false),
            state: Mutex::new(State {
                reading,
                ahead,
                idle_since: accepted,
                moved: accepted,
                streams,
                leaving: None,
                write_blocked: None,
                parked: None,
                served: 0,
            }),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An exchange begins; it is in flight until the guard drops.
    pub(super) fn begin(self: &Arc<Self>, body: Reading) -> Active {
        self.active.fetch_add(1, Ordering::AcqRel);
        let mut state = self.state();
        state.reading = body;
        state.served += 1;
        drop(state);
        Active(self.clone())
    }

    pub(super) fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// Whether bytes are owed to the peer: an unfinished exchange, or an answer not yet written.
    pub(super) fn owes(&self) -> bool {
        let state = self.state();
        self.active() > 0 || state.write_blocked.is_some() || state.open_streams() > 0
    }

    pub(super) fn mark_broken(&self) {
        self.broken.store(true, Ordering::Release);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    pub(super) fn set_ends_by_close(&self, yes: bool) {
        self.ends_by_close.store(yes, Ordering::Release);
    }

    pub(super) fn ends_by_close(&self) -> bool {
        self.ends_by_close.load(Ordering::Acquire)
    }

    fn end(&self) {
        if self.active.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let mut state = self.state();
        state.idle_since = Instant::now();
        if !matches!(state.reading, Reading::Body { left: 1.. } | Reading::Chunked { .. }) {
            state.next_head();
        }
    }
}

impl State {
    /// HTTP/2 streams whose end has not left yet.
    pub(super) fn open_streams(&self) -> usize {
        self.streams.as_ref().map_or(0, Streams::open)
    }

    /// Takes note of bytes that the kernel took.
    pub(super) fn wrote(&mut self, written: &[IoSlice<'_>], mut length: usize) {
        let now = Instant::now();
        self.moved = now;
        // What is owed counts as delivered when the kernel has it, not when we did.
        if self.write_blocked.take().is_some() {
            self.idle_since = now;
        }
        let Some(streams) = &mut self.streams else { return };
        for slice in written {
            let part = slice.get(..length.min(slice.len())).unwrap_or_default();
            streams.send(part);
            length -= part.len();
        }
    }

    /// The next bytes begin a new request.
    pub(super) fn next_head(&mut self) {
        self.reading = Reading::fresh_head();
        if let Some(waker) = self.parked.take() {
            waker.wake();
        }
    }

    /// Whether the next bytes, if there are any, begin a request.
    pub(super) fn awaits_head(&self) -> bool {
        matches!(self.reading, Reading::Head { .. })
    }

    /// Since when half a request head has been here, if one is.
    pub(super) fn half_head_since(&self) -> Option<Instant> {
        match self.reading {
            Reading::Head { since, scan } => since.filter(|_| scan.has_begun()),
            Reading::Body { .. } | Reading::Chunked { .. } | Reading::Free => None,
        }
    }

    /// Whether the request being served has been read to its end.
    pub(super) fn request_is_complete(&self) -> bool {
        self.reading == (Reading::Body { left: 0 })
    }
}

impl Reading {
    pub(super) fn fresh_head() -> Self {
        Self::Head { since: None, scan: HeadScan::default() }
    }

    /// The first head of a connection, whose time runs from accept.
    pub(super) fn first_head(accepted: Instant) -> Self {
        Self::Head { since: Some(accepted), scan: HeadScan::default() }
    }

    pub(super) fn chunked() -> Self {
        Self::Chunked { scan: ChunkScan::default() }
    }

    /// Length of `bytes` up to the end of what is being read, if it ends in them.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Head { scan, .. } => scan.end(bytes),
            Self::Chunked { scan } => scan.end(bytes),
            Self::Body { .. } | Self::Free => None,
        }
    }
}

/// An exchange in flight on a connection. Dropping it ends the exchange.
#[derive(Debug)]
#[must_use = "the exchange ends when this drops"]
pub(super) struct Active(Arc<Flow>);

impl Active {
    pub(super) fn flow(&self) -> &Flow {
        &self.0
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_exchange_to_end_makes_the_connection_idle() {
        let flow = Flow::new(Reading::fresh_head(), BytesMut::new(), Instant::now());
        let first = flow.begin(Reading::Body { left: 0 });
        assert!(flow.owes());
        drop(first);
        assert!(!flow.owes());
        assert_eq!(flow.state().reading, Reading::fresh_head());
    }
}
