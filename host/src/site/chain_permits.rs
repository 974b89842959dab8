//! Instances out of the total, for an exchange that goes through more than one component.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::OwnedSemaphorePermit;

/// Permits out of the total, kept for the components behind the first one of a chain. An exchange takes
/// the permits for its whole chain at once, and each component behind the first takes its own from
/// here: exchanges that held one permit each and waited for another could wait for each other. Cheap to
/// clone; held by all that may still pass the request on. The permits that are left go back to the
/// total with the last clone.
#[derive(Clone, Debug, Default)]
pub struct ChainPermits(Arc<Mutex<Kept>>);

type Kept = Option<OwnedSemaphorePermit>;

/// The right to one instance out of the total. Dropping it gives it back to the chain that it came
/// from, or to the total if that chain is gone.
#[derive(Debug)]
pub(super) struct TotalPermit {
    permit: Kept,
    chain: Weak<Mutex<Kept>>,
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put(kept: &Mutex<Kept>, more: OwnedSemaphorePermit) {
    match &mut *lock(kept) {
        // All are of the one total of the process.
        Some(kept) => kept.merge(more),
        empty => *empty = Some(more),
    }
}

impl ChainPermits {
    /// One of the permits that are kept, if there is any.
    pub(super) fn take(&self) -> Option<TotalPermit> {
        let permit = lock(&self.0).as_mut()?.split(1)?;
        Some(TotalPermit { permit: Some(permit), chain: Arc::downgrade(&self.0) })
    }

    /// Keeps all of `permits` but one, and returns that one.
    pub(super) fn keep_rest(&self, mut permits: OwnedSemaphorePermit) -> TotalPermit {
        let rest = permits.num_permits().saturating_sub(1);
        if let (1.., Some(rest)) = (rest, permits.split(rest)) {
            put(&self.0, rest);
        }
        TotalPermit::without_chain(permits)
    }
}

impl TotalPermit {
    /// A permit that goes back to the total itself.
    pub(super) fn without_chain(permit: OwnedSemaphorePermit) -> Self {
        Self { permit: Some(permit), chain: Weak::new() }
    }
}

impl Drop for TotalPermit {
    fn drop(&mut self) {
        if let (Some(chain), Some(permit)) = (self.chain.upgrade(), self.permit.take()) {
            put(&chain, permit);
        }
    }
}
