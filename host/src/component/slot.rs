//! Where the current generation sits.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Generation;

/// Holds the current generation. An exchange reads it once and keeps what it got to its end.
#[derive(Debug)]
pub struct Slot(ArcSwap<Generation>);

impl Slot {
    /// A slot with its first generation.
    #[must_use]
    pub fn new(generation: Generation) -> Self {
        Self(ArcSwap::from_pointee(generation))
    }

    /// The generation of this moment.
    #[must_use]
    pub fn current(&self) -> Arc<Generation> {
        self.0.load_full()
    }

    /// Puts another generation in its place: exchanges that begin from now on run on that one.
    /// Gives the one before.
    pub(super) fn swap(&self, next: Arc<Generation>) -> Arc<Generation> {
        self.0.swap(next)
    }
}
