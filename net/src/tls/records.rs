//! What has come over the wire, record by record (RFC 8446 §5.1).
//!
//! The session is given whole records only. So a part of one is seen here, where it tells that its peer is in the
//! middle of saying something: a session that held it would look idle.

use std::io;

/// Of a record's header.
const HEADER: usize = 5;

/// Of a record's payload, in any version (RFC 5246 §6.2.3).
const LONGEST: usize = 16 * 1024 + 2048;

/// Room for a read when nothing is known of what comes.
pub(super) const READ: usize = HEADER + LONGEST;

/// Bytes of the peer that the session has not been given.
#[derive(Debug, Default)]
pub(super) struct IncomingRecords {
    bytes: Vec<u8>,
    /// Where those begin that the session has not been given.
    start: usize,
    /// How many of them belong to a record of which the session has been given a part.
    left: usize,
}

impl IncomingRecords {
    /// Reads into room for `room` bytes at least. Gives what `read` gives.
    pub(super) fn read(
        &mut self,
        room: usize,
        read: impl FnOnce(&mut Vec<u8>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.reserve(room);
        read(&mut self.bytes)
    }

    /// The record in front, or what is left of it, if all of it is here. What is none counts as whole: the session
    /// says what is wrong.
    pub(super) fn first(&self) -> Option<&[u8]> {
        let bytes = self.rest();
        if self.left > 0 {
            return bytes.get(..self.left);
        }
        let [kind, major, _, high, low] = *bytes.first_chunk::<HEADER>()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !(20..=24).contains(&kind) || major != 3 || length > LONGEST {
            return Some(bytes);
        }
        bytes.get(..HEADER + length)
    }

    /// The session has been given so many bytes of [`Self::first`].
    pub(super) fn consume(&mut self, bytes: usize) {
        self.left = self.first().map_or(0, <[u8]>::len).saturating_sub(bytes);
        self.start += bytes;
    }

    /// Whether part of a record is here, and no whole one before it.
    pub(super) fn is_partial(&self) -> bool {
        !self.rest().is_empty() && self.first().is_none()
    }

    /// All that is here.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Gives memory back, if nothing is here.
    pub(super) fn shrink(&mut self) {
        if self.rest().is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(bytes: &[u8]) -> IncomingRecords {
        let mut records = IncomingRecords::default();
        let read = |into: &mut Vec<u8>| {
            into.extend_from_slice(bytes);
            Ok(bytes.len())
        };
        records.read(1, read).unwrap();
        records
    }

    #[test]
    fn a_record_is_handed_out_once_its_last_byte_is_here() {
        let record = [23, 3, 3, 0, 2, 7, 8];
        for length in 0..record.len() {
            let records = with(&record[..length]);
            assert_eq!(records.first(), None, "{length}");
            assert_eq!(records.is_partial(), length > 0);
        }
        let mut two = with(&[&record[..], &record[..6]].concat());
        assert_eq!(two.first(), Some(&record[..]));
        assert!(!two.is_partial(), "a whole one is in front");
        two.consume(3);
        assert_eq!(two.first(), Some(&record[3..]), "given in two pieces");
        two.consume(4);
        assert!(two.first().is_none() && two.is_partial());
        let room = two.bytes.capacity();
        two.shrink();
        assert_eq!(two.bytes.capacity(), room, "a part is kept");
        two.start = two.bytes.len();
        two.shrink();
        assert_eq!(two.bytes.capacity(), 0);
    }

    /// The header of what is no record may say any length, and nobody would ever see it come.
    #[test]
    fn what_is_no_record_is_handed_out_as_it_came() {
        for garbage in [&b"GET / HTTP/1.1"[..], &[22, 2, 0, 0, 9], &[23, 3, 3, 0x48, 1], &[0x80; 5]]
        {
            assert_eq!(with(garbage).first(), Some(garbage));
        }
        assert_eq!(with(&[23, 3, 3, 0x48, 0]).first(), None, "as long as one may be");
    }
}
