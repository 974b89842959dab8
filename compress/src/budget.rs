//! The memory that all encoders of a process may take together.
//!
//! An encoder lives as long as its response, and how long that is its client decides: one that opens many streams
//! and takes nothing of them held a MiB for each, as often as there were exchanges.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::coding::ContentCoding;

/// Bytes for encoders. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct EncoderBudget {
    left: Arc<AtomicU64>,
}

/// Room for one encoder. Dropping it gives the room back.
#[derive(Debug)]
pub struct EncoderPlace {
    coding: ContentCoding,
    budget: EncoderBudget,
}

impl EncoderBudget {
    /// Of so many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(bytes)) }
    }

    /// Takes room for an encoder. None if there is not enough: then the response goes as it is, and nobody waits.
    #[must_use]
    pub fn take(&self, coding: ContentCoding) -> Option<EncoderPlace> {
        let less = |left: u64| left.checked_sub(cost(coding));
        // Only the number counts: nothing else is read by it.
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        Some(EncoderPlace { coding, budget: self.clone() })
    }
}

impl EncoderPlace {
    pub(crate) fn coding(&self) -> ContentCoding {
        self.coding
    }
}

impl Drop for EncoderPlace {
    fn drop(&mut self) {
        self.budget.left.fetch_add(cost(self.coding), Ordering::Relaxed);
    }
}

/// What an encoder takes at most: with the windows and levels of `encoder.rs`, measured, and its piece beside it.
fn cost(coding: ContentCoding) -> u64 {
    match coding {
        ContentCoding::Gzip => 320 << 10,
        ContentCoding::Zstd => 1280 << 10,
        ContentCoding::Brotli => 1536 << 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_for_a_large_encoder_may_have_it_for_a_small_one() {
        let budget = EncoderBudget::new(1 << 20);
        assert!(budget.take(ContentCoding::Brotli).is_none());
        assert!(budget.take(ContentCoding::Gzip).is_some(), "what was refused has taken nothing");
    }
}
