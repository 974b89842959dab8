//! What can go wrong, and how much of it a guest is told.

use crate::limits::{MAX_ANSWER, MAX_BATCH, MAX_KEY};

/// Why an operation on a bucket failed. Its text is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A key is longer than [`MAX_KEY`].
    #[error("a key is longer than {MAX_KEY} bytes")]
    KeyTooLong,
    /// A key with its value is larger than the limit that holds for the bucket.
    #[error("a value is larger than the limit of {limit} bytes (limits.keyvalue-size)")]
    ValueTooLarge {
        /// Bytes.
        limit: u64,
    },
    /// More keys at once than [`MAX_BATCH`].
    #[error("more than {MAX_BATCH} keys in one batch")]
    BatchTooLong,
    /// What a batch would give back is larger than [`MAX_ANSWER`].
    #[error("the values of one batch are larger than {MAX_ANSWER} bytes together")]
    AnswerTooLarge,
    /// The write would take the space over its limit. Nothing of it is done.
    #[error("the write would exceed the limit of {limit} bytes (limits.keyvalue-size)")]
    Full {
        /// Bytes.
        limit: u64,
    },
    /// The value is not one that can be counted up: a decimal number, 0 or more, without sign or
    /// leading zeros.
    #[error("the value to increment is not a number")]
    NotANumber,
    /// The sum would be larger than 2^63 - 1, which is as far as Redis counts.
    #[error("the number would be larger than 9223372036854775807")]
    Overflow,
    /// A time to live of less than a millisecond.
    #[error("a time to live is less than a millisecond")]
    NoTimeToLive,
    /// A cursor that is of no list with this prefix.
    #[error("the cursor is of no list with this prefix")]
    WrongCursor,
    /// Too much of the component waits for the store already. Nothing has been done.
    #[error("too much of the component waits for the store already")]
    Busy,
    /// The store cannot be reached, or failed. Whether a write happened is not known.
    #[error("{0}")]
    Unavailable(String),
}

impl StoreError {
    /// What a guest is told: what it can act upon, and nothing of the host.
    #[must_use]
    pub fn for_guest(&self) -> &'static str {
        match self {
            Self::KeyTooLong => "the key is too long",
            Self::ValueTooLarge { .. } => "the value is too large",
            Self::BatchTooLong => "too many keys in one batch",
            Self::AnswerTooLarge => "the values are too large for one batch",
            Self::Full { .. } => "the bucket is full",
            Self::NotANumber => "the value is not a number",
            Self::Overflow => "the number would be too large",
            Self::NoTimeToLive => "the time to live is too short",
            Self::WrongCursor => "the cursor is not one of this list",
            Self::Busy => "the store is busy",
            Self::Unavailable(_) => "the store is not available",
        }
    }
}

/// Why buckets cannot be opened. Says which store, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A database file cannot be opened.
    #[error("the key-value database {path} cannot be opened: {why}")]
    Disk {
        /// As the manifest has it.
        path: String,
        /// One sentence, and what to do.
        why: String,
    },
    /// The URL of a Redis server cannot be used. It is not repeated: there may be a password in it.
    #[error("the URL of the Redis server cannot be used: {0}")]
    Redis(String),
}
