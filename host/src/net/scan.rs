//! Where a request ends, in bytes that come piece by piece.
//!
//! Only used to hand hyper one request at a time, so that what the next one has already sent is
//! known. hyper alone decides what the bytes mean, and refuses what is malformed.

/// Finds the end of a request head in bytes that come piece by piece: an empty line after at least
/// one that is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HeadScan {
    line: Line,
    any_line: bool,
    begun: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Empty,
    JustCr,
    Text,
}

impl HeadScan {
    /// Whether there is more of a head than empty lines before it, which do not count (RFC 9112
    /// §2.2).
    pub(super) fn has_begun(self) -> bool {
        self.begun
    }

    /// Length of `bytes` up to and including the end of the head, if it ends in them.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            match (byte, self.line) {
                (b'\n', Line::Empty | Line::JustCr) => {
                    self.line = Line::Empty;
                    if self.any_line {
                        self.any_line = false;
                        return Some(at + 1);
                    }
                }
                (b'\n', Line::Text) => {
                    self.line = Line::Empty;
                    self.any_line = true;
                }
                (b'\r', Line::Empty) => self.line = Line::JustCr,
                _ => {
                    self.line = Line::Text;
                    self.begun = true;
                }
            }
        }
        None
    }
}

/// Finds the end of a chunked body (RFC 9112 §7.1): sizes with their data, the empty chunk, the
/// trailers, an empty line. Bytes that are no chunked body have no end; hyper refuses them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ChunkScan(Chunk);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// In the line with a chunk's size; digits count until something else comes.
    Size {
        size: u64,
        digits: bool,
    },
    Data {
        left: u64,
    },
    /// The line end behind a chunk's data.
    DataEnd,
    Trailers(Line),
    Malformed,
}

impl Default for Chunk {
    fn default() -> Self {
        Self::Size { size: 0, digits: true }
    }
}

impl ChunkScan {
    /// Length of `bytes` up to and including the end of the body, if it ends in them.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let Chunk::Data { left } = self.0 {
                let skip = left.min((bytes.len() - at) as u64);
                at += usize::try_from(skip).unwrap_or(usize::MAX);
                self.0 =
                    if skip == left { Chunk::DataEnd } else { Chunk::Data { left: left - skip } };
                continue;
            }
            at += 1;
            if self.step(byte) {
                return Some(at);
            }
        }
        None
    }

    /// Takes one byte outside of data; true at the end of the body.
    fn step(&mut self, byte: u8) -> bool {
        self.0 = match (self.0, byte) {
            (Chunk::Size { size: 0, .. }, b'\n') => Chunk::Trailers(Line::Empty),
            (Chunk::Size { size, .. }, b'\n') => Chunk::Data { left: size },
            (Chunk::Size { size, digits: true }, digit) => match char::from(digit).to_digit(16) {
                Some(digit) => size
                    .checked_mul(16)
                    .and_then(|size| size.checked_add(digit.into()))
                    .map_or(Chunk::Malformed, |size| Chunk::Size { size, digits: true }),
                None => Chunk::Size { size, digits: false },
            },
            (Chunk::DataEnd, b'\r') => Chunk::DataEnd,
            (Chunk::DataEnd, b'\n') => Chunk::default(),
            (Chunk::DataEnd, _) => Chunk::Malformed,
            (Chunk::Trailers(Line::Empty | Line::JustCr), b'\n') => {
                *self = Self::default();
                return true;
            }
            (Chunk::Trailers(Line::Text), b'\n') => Chunk::Trailers(Line::Empty),
            (Chunk::Trailers(Line::Empty), b'\r') => Chunk::Trailers(Line::JustCr),
            (Chunk::Trailers(_), _) => Chunk::Trailers(Line::Text),
            (same, _) => same,
        };
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(text: &str) -> Option<usize> {
        HeadScan::default().end(text.as_bytes())
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        assert_eq!(end_of("GET / HTTP/1.1\r\nHost: a\r\n\r\nrest"), Some(27));
        assert_eq!(end_of("GET / HTTP/1.1\n\nrest"), Some(16));
        assert_eq!(end_of("\r\n\r\nGET / HTTP/1.1\r\n\r\n"), Some(22));
        assert_eq!(end_of("GET / HTTP/1.1\r\nHost: a\r\n"), None);
        assert_eq!(end_of("\r\n\r\n"), None);
    }

    #[test]
    fn empty_lines_before_a_head_do_not_begin_it() {
        let mut scan = HeadScan::default();
        scan.end(b"\r\n\r\n");
        assert!(!scan.has_begun());
        scan.end(b"G");
        assert!(scan.has_begun());
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_ends_at_the_same_place() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut scan = HeadScan::default();
        for (at, byte) in head.iter().enumerate() {
            let end = scan.end(std::slice::from_ref(byte));
            assert_eq!(end.is_some(), at + 1 == head.len(), "at {at}");
        }
    }

    #[test]
    fn a_chunked_body_ends_behind_its_trailers() {
        let end = |text: &str| ChunkScan::default().end(text.as_bytes());
        assert_eq!(end("0\r\n\r\nGET"), Some(5));
        assert_eq!(end("3\r\nabc\r\n0\r\n\r\nGET"), Some(13));
        assert_eq!(end("3;x=y\r\n\r\n0\r\n0\r\nA: b\r\n\r\nGET"), Some(23));
        assert_eq!(end("a\r\n0123456789\r\n0\r\n\r"), None);
        assert_eq!(end("ffffffffffffffffff\r\n"), None);
        assert_eq!(end("1\r\nabc"), None);
    }

    #[test]
    fn a_chunked_body_that_comes_byte_by_byte_ends_at_the_same_place() {
        let body = b"5\r\nab\r\nc\r\n00\r\nA: b\r\n\r\n";
        let mut scan = ChunkScan::default();
        for (at, byte) in body.iter().enumerate() {
            let end = scan.end(std::slice::from_ref(byte));
            assert_eq!(end.is_some(), at + 1 == body.len(), "at {at}");
        }
    }
}
