//! What has gone over the wire of an HTTP/2 connection.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::interim::Interim;
use super::stream_table::StreamTable;
use crate::context::PeerLimits;
use crate::counts::NetCounts;
use crate::out_rate::OutRate;
use crate::socket::Sending;

/// What has gone over the wire.
#[derive(Debug)]
pub(super) struct Traffic {
    /// The moment of this turn of the connection's task.
    pub(super) now: Instant,
    /// What was read before it was known that this is HTTP/2.
    ahead: BytesMut,
    pub(super) streams: StreamTable,
    pub(super) interim: Interim,
    pub(super) output: OutRate,
    /// When bytes last went either way.
    pub(super) moved: Instant,
    /// When the kernel last took something that it had held up.
    pub(super) delivered: Instant,
    /// Whether the peer may send no part of a body: its uploads look at it.
    pub(super) holds_back: Arc<AtomicBool>,
    /// Since when half a head is here.
    pub(super) half_head: Option<Instant>,
    /// Since when part of a TLS record is here, of which nobody can say what it is.
    pub(super) half_record: Option<Instant>,
    /// When the peer was told to leave, by GOAWAY.
    pub(super) told: Option<Instant>,
}

impl Traffic {
    pub(super) fn new(
        (limits, counts): (&PeerLimits, NetCounts),
        accepted: Instant,
        ahead: BytesMut,
    ) -> Self {
        Self {
            now: accepted,
            ahead,
            streams: StreamTable::new(counts),
            interim: Interim::default(),
            output: OutRate::new(limits.stall, limits.min_rate),
            moved: accepted,
            delivered: accepted,
            holds_back: Arc::default(),
            half_head: None,
            half_record: None,
            told: None,
        }
    }

    /// Whether the driver has to say something before more is read: hyper reads on in one turn for as long as the
    /// peer sends, and would let it take back any number of requests until then.
    pub(super) fn waits_for_driver(&self) -> bool {
        self.streams.is_flooded() || self.streams.takes_requests_back() && self.told.is_none()
    }

    /// Moves what came before it was known that this is HTTP/2 into `buffer`, as far as there is room. Gives
    /// whether there was anything.
    pub(super) fn take_ahead(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        if self.ahead.is_empty() {
            return false;
        }
        let piece = self.ahead.split_to(self.ahead.len().min(buffer.remaining()));
        buffer.put_slice(&piece);
        self.received(&piece);
        true
    }

    /// Takes note of whether part of a record is here, and no whole one.
    pub(super) fn set_half_record(&mut self, is_here: bool) {
        self.half_record = is_here.then(|| self.half_record.unwrap_or(self.now));
    }

    /// The peer has sent `bytes`.
    pub(super) fn received(&mut self, bytes: &[u8]) {
        self.moved = self.now;
        let newest = self.streams.newest();
        self.streams.receive(bytes);
        let began = self.half_head.filter(|_| newest == self.streams.newest());
        let since = began.unwrap_or(self.now);
        self.half_head = self.streams.has_half_a_head().then_some(since);
        self.holds_back.store(self.streams.holds_peer_back(), Ordering::Release);
    }

    /// The kernel has taken bytes, or takes none.
    pub(super) fn sending(&mut self, sending: Sending) {
        match sending {
            Sending::Taken(bytes) => {
                self.moved = self.now;
                self.output.wrote(self.now, bytes);
            }
            Sending::Blocked => self.output.blocked(self.now),
        }
    }

    /// `length` bytes of the slices are on their way: the kernel has taken them, but for what a TLS session holds.
    pub(super) fn sent(&mut self, slices: &[IoSlice<'_>], mut length: usize) {
        for slice in slices {
            let part = slice.get(..length.min(slice.len())).unwrap_or_default();
            self.streams.send(part, self.now);
            length -= part.len();
        }
        self.holds_back.store(self.streams.holds_peer_back(), Ordering::Release);
    }
}
