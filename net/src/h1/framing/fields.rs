//! Field lines up to the empty line behind them: those of a head, or the trailers of a chunked body.

use super::{Flaw, Step, is_space, is_text, is_token, run};

/// Field lines (RFC 9112 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    at: At,
    name: Name,
    /// `Content-Length` was there.
    length: bool,
    /// `Transfer-Encoding` was there.
    coding: bool,
    /// How many have begun.
    count: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    LineStart,
    Name,
    Value,
    /// Behind the CR of a field line.
    LineEnd,
    /// Behind the CR of the empty line.
    End,
}

impl Step for Fields {
    fn skip(&mut self, bytes: &[u8]) -> usize {
        match self.at {
            At::Value => run(bytes, is_text),
            At::Name if self.name.is_neither() => run(bytes, is_token),
            _ => 0,
        }
    }

    fn step(&mut self, byte: u8) -> Result<bool, Flaw> {
        self.at = match (self.at, byte) {
            (At::LineStart, b'\r') => At::End,
            (At::LineStart, _) if is_space(byte) => return Err(Flaw::Fold),
            (At::LineStart, _) if is_token(byte) => {
                self.name = Name::default();
                self.name.push(byte);
                self.count = self.count.saturating_add(1);
                At::Name
            }
            (At::Name, _) if is_token(byte) => {
                self.name.push(byte);
                At::Name
            }
            (At::Name, b':') => {
                self.take_note()?;
                At::Value
            }
            (At::Name, _) if is_space(byte) => return Err(Flaw::SpaceBeforeColon),
            (At::Value, b'\r') => At::LineEnd,
            (At::Value, _) if is_text(byte) => At::Value,
            (At::LineEnd, b'\n') => At::LineStart,
            (At::End, b'\n') => return Ok(true),
            (At::LineEnd | At::End, _) => return Err(Flaw::BareCr),
            (_, b'\n') => return Err(Flaw::BareLf),
            (At::LineStart | At::Name, _) => return Err(Flaw::FieldName),
            (At::Value, _) => return Err(Flaw::FieldValue),
        };
        Ok(false)
    }
}

impl Fields {
    /// How many have begun.
    pub(super) fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// A name has ended: no two of them may say how long the body is.
    fn take_note(&mut self) -> Result<(), Flaw> {
        let (length, coding) = (self.name.is_length(), self.name.is_coding());
        if length && self.length {
            return Err(Flaw::TwoLengths);
        }
        self.length |= length;
        self.coding |= coding;
        if self.length && self.coding { Err(Flaw::LengthAndCoding) } else { Ok(()) }
    }
}

const LENGTH: &[u8] = b"content-length";
const CODING: &[u8] = b"transfer-encoding";

/// What is to be known of a field name that comes byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    bytes: u8,
    begins_length: bool,
    begins_coding: bool,
}

impl Default for Name {
    fn default() -> Self {
        Self { bytes: 0, begins_length: true, begins_coding: true }
    }
}

impl Name {
    fn push(&mut self, byte: u8) {
        let (at, byte) = (usize::from(self.bytes), byte.to_ascii_lowercase());
        self.begins_length &= LENGTH.get(at) == Some(&byte);
        self.begins_coding &= CODING.get(at) == Some(&byte);
        self.bytes = self.bytes.saturating_add(1);
    }

    /// Whether the bytes that are still to come change nothing.
    fn is_neither(self) -> bool {
        !self.begins_length && !self.begins_coding
    }

    fn is_length(self) -> bool {
        self.begins_length && usize::from(self.bytes) == LENGTH.len()
    }

    fn is_coding(self) -> bool {
        self.begins_coding && usize::from(self.bytes) == CODING.len()
    }
}
