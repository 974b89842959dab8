//! Finds HTTP/2 frames in bytes that come piece by piece (RFC 9113 §4.1).

use std::ops::RangeInclusive;

/// What a client sends before its first frame.
const PREFACE: usize = 24;

const HEADER: usize = 9;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// The largest number of a stream.
pub(super) const HIGHEST_STREAM: u32 = 0x7fff_ffff;

/// A head of ours is looked into if it is no longer: two sizes of the table (six bytes each), and a status.
const SHORT_HEAD: usize = 2 * 6 + 5;

/// `:status: 100`, without a trace in the table of fields, which is hyper's (RFC 7541 §6.2.2).
pub(super) const CONTINUE: &[u8] = b"\x08\x03100";

/// As long as h2 lets a frame be.
const LONGEST_SETTINGS: usize = 16 * 1024;

/// A frame, as far as it is looked at.
pub(super) struct Frame<'a> {
    /// Of its payload, in bytes.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// All of SETTINGS, the numbers of RST_STREAM, GOAWAY and WINDOW_UPDATE, all of a short head of ours, nothing of the
    /// others.
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    /// Whether it is a short head, and whole.
    fn is_short_head(&self) -> bool {
        self.kind == HEADERS && self.flags & END_HEADERS != 0 && self.length <= SHORT_HEAD
    }

    /// The fields of a short head, compressed, behind the sizes of the table.
    fn fields(&self) -> &[u8] {
        let mut block = self.payload;
        while let Some((first, rest)) = block.split_first()
            && first & 0xe0 == 0x20
        {
            block = behind_number(*first, 0x1f, rest);
        }
        block
    }

    /// Whether it asks the peer for the body of its request (RFC 9110 §10.1.1), and answers nothing.
    pub(super) fn is_continue(&self) -> bool {
        self.is_short_head() && self.fields() == CONTINUE
    }

    /// Whether it is an answer of h2's own: a `:status`, and nothing else. hyper gives all others a `date` at least.
    ///
    /// The fields are compressed (RFC 7541 §6), and the table of fields is h2's. But how many there are can be seen
    /// without it.
    pub(super) fn is_bare_status(&self) -> bool {
        /// `:status` in the table that is always the same.
        const STATUS: RangeInclusive<u8> = 8..=14;
        if !self.is_short_head() || self.flags & END_STREAM == 0 {
            return false;
        }
        match *self.fields() {
            // A field in the table.
            [first @ 0x80..=0xff, ref rest @ ..] => behind_number(first, 0x7f, rest).is_empty(),
            // A name in the table, with a value that is to get there, or not.
            [first, length, ref value @ ..] => {
                let name = if first & 0x40 == 0 { first & 0x0f } else { first & 0x3f };
                STATUS.contains(&name) && usize::from(length & 0x7f) == value.len()
            }
            _ => false,
        }
    }
}

/// What stands behind a number that begins in the bits `mask` of `first` (RFC 7541 §5.1).
fn behind_number(first: u8, mask: u8, rest: &[u8]) -> &[u8] {
    if first & mask < mask {
        return rest;
    }
    let last = rest.iter().position(|byte| byte & 0x80 == 0);
    last.and_then(|last| rest.get(last + 1..)).unwrap_or_default()
}

/// The bytes of one direction.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    /// Bytes of payload still to be passed over.
    skip: usize,
    /// The frame's header, and what is wanted of its payload, as far as they have come.
    head: Vec<u8>,
    /// Whether short heads are looked into.
    looks_into_heads: bool,
}

impl FrameReader {
    /// Those of a client.
    pub(super) fn behind_a_preface() -> Self {
        Self { skip: PREFACE, ..Self::default() }
    }

    /// Those of a server.
    pub(super) fn of_answers() -> Self {
        Self { looks_into_heads: true, ..Self::default() }
    }

    /// Whether the last frame has ended, and no other one has begun.
    pub(super) fn is_between(&self) -> bool {
        self.skip == 0 && self.head.is_empty()
    }

    /// Shows each frame once what is looked at of it has come.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut see: impl FnMut(Frame<'_>)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            bytes = bytes.get(skipped..).unwrap_or_default();
            self.skip -= skipped;
            let missing = self.wanted() - self.head.len();
            let taken = missing.min(bytes.len());
            self.head.extend_from_slice(bytes.get(..taken).unwrap_or_default());
            bytes = bytes.get(taken..).unwrap_or_default();
            if self.head.len() < self.wanted() {
                if bytes.is_empty() {
                    return;
                }
                // The header has shown that more of the frame is wanted.
                continue;
            }
            if let Some(frame) = frame_of(&self.head) {
                self.skip = frame.length.saturating_sub(frame.payload.len());
                see(frame);
            }
            self.head.clear();
        }
    }

    /// How much of the frame must be seen.
    fn wanted(&self) -> usize {
        let Some(frame) = frame_of(&self.head) else { return HEADER };
        HEADER
            + match frame.kind {
                RST_STREAM | WINDOW_UPDATE => frame.length.min(4),
                GOAWAY => frame.length.min(8),
                SETTINGS => frame.length.min(LONGEST_SETTINGS),
                HEADERS if self.looks_into_heads && frame.is_short_head() => frame.length,
                _ => 0,
            }
    }
}

fn frame_of(head: &[u8]) -> Option<Frame<'_>> {
    Some(Frame {
        length: usize::try_from(number(head)? >> 8).ok()?,
        kind: *head.get(3)?,
        flags: *head.get(4)?,
        stream: number(head.get(5..)?)? & HIGHEST_STREAM,
        payload: head.get(HEADER..)?,
    })
}

/// A frame as bytes. Its payload is shorter than 16 MiB.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The number in front of `bytes`.
pub(super) fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}
