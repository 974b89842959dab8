//! Finds HTTP/2 frames in bytes that come piece by piece (RFC 9113 §4.1).

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

/// As long as h2 lets a frame be.
const LONGEST_SETTINGS: usize = 16 * 1024;

/// A frame, as far as it is looked at.
pub(super) struct Frame<'a> {
    /// Of its payload, in bytes.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// All of SETTINGS, the first field of GOAWAY and WINDOW_UPDATE, nothing of the others.
    pub(super) payload: &'a [u8],
}

/// The bytes of one direction.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    /// Bytes of payload still to be passed over.
    skip: usize,
    /// The frame's header, and what is wanted of its payload, as far as they have come.
    head: Vec<u8>,
}

impl FrameReader {
    /// Those of a client.
    pub(super) fn behind_a_preface() -> Self {
        Self { skip: PREFACE, ..Self::default() }
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
                GOAWAY | WINDOW_UPDATE => 4,
                SETTINGS => frame.length.min(LONGEST_SETTINGS),
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
