//! A chunked body (RFC 9112 §7.1): sizes with their data, the empty chunk, trailers, an empty line.

use super::fields::Fields;
use super::{Bounds, Flaw, Scan, Stage, Step, is_space, is_text, is_token};

/// Bytes of a line with a chunk's size and its extensions up to its LF, which nobody reads: more than any sender
/// has a reason for, and no way to send for ever without sending data.
pub(super) const LINE: u16 = 4096;

/// Bytes of the extensions of a whole body: hyper's bound (`CHUNKED_EXTENSIONS_LIMIT`), which it does not let
/// us set.
pub(super) const EXTENSIONS: u16 = 16 * 1024 - 1;

/// Finds the end of a chunked body, or what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::h1) struct ChunkScan(Stage<Body>);

impl ChunkScan {
    /// Of a body that begins.
    pub(in crate::h1) fn new(bounds: Bounds) -> Self {
        let body = Body { at: Chunked::LINE_START, extensions: 0, trailers: 0, bounds };
        Self(Stage::At(body))
    }

    /// Takes the next bytes.
    pub(in crate::h1) fn scan(&mut self, bytes: &[u8]) -> Scan {
        self.0.scan(bytes)
    }
}

/// Where in a body, and what has come that is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Body {
    at: Chunked,
    /// Bytes of extensions.
    extensions: u16,
    /// Bytes of trailers.
    trailers: usize,
    bounds: Bounds,
}

impl Step for Body {
    fn skip(&mut self, bytes: &[u8]) -> usize {
        let skipped = self.at.skip(bytes);
        if matches!(self.at, Chunked::Trailers(_)) {
            self.trailers = self.trailers.saturating_add(skipped);
        }
        skipped
    }

    fn step(&mut self, byte: u8) -> Result<bool, Flaw> {
        let ended = self.at.step(byte)?;
        match &self.at {
            Chunked::Line { at, .. } if at.is_extension() => {
                if self.extensions == EXTENSIONS {
                    return Err(Flaw::ChunkExtensions);
                }
                self.extensions += 1;
            }
            Chunked::Trailers(fields) => {
                self.trailers = self.trailers.saturating_add(1);
                let most = self.bounds;
                if fields.count() > most.fields || self.trailers > most.bytes {
                    return Err(Flaw::Trailers);
                }
            }
            _ => {}
        }
        Ok(ended)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunked {
    /// In a line with the size of a chunk, which is so far `size`.
    Line {
        size: u64,
        at: Line,
        bytes: u16,
    },
    Data {
        left: u64,
    },
    /// Behind the data.
    DataEnd,
    /// Behind the CR that follows the data.
    DataLf,
    Trailers(Fields),
}

/// Where in a line with a chunk's size:
/// `1*HEXDIG *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] ) CR LF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Start,
    Size,
    /// White space, which only a semicolon may follow.
    BeforeSemicolon,
    BeforeName,
    Name,
    /// White space behind a name.
    BehindName,
    BeforeValue,
    Value,
    Quoted,
    /// Behind a backslash.
    Escaped,
    /// Behind the closing quote.
    BehindQuoted,
    /// Behind CR.
    End,
}

impl Line {
    /// Behind the size and before the line's end.
    const fn is_extension(self) -> bool {
        !matches!(self, Self::Start | Self::Size | Self::End)
    }
}

impl Step for Chunked {
    fn skip(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Data { left } => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= here as u64;
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                here
            }
            Self::Trailers(fields) => fields.skip(bytes),
            _ => 0,
        }
    }

    fn step(&mut self, byte: u8) -> Result<bool, Flaw> {
        *self = match (*self, byte) {
            (Self::Trailers(mut fields), _) => {
                let ended = fields.step(byte)?;
                *self = Self::Trailers(fields);
                return Ok(ended);
            }
            (Self::Line { size: 0, at: Line::End, .. }, b'\n') => Self::Trailers(Fields::default()),
            (Self::Line { size, at: Line::End, .. }, b'\n') => Self::Data { left: size },
            (Self::Line { bytes: LINE, .. }, _) => return Err(Flaw::ChunkLine),
            (Self::Line { size, at, bytes }, _) => {
                let (size, at) = line(size, at, byte)?;
                Self::Line { size, at, bytes: bytes + 1 }
            }
            (Self::DataEnd, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::LINE_START,
            (Self::DataLf, _) => return Err(Flaw::BareCr),
            (Self::DataEnd, b'\n') => return Err(Flaw::BareLf),
            (Self::DataEnd | Self::Data { .. }, _) => return Err(Flaw::ChunkEnd),
        };
        Ok(false)
    }
}

impl Chunked {
    const LINE_START: Self = Self::Line { size: 0, at: Line::Start, bytes: 0 };
}

/// Takes a byte of a line with a chunk's size.
fn line(size: u64, at: Line, byte: u8) -> Result<(u64, Line), Flaw> {
    if let (Line::Start | Line::Size, Some(digit)) = (at, char::from(byte).to_digit(16)) {
        let size = size.checked_mul(16).and_then(|size| size.checked_add(digit.into()));
        return Ok((size.ok_or(Flaw::ChunkSize)?, Line::Size));
    }
    let next = match (at, byte) {
        (Line::Size | Line::Name | Line::Value | Line::BehindQuoted, b'\r') => Line::End,
        (Line::End, _) => return Err(Flaw::BareCr),
        (_, b'\n') => return Err(Flaw::BareLf),
        (Line::Start, _) => return Err(Flaw::ChunkSize),
        _ => extension(at, byte)?,
    };
    Ok((size, next))
}

/// Takes a byte of the extensions, or the first one of them (RFC 9112 §7.1.1).
fn extension(at: Line, byte: u8) -> Result<Line, Flaw> {
    Ok(match (at, byte) {
        (Line::Quoted, b'"') => Line::BehindQuoted,
        (Line::Quoted, b'\\') => Line::Escaped,
        (Line::Quoted | Line::Escaped, _) if is_text(byte) => Line::Quoted,
        (Line::BeforeValue, b'"') => Line::Quoted,
        (Line::BeforeName | Line::Name, _) if is_token(byte) => Line::Name,
        (Line::BeforeValue | Line::Value, _) if is_token(byte) => Line::Value,
        (Line::BeforeName | Line::BeforeValue, _) if is_space(byte) => at,
        (Line::Name | Line::BehindName, b'=') => Line::BeforeValue,
        (Line::Name | Line::BehindName, _) if is_space(byte) => Line::BehindName,
        (
            Line::Size
            | Line::BeforeSemicolon
            | Line::Name
            | Line::BehindName
            | Line::Value
            | Line::BehindQuoted,
            b';',
        ) => Line::BeforeName,
        (Line::Size | Line::BeforeSemicolon | Line::Value | Line::BehindQuoted, _)
            if is_space(byte) =>
        {
            Line::BeforeSemicolon
        }
        (Line::Size, _) => return Err(Flaw::ChunkSize),
        _ => return Err(Flaw::ChunkExtension),
    })
}
