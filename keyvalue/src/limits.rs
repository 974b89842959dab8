//! Bounds of every operation, each with its reason.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::end::NEVER;

/// Bytes of one key. A name, not a document; Redis and redb would take far longer ones.
pub const MAX_KEY: usize = 1024;

/// Keys in one batch, so that one call does not hold a store for long.
pub const MAX_BATCH: usize = 1_000;

/// Keys in one page of a list, so that a page is 1 MiB at most.
pub const MAX_PAGE: usize = 1_000;

/// Pairs that are looked at for one page of a list by prefix, so that a prefix that few keys have costs no
/// more than a few milliseconds at a time.
pub const MAX_LOOK: usize = 10_000;

/// Bytes of all values that one batch gives back. As much as one call of a guest may hand in; a
/// guest that names one large value a thousand times would cost the host a thousand copies.
pub const MAX_ANSWER: u64 = 8 << 20;

/// Bytes that a pair counts beyond its key and its value: what stores keep to find it. Without it
/// a component could fill the host's memory with a million empty values and be nowhere near its
/// limit.
pub const PAIR_OVERHEAD: u64 = 128;

/// How long a command to a Redis server may take, connecting included. A server in the same
/// network answers within milliseconds; one that takes seconds would use up the request's own time.
pub(crate) const REDIS_DEADLINE: Duration = Duration::from_secs(2);

/// How long a caller waits for the disk. A busy disk takes a second to write through; one that
/// takes longer than this is broken, and the request had better hear of it.
pub(crate) const DISK_DEADLINE: Duration = Duration::from_secs(10);

/// How long an operation waits for another process to let go of a database file that both use: less than
/// [`DISK_DEADLINE`], so that its caller hears why it fails.
pub(crate) const TURN_DEADLINE: Duration = Duration::from_secs(8);

/// Operations of one component that may wait for the threads of a database file: more than it can
/// have instances that wait.
pub(crate) const MAX_WAITING: usize = 4_096;

/// Bytes of them: four of the largest calls of a guest. A disk that hangs must not fill the memory
/// of the host.
pub(crate) const MAX_WAITING_BYTES: usize = 32 << 20;

/// What a pair counts towards the limit of its bucket.
pub(crate) fn pair_size(key: &str, value: u64) -> u64 {
    value.saturating_add(key.len() as u64).saturating_add(PAIR_OVERHEAD)
}

/// The same, of a pair that ends at this moment. One with a time to live is in the order of ends as well,
/// by its key.
pub(crate) fn kept_size(key: &str, value: u64, ends: u64) -> u64 {
    let again = if ends == NEVER { 0 } else { pair_size(key, 0) };
    pair_size(key, value).saturating_add(again)
}

/// Where a key stands in lists. Pages go by this number, and a cursor is such a number: so a
/// cursor means the same whatever is written or deleted between two pages. Keys of one position
/// are never parted; a thousand of them cannot be found in this digest.
pub(crate) fn position(key: &str) -> u64 {
    let digest = Sha256::digest(key);
    digest.iter().take(8).fold(0, |position, byte| position << 8 | u64::from(*byte))
}
