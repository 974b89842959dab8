//! A part of the keys of a bucket.

/// Some keys of a bucket, in no order that means anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// [`MAX_PAGE`](crate::MAX_PAGE) at most. Of a Redis server they may be none although more
    /// follow, and one key may come twice.
    pub keys: Vec<String>,
    /// Where the next page begins; none after the last one.
    pub cursor: Option<u64>,
}
