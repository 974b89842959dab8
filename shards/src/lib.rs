//! A value for each thread, in one place where all of them can be looked at.
//!
//! ```
//! use host_shards::{OwnLines, Sharded};
//! use std::sync::atomic::{AtomicUsize, Ordering};
//!
//! let served: Sharded<OwnLines<AtomicUsize>> = Sharded::default();
//! served.mine().fetch_add(1, Ordering::Relaxed);
//! let all: usize = served.iter().map(|one| one.load(Ordering::Relaxed)).sum();
//! assert_eq!(all, 1);
//! ```
//!
//! A counter that all requests write costs each of them some 50 ns where two threads take turns: its cache line
//! goes from core to core. A thread that writes to a shard of its own waits for nobody.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

/// More shards than any sensible number of worker threads only cost memory. Threads beyond that share them.
pub const SHARDS: usize = 16;

/// One value for each shard of the threads. Dropping it drops all of them.
#[derive(Debug)]
pub struct Sharded<T>([T; SHARDS]);

impl<T> Sharded<T> {
    /// `make` is called once for each shard.
    pub fn new(mut make: impl FnMut() -> T) -> Self {
        Self(std::array::from_fn(|_| make()))
    }

    /// The value of this thread's shard: the same for the life of the thread.
    pub fn mine(&self) -> &T {
        &self.0[my_index()]
    }

    /// The values of all shards, in the order of their indices.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

/// The index of this thread's shard: handed out in turn, kept for the thread's life.
#[must_use]
pub fn my_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<Option<usize>> = const { Cell::new(None) });
    MINE.with(|mine| {
        mine.get().unwrap_or_else(|| {
            let index = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
            mine.set(Some(index));
            index
        })
    })
}

/// A value that shares no cache line with another one, nor the line that is fetched beside it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct OwnLines<T>(pub T);

impl<T> Deref for OwnLines<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_keeps_its_shard_and_the_next_one_gets_another() {
        let counts: Arc<Sharded<OwnLines<AtomicUsize>>> = Arc::default();
        let count = |counts: &Sharded<OwnLines<AtomicUsize>>| {
            for _ in 0..3 {
                counts.mine().fetch_add(1, Ordering::Relaxed);
            }
        };
        let threads: Vec<_> = (0..SHARDS)
            .map(|_| {
                let counts = counts.clone();
                thread::spawn(move || count(&counts))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let each: Vec<_> = counts.iter().map(|one| one.load(Ordering::Relaxed)).collect();
        assert_eq!(each, [3; SHARDS]);
    }

    #[test]
    fn values_lie_on_lines_of_their_own() {
        let values: Sharded<OwnLines<u8>> = Sharded::default();
        let addresses: Vec<_> =
            values.iter().map(|value| std::ptr::from_ref(value).addr()).collect();
        assert!(addresses.windows(2).all(|two| two[1] - two[0] >= 128), "{addresses:?}");
    }
}
