//! A part of the keys of a bucket.

use crate::limits::{MAX_LOOK, MAX_PAGE};

/// Some keys of a bucket, in no order that means anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// [`MAX_PAGE`] at most. They may be none although more follow. Of a Redis server one key may come
    /// twice.
    pub keys: Vec<String>,
    /// Where the next page begins; none after the last one.
    pub cursor: Option<u64>,
}

/// Some keys with a prefix. Over all pages of a walk a key that is there all the time comes exactly once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixPage {
    /// As many as were asked for, at most. They may be fewer, or none, although more follow.
    pub keys: Vec<String>,
    /// Where the next page begins; none after the last one.
    pub cursor: Option<String>,
}

/// Makes a page of pairs that come in the order of their positions.
#[derive(Debug)]
pub(crate) struct PageMaker<'a> {
    prefix: &'a str,
    most: usize,
    now: u64,
    last: u64,
    looked: usize,
    page: Page,
}

impl<'a> PageMaker<'a> {
    /// Of pairs from a position on that have not ended.
    pub(crate) fn new(from: u64, now: u64) -> Self {
        Self { prefix: "", most: MAX_PAGE, now, last: from, looked: 0, page: Page::default() }
    }

    /// Of such with this prefix, and so many of them.
    pub(crate) fn with_prefix(from: u64, now: u64, prefix: &'a str, most: usize) -> Self {
        Self { prefix, most, ..Self::new(from, now) }
    }

    /// Looks at the next pair. False: the page is full, and the next one begins with this pair.
    pub(crate) fn take(&mut self, position: u64, key: &str, ends: u64) -> bool {
        let full = self.page.keys.len() >= self.most || self.looked >= MAX_LOOK;
        if full && position != self.last {
            self.page.cursor = Some(position);
            return false;
        }
        self.last = position;
        self.looked += 1;
        if ends > self.now && key.starts_with(self.prefix) {
            self.page.keys.push(key.to_owned());
        }
        true
    }

    pub(crate) fn done(self) -> Page {
        self.page
    }
}
