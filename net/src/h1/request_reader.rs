//! What the next bytes of a peer belong to, and how many of them hyper may be given. Pure.
//!
//! ```text
//!           bytes              begin()             bytes             last byte
//!   Head ─────────→ HeadGiven ─────────→ a body ─────────→ Complete ─────────→ next_head()
//! ```

use bytes::BytesMut;
use tokio::time::Instant;

use super::framing::{Bounds, ChunkScan, HeadScan, Scan};

/// Follows the requests of one connection, to the byte.
#[derive(Debug)]
pub(super) struct RequestReader {
    reading: Reading,
    /// What came behind the request that is being served, or before hyper has asked for it.
    ahead: BytesMut,
    /// hyper asked for bytes when it was not due any.
    parked: bool,
    trailers: Bounds,
}

/// What the next bytes of the peer belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A head, of which there are bytes since then.
    Head { since: Option<Instant>, scan: HeadScan },
    /// A head is with hyper, which says next what follows it.
    HeadGiven,
    /// A body of known length, of which so much has not come yet: at least one byte.
    Sized { left: u64 },
    /// A chunked body.
    Chunked { scan: ChunkScan },
    /// Nothing: all of the request has been given to hyper.
    Complete,
    /// What came in place of a head is none. Nothing more is read.
    NoHead(&'static str),
    /// What came in place of a body is none. Nothing more is read.
    NoBody,
    /// The last answer has said that it is the last one. Nothing more is read.
    Over,
}

/// How the body of a request ends, as hyper found it (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes; 0 where there is none.
    Sized(u64),
    /// With its last chunk.
    Chunked,
}

/// What hyper may be given of what has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing, until [`RequestReader::is_due_again`].
    Nothing,
    /// So many bytes at most.
    UpTo(usize),
    /// The error of a body that is malformed.
    Broken,
}

impl RequestReader {
    /// Of a connection that has sent `ahead` already. `trailers` bounds those of each body.
    pub(super) fn new(trailers: Bounds, ahead: BytesMut) -> Self {
        let reading = Reading::Head { since: None, scan: HeadScan::default() };
        Self { reading, ahead, parked: false, trailers }
    }

    pub(super) fn reading(&self) -> &Reading {
        &self.reading
    }

    /// What hyper may be given, which has room for `room` bytes.
    pub(super) fn due(&mut self, room: usize, in_exchange: bool) -> Due {
        let due = match self.reading {
            Reading::Head { .. } if !in_exchange => Due::UpTo(room),
            Reading::Sized { left } => {
                Due::UpTo(room.min(usize::try_from(left).unwrap_or(usize::MAX)))
            }
            Reading::Chunked { .. } => Due::UpTo(room),
            Reading::NoBody => Due::Broken,
            Reading::HeadGiven => {
                // hyper does not see the end of the head where we do: nobody knows what follows.
                self.reading = Reading::NoHead("bad request\n");
                Due::Nothing
            }
            Reading::Head { .. } | Reading::Complete | Reading::NoHead(_) | Reading::Over => {
                Due::Nothing
            }
        };
        self.parked = due == Due::Nothing;
        due
    }

    /// Whether hyper was told that nothing is due, and now something is.
    pub(super) fn is_due_again(&mut self, in_exchange: bool) -> bool {
        self.parked && self.due(1, in_exchange) != Due::Nothing
    }

    /// What came before it was due, at most `most` bytes of it; empty if nothing has. A head that begins
    /// with it has begun at `began`.
    pub(super) fn take_ahead(&mut self, most: usize, began: Instant) -> BytesMut {
        let mut ahead = std::mem::take(&mut self.ahead);
        let mut piece = ahead.split_to(ahead.len().min(most));
        let given = self.follow(&piece, began);
        let mut rest = piece.split_off(given);
        if rest.is_empty() {
            self.ahead = ahead;
        } else {
            rest.unsplit(ahead);
            self.ahead = rest;
        }
        piece
    }

    /// Whether something has come before it was due.
    pub(super) fn has_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Takes bytes from the socket, no more than were due. Gives how many of them are hyper's, and keeps the
    /// rest. A head that begins with them has begun at `began`.
    pub(super) fn receive(&mut self, bytes: &[u8], began: Instant) -> usize {
        let given = self.follow(bytes, began);
        self.ahead.extend_from_slice(&bytes[given..]);
        given
    }

    /// Follows `bytes` as far as they belong to the request that is being read: so many are hyper's.
    fn follow(&mut self, bytes: &[u8], began: Instant) -> usize {
        let scanned = match &mut self.reading {
            Reading::Head { since, scan } => {
                let scanned = scan.scan(bytes);
                if scan.has_begun() {
                    since.get_or_insert(began);
                }
                scanned
            }
            Reading::Chunked { scan } => scan.scan(bytes),
            Reading::Sized { left } => {
                let given = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= given as u64;
                if *left > 0 { Scan::More } else { Scan::End(given) }
            }
            Reading::HeadGiven
            | Reading::Complete
            | Reading::NoHead(_)
            | Reading::NoBody
            | Reading::Over => return 0,
        };
        let is_head = matches!(self.reading, Reading::Head { .. });
        match scanned {
            Scan::More => bytes.len(),
            Scan::End(given) => {
                self.reading = if is_head { Reading::HeadGiven } else { Reading::Complete };
                given
            }
            Scan::Malformed(at, flaw) => {
                self.reading = if is_head { Reading::NoHead(flaw.text()) } else { Reading::NoBody };
                at
            }
        }
    }

    /// hyper has read a head, behind which comes a body of this framing.
    pub(super) fn begin(&mut self, framing: Framing) {
        self.reading = match framing {
            Framing::Sized(0) => Reading::Complete,
            Framing::Sized(left) => Reading::Sized { left },
            Framing::Chunked => Reading::Chunked { scan: ChunkScan::new(self.trailers) },
        };
    }

    /// The request and its answer are over: the next head may come.
    pub(super) fn next_head(&mut self, now: Instant) {
        // A head that came ahead has begun, though hyper may need another turn to ask for it.
        let since = self.has_begun_ahead().then_some(now);
        self.reading = Reading::Head { since, scan: HeadScan::default() };
    }

    /// Nothing more is read.
    pub(super) fn end(&mut self) {
        self.reading = Reading::Over;
    }

    /// Whether all of the request has been given to hyper.
    pub(super) fn is_complete(&self) -> bool {
        self.reading == Reading::Complete
    }

    /// Whether what came in place of a body is none.
    pub(super) fn is_body_malformed(&self) -> bool {
        self.reading == Reading::NoBody
    }

    /// Whether part of a body is still to come.
    pub(super) fn is_in_body(&self) -> bool {
        matches!(self.reading, Reading::Sized { .. } | Reading::Chunked { .. })
    }

    /// Whether a head may come, and no byte of one has.
    pub(super) fn is_before_head(&self) -> bool {
        matches!(self.reading, Reading::Head { since: None, .. })
    }

    /// Whether half of an empty line before a head was read.
    pub(super) fn is_in_empty_line(&self) -> bool {
        matches!(self.reading, Reading::Head { scan, .. } if scan.is_in_empty_line())
    }

    /// Whether the next bytes, if there are any, begin or go on with a head.
    pub(super) fn awaits_head(&self) -> bool {
        matches!(self.reading, Reading::Head { .. } | Reading::HeadGiven)
    }

    /// Whether part of a head is here.
    pub(super) fn head_is_here(&self) -> bool {
        match self.reading {
            Reading::Head { since, .. } => since.is_some() || self.has_begun_ahead(),
            Reading::HeadGiven => true,
            _ => false,
        }
    }

    /// Whether the next request has begun in what came ahead. Empty lines begin none.
    pub(super) fn has_begun_ahead(&self) -> bool {
        self.ahead.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }
}
