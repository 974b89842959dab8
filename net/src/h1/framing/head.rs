//! The head of a request: a request line, field lines, an empty line.

use super::fields::Fields;
use super::{Flaw, Scan, Stage, Step, is_token, run};

/// Finds the end of a request head, or what is wrong with it.
///
/// Empty lines before it belong to it, but do not begin it (RFC 9112 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::h1) struct HeadScan(Stage<Head>);

impl Default for HeadScan {
    fn default() -> Self {
        Self(Stage::At(Head::Before))
    }
}

impl HeadScan {
    /// Whether there is more of a head than empty lines before it. What is no head has begun too.
    pub(in crate::h1) fn has_begun(self) -> bool {
        !matches!(self.0, Stage::At(Head::Before | Head::BeforeLf))
    }

    /// Whether half of an empty line before it is here.
    pub(in crate::h1) fn is_in_empty_line(self) -> bool {
        matches!(self.0, Stage::At(Head::BeforeLf))
    }

    /// Takes the next bytes.
    pub(in crate::h1) fn scan(&mut self, bytes: &[u8]) -> Scan {
        self.0.scan(bytes)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    Before,
    BeforeLf,
    Method,
    /// Behind the space before it.
    TargetStart,
    Target,
    /// So many bytes of it have come.
    Version(u8),
    LineEnd,
    Fields(Fields),
}

const VERSION: &[u8] = b"HTTP/1.1";
const MAJOR: u8 = 5;
const MINOR: u8 = 7;

impl Step for Head {
    fn skip(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Method => run(bytes, is_token),
            Self::Target => run(bytes, is_target),
            Self::Version(0) if bytes.starts_with(VERSION) => {
                *self = Self::Version(MINOR + 1);
                VERSION.len()
            }
            Self::Fields(fields) => fields.skip(bytes),
            _ => 0,
        }
    }

    fn step(&mut self, byte: u8) -> Result<bool, Flaw> {
        *self = match (*self, byte) {
            (Self::Fields(mut fields), _) => {
                let ended = fields.step(byte)?;
                *self = Self::Fields(fields);
                return Ok(ended);
            }
            (Self::Before, b'\r') => Self::BeforeLf,
            (Self::BeforeLf, b'\n') => Self::Before,
            (Self::Before | Self::Method, _) if is_token(byte) => Self::Method,
            (Self::Method, b' ') => Self::TargetStart,
            (Self::TargetStart | Self::Target, _) if is_target(byte) => Self::Target,
            (Self::Target, b' ') => Self::Version(0),
            (Self::Version(at), _) => version(at, byte)?,
            (Self::LineEnd, b'\n') => Self::Fields(Fields::default()),
            (Self::BeforeLf | Self::LineEnd, _) => return Err(Flaw::BareCr),
            (_, b'\n') => return Err(Flaw::BareLf),
            (Self::Before | Self::Method, _) => return Err(Flaw::Method),
            (Self::TargetStart | Self::Target, b'#') => return Err(Flaw::Fragment),
            (Self::TargetStart | Self::Target, _) => return Err(Flaw::Target),
        };
        Ok(false)
    }
}

/// Takes a byte of the version, or the line end behind it.
fn version(at: u8, byte: u8) -> Result<Head, Flaw> {
    match (at, byte) {
        (MINOR, b'0') => Ok(Head::Version(at + 1)),
        _ if VERSION.get(usize::from(at)) == Some(&byte) => Ok(Head::Version(at + 1)),
        (MAJOR | MINOR, b'0'..=b'9') => Err(Flaw::OtherVersion),
        (_, b'\r') if usize::from(at) == VERSION.len() => Ok(Head::LineEnd),
        (_, b'\n') if usize::from(at) == VERSION.len() => Err(Flaw::BareLf),
        _ => Err(Flaw::Version),
    }
}

/// Printable ASCII but `#`. More than RFC 3986 has: browsers send `|` or `{` as they are (docs/http.md).
const fn is_target(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}
