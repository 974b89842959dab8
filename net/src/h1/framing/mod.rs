//! How requests of HTTP/1 are framed: where a head and a chunked body end, and what is wrong with
//! them (RFC 9112), in bytes that come piece by piece.
//!
//! Pure: bytes in, a verdict out. Stricter than hyper: what two servers on the way could read in two
//! ways is refused here, before hyper sees it. What the bytes mean is hyper's to say.

mod chunked;
mod fields;
mod head;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

pub(super) use chunked::ChunkScan;
pub(super) use head::HeadScan;

/// What a scan says of the bytes that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// All of them are part of it, and nothing is wrong with them.
    More,
    /// So many of them are; with these it ends. The scan is over.
    End(usize),
    /// So many of them are; the next one cannot be. The scan is over.
    Malformed(usize, Flaw),
}

/// What cannot be read, or could be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// RFC 9112 §2.2.
    BareLf,
    /// RFC 9112 §2.2.
    BareCr,
    /// RFC 9110 §9.1: a token.
    Method,
    /// RFC 9112 §3.2, RFC 3986 §2: printable ASCII.
    Target,
    /// RFC 9112 §3.2: no form of a target has one.
    Fragment,
    /// RFC 9112 §2.3.
    Version,
    /// Neither HTTP/1.0 nor HTTP/1.1. There is no other that begins with a request line.
    OtherVersion,
    /// RFC 9112 §5.2; and §2.2 behind the request line.
    Fold,
    /// RFC 9112 §5.1.
    SpaceBeforeColon,
    /// RFC 9110 §5.1: a token.
    FieldName,
    /// RFC 9110 §5.5.
    FieldValue,
    /// RFC 9112 §6.3: each its own line, even if they are equal.
    TwoLengths,
    /// RFC 9112 §6.1, §6.3.
    LengthAndCoding,
    /// RFC 9112 §7.1.
    ChunkSize,
    /// RFC 9112 §7.1.1.
    ChunkExtension,
    /// RFC 9112 §7.1: data is followed by a line end.
    ChunkEnd,
    /// A line with a chunk's size has more than [`chunked::LINE`] bytes.
    ChunkLine,
    /// The extensions of a body have more than [`chunked::EXTENSIONS`] bytes.
    ChunkExtensions,
    /// More trailers, or bytes of them, than [`Bounds`] says.
    Trailers,
}

impl Flaw {
    /// What the peer is told.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::BareLf => "line ends in LF without CR\n",
            Self::BareCr => "CR without LF\n",
            Self::Method => "bad method\n",
            Self::Target => "bad request target\n",
            Self::Fragment => "request target has a fragment\n",
            Self::Version => "bad HTTP version\n",
            Self::OtherVersion => "neither HTTP/1.0 nor HTTP/1.1\n",
            Self::Fold => "field line begins with white space\n",
            Self::SpaceBeforeColon => "white space before a colon\n",
            Self::FieldName => "bad field name\n",
            Self::FieldValue => "bad field value\n",
            Self::TwoLengths => "more than one content-length\n",
            Self::LengthAndCoding => "content-length beside transfer-encoding\n",
            Self::ChunkSize => "bad chunk size\n",
            Self::ChunkExtension => "bad chunk extension\n",
            Self::ChunkEnd => "chunk longer than its size\n",
            Self::ChunkLine => "line with chunk size too long\n",
            Self::ChunkExtensions => "too many chunk extensions\n",
            Self::Trailers => "too many trailers\n",
        }
    }
}

/// What the trailers of a body may be. hyper has the same bounds, and an answer that is written before hyper
/// has come to them has to say that the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// How many there may be.
    pub(super) fields: usize,
    /// Of all of them, with the empty line at their end, fewer.
    pub(super) bytes: usize,
}

/// The state of a scan between two bytes.
trait Step: Copy {
    /// How many bytes in front of `bytes` leave it as it is, or nearly so, and nothing is wrong with
    /// them. They are skipped; 0 is always right.
    fn skip(&mut self, bytes: &[u8]) -> usize;

    /// Takes one byte; true with the last one.
    fn step(&mut self, byte: u8) -> Result<bool, Flaw>;
}

/// A scan that is over stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage<S> {
    At(S),
    Ended,
    Failed(Flaw),
}

impl<S: Step> Stage<S> {
    fn scan(&mut self, bytes: &[u8]) -> Scan {
        let mut state = match *self {
            Self::At(state) => state,
            Self::Ended => return Scan::End(0),
            Self::Failed(flaw) => return Scan::Malformed(0, flaw),
        };
        let mut at = 0;
        loop {
            at += state.skip(bytes.get(at..).unwrap_or_default());
            let Some(&byte) = bytes.get(at) else {
                *self = Self::At(state);
                return Scan::More;
            };
            match state.step(byte) {
                Ok(false) => at += 1,
                Ok(true) => {
                    *self = Self::Ended;
                    return Scan::End(at + 1);
                }
                Err(flaw) => {
                    *self = Self::Failed(flaw);
                    return Scan::Malformed(at, flaw);
                }
            }
        }
    }
}

/// RFC 9110 §5.6.2.
const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// By byte: looked up once for each byte of a field name, which costs less than to compare it with all ranges.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte.is_ascii() {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        byte += 1;
    }
    table
};

/// Printable, a space, a tab or beyond ASCII: what may stand in a field value (RFC 9110 §5.5) and
/// behind a backslash (§5.6.4).
const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// RFC 9110 §5.6.3.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Length of the front of `bytes` that is of one kind.
fn run(bytes: &[u8], is_kind: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| !is_kind(*byte)).unwrap_or(bytes.len())
}
