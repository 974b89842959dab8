//! Beginnings and ends of text, found by their lengths.

use std::collections::HashMap;

/// Values by text with which another one begins or ends. Holds the lengths that there are, so that
/// a request with a path of a thousand slashes costs no more than one with two.
#[derive(Clone, Debug)]
pub(super) struct AffixMap<T> {
    values: HashMap<Box<str>, T>,
    /// Each once, the longest first.
    lengths: Vec<usize>,
}

/// What must follow a beginning, if not the end.
#[derive(Clone, Copy)]
pub(super) struct Delimiter(pub(super) char);

impl<T> Default for AffixMap<T> {
    fn default() -> Self {
        Self { values: HashMap::new(), lengths: Vec::new() }
    }
}

impl<T: Default> AffixMap<T> {
    /// The value at `text`, made if it is not there.
    pub(super) fn at(&mut self, text: &str) -> &mut T {
        if let Err(place) = self.lengths.binary_search_by(|length| text.len().cmp(length)) {
            self.lengths.insert(place, text.len());
        }
        self.values.entry(text.into()).or_default()
    }
}

impl<T> AffixMap<T> {
    /// The values at all beginnings of `text` after which `stop` follows or nothing; the longest
    /// first.
    pub(super) fn starts<'a>(
        &'a self,
        text: &'a str,
        stop: Delimiter,
    ) -> impl Iterator<Item = &'a T> {
        self.lengths.iter().filter_map(move |&length| {
            let (start, rest) = text.split_at_checked(length)?;
            (rest.is_empty() || rest.starts_with(stop.0)).then(|| self.values.get(start))?
        })
    }

    /// The lengths that there are, the longest first.
    #[cfg(test)]
    pub(super) fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The values at all ends of `text` before which something stands; the longest first.
    pub(super) fn ends<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a T> {
        self.lengths.iter().filter_map(move |&length| {
            let before = text.len().checked_sub(length).filter(|before| *before > 0)?;
            self.values.get(text.split_at_checked(before)?.1)
        })
    }
}
