//! Responses of HTTP/1, read strictly: bytes in, values out.

/// The most bytes that a head may have.
const LONGEST_HEAD: usize = 256 * 1024;
/// The most bytes that the line before a chunk, or a trailer, may have.
const LONGEST_LINE: usize = 16 * 1024;
/// The most fields that a head may have.
const MOST_FIELDS: usize = 256;

/// What a client must know of a response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    /// Whether it says that the connection ends with this response.
    pub(crate) says_close: bool,
    pub(crate) ends: BodyEnd,
    /// Its bytes, with the empty line.
    pub(crate) length: usize,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// After so many bytes.
    Length(u64),
    /// With the last chunk and its trailers.
    Chunked,
    /// With the connection.
    Connection,
}

impl ResponseHead {
    /// Reads the head at the start of `bytes`. None while its end is missing.
    ///
    /// # Errors
    /// It is no head of HTTP/1, or two readers could disagree on where the body ends.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>, String> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() > LONGEST_HEAD => {
                return Err("a head without end".to_owned());
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(e) => return Err(e.to_string()),
        };
        let status = response.code.unwrap_or_default();
        let tokens: Vec<&str> = values(response.headers, "connection")?
            .into_iter()
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .collect();
        let says = |what: &str| tokens.iter().any(|token| token.eq_ignore_ascii_case(what));
        let is_old = response.version == Some(0);
        let ends = body_end(status, response.headers)?;
        let says_close =
            says("close") || (is_old && !says("keep-alive")) || matches!(ends, BodyEnd::Connection);
        Ok(Some(Self { status, says_close, ends, length }))
    }

    /// Whether another head follows for the same request (RFC 9110, section 15.2). Behind 101 there is no HTTP.
    pub(crate) fn is_interim(self) -> bool {
        matches!(self.status, 100..=199) && self.status != 101
    }
}

fn values<'a>(fields: &[httparse::Header<'a>], name: &str) -> Result<Vec<&'a str>, String> {
    let named = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    named
        .map(|field| str::from_utf8(field.value).map_err(|_| format!("{name} is no text")))
        .collect()
}

/// RFC 9112, section 6.3, for a request that is neither HEAD nor CONNECT.
fn body_end(status: u16, fields: &[httparse::Header<'_>]) -> Result<BodyEnd, String> {
    if matches!(status, 100..=199 | 204 | 304) {
        return Ok(BodyEnd::Length(0));
    }
    let lengths = values(fields, "content-length")?;
    let codings = values(fields, "transfer-encoding")?;
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(BodyEnd::Connection),
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(BodyEnd::Chunked),
        ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            length.parse().map(BodyEnd::Length).map_err(|e| format!("{length:?}: {e}"))
        }
        _ => Err(format!("unclear where it ends: length {lengths:?}, coding {codings:?}")),
    }
}

/// Reads a body and keeps nothing of it.
#[derive(Debug)]
pub(crate) struct BodyDecoder(Part);

#[derive(Debug)]
enum Part {
    /// So many bytes of a body with a length.
    Counted(u64),
    /// All until the connection ends.
    Rest,
    /// The line before a chunk.
    Size(Vec<u8>),
    /// The bytes of a chunk that are left.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd(Vec<u8>),
    /// A line behind the last chunk.
    Trailer(Vec<u8>),
    /// Nothing more.
    Whole,
}

impl BodyDecoder {
    pub(crate) fn new(ends: BodyEnd) -> Self {
        Self(match ends {
            BodyEnd::Length(0) => Part::Whole,
            BodyEnd::Length(length) => Part::Counted(length),
            BodyEnd::Chunked => Part::Size(Vec::new()),
            BodyEnd::Connection => Part::Rest,
        })
    }

    /// Whether the whole body has come.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.0, Part::Whole)
    }

    /// Whether the end of the connection is the end of the body.
    pub(crate) fn ends_with_connection(&self) -> bool {
        matches!(self.0, Part::Rest)
    }

    /// Takes bytes from the front of `bytes`, until there are none or the body is whole.
    ///
    /// # Errors
    /// The chunks are none.
    pub(crate) fn take(&mut self, bytes: &mut Vec<u8>) -> Result<(), String> {
        let mut at = 0;
        while at < bytes.len() && !self.is_whole() {
            at += self.step(bytes.get(at..).unwrap_or_default())?;
        }
        bytes.drain(..at);
        Ok(())
    }

    /// Takes some of `bytes`, of which there is at least one. Gives how many.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let (next, taken) = match &mut self.0 {
            Part::Whole => return Ok(0),
            Part::Rest => return Ok(bytes.len()),
            Part::Counted(left) => {
                let taken = skip(left, bytes.len());
                (if *left == 0 { Some(Part::Whole) } else { None }, taken)
            }
            Part::Chunk(left) => {
                let taken = skip(left, bytes.len());
                (if *left == 0 { Some(Part::ChunkEnd(Vec::new())) } else { None }, taken)
            }
            Part::Size(line) => {
                let taken = fill(line, bytes)?;
                let next = match whole_line(line) {
                    None => None,
                    Some(size) => Some(match chunk_size(size)? {
                        0 => Part::Trailer(Vec::new()),
                        size => Part::Chunk(size),
                    }),
                };
                (next, taken)
            }
            Part::ChunkEnd(line) => {
                let taken = fill(line, bytes)?;
                if !b"\r\n".starts_with(line) {
                    return Err("a chunk that is longer than it says".to_owned());
                }
                (whole_line(line).map(|_| Part::Size(Vec::new())), taken)
            }
            Part::Trailer(line) => {
                let taken = fill(line, bytes)?;
                let next = match whole_line(line) {
                    None => None,
                    Some([]) => Some(Part::Whole),
                    Some(_) => Some(Part::Trailer(Vec::new())),
                };
                (next, taken)
            }
        };
        if let Some(next) = next {
            self.0 = next;
        }
        Ok(taken)
    }
}

/// Takes as many of `there` bytes as are left.
fn skip(left: &mut u64, there: usize) -> usize {
    let there = u64::try_from(there).unwrap_or(u64::MAX);
    let taken = there.min(*left);
    *left -= taken;
    usize::try_from(taken).unwrap_or(usize::MAX)
}

/// Adds the bytes up to the end of the line. Gives how many.
fn fill(line: &mut Vec<u8>, bytes: &[u8]) -> Result<usize, String> {
    let taken = bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |at| at + 1);
    line.extend(bytes.iter().take(taken));
    if line.len() > LONGEST_LINE { Err("a line without end".to_owned()) } else { Ok(taken) }
}

fn whole_line(line: &[u8]) -> Option<&[u8]> {
    line.strip_suffix(b"\r\n")
}

fn chunk_size(line: &[u8]) -> Result<u64, String> {
    let wrong = || format!("not a chunk size: {:?}", String::from_utf8_lossy(line));
    let size = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii_end();
    if size.is_empty() || !size.iter().all(u8::is_ascii_hexdigit) {
        return Err(wrong());
    }
    let size = str::from_utf8(size).map_err(|_| wrong())?;
    u64::from_str_radix(size, 16).map_err(|_| wrong())
}

#[cfg(test)]
#[path = "http1_tests.rs"]
mod tests;
