//! Backends of `wasi:keyvalue`: memory, a database file, Redis.
//!
//! ```text
//! manifest ─→ Stores::open ─→ Buckets ─→ Bucket ─┬→ memory.rs   ┐
//!             (at load)       (per generation)   ├→ disk/       ┴ write.rs: what a write does
//!                               sweep.rs: frees  │                usage.rs: how much room is left
//!                               what has ended   └→ redis/        ttl.rs: how long a pair stays
//! ```
//!
//! A crate of its own, because it needs nothing of the host: it is tested without a guest.
//! Nothing here knows who asks. A [`Bucket`] reaches the pairs of its own space and no others.

mod bucket;
mod disk;
mod end;
mod error;
mod health;
mod lease;
mod limits;
mod memory;
mod names;
mod page;
mod redis;
mod stores;
mod sweep;
mod ttl;
mod usage;
mod write;

pub use bucket::{Bucket, Buckets, Swapped};
pub use disk::{probe, wait_until_closed};
pub use error::{OpenError, StoreError};
pub use health::Trouble;
pub use limits::{MAX_ANSWER, MAX_BATCH, MAX_KEY, MAX_LOOK, MAX_PAGE, PAIR_OVERHEAD};
pub use page::{Page, PrefixPage};
pub use stores::Stores;

#[cfg(test)]
mod tests;
