//! Values that a table may leave out: the constant that counts then, and numbers as the model has them.

use std::str::FromStr;
use std::time::Duration;

use super::reader::Reader;
use super::spanned::Written;
use crate::{ByteSize, HumanDuration};

/// A default that is a number, for the schema.
pub(super) fn number(text: &str) -> u64 {
    text.parse().unwrap_or_default()
}

pub(super) fn span(
    reader: &mut Reader<'_>,
    written: Option<&Written<HumanDuration>>,
    text: &str,
) -> Duration {
    reader.parse_or(written, default(text)).0
}

/// One of the constants in [`defaults`](crate::defaults).
pub(super) fn default<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("constants, which every manifest without a word reads")
}

pub(super) fn count(written: Option<u64>, default: usize) -> usize {
    written.map_or(default, |count| usize::try_from(count).unwrap_or(usize::MAX))
}

pub(super) fn small(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub(super) fn fitting(size: ByteSize) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}
