//! Instances out of the total, for an exchange that goes through more than one component.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::permits::Permit;

/// Permits out of the total, kept for the components behind the first one of a chain. An exchange takes
/// the permits for its whole chain at once, and each component behind the first takes its own from
/// here: exchanges that held one permit each and waited for another could wait for each other. Cheap to
/// clone; held by all that may still pass the request on. The permits that are left go back to the
/// total with the last clone.
#[derive(Clone, Debug, Default)]
pub struct ChainPermits(Arc<Mutex<Kept>>);

type Kept = Option<Permit>;

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

fn put(kept: &Mutex<Kept>, more: Permit) {
    match &mut *lock(kept) {
        // All are of the one total of the process.
        Some(kept) => kept.merge(more),
        empty => *empty = Some(more),
    }
}

impl ChainPermits {
    /// One of the permits that are kept, if there is any.
    pub(super) fn take(&self) -> Option<TotalPermit> {
        let mut kept = lock(&self.0);
        let permit = match kept.as_mut()?.split(1) {
            Some(one) => one,
            None => kept.take()?,
        };
        Some(TotalPermit { permit: Some(permit), chain: Arc::downgrade(&self.0) })
    }
}

impl TotalPermit {
    /// One of `permits`, which goes back to the total itself. The rest is for those behind, in `chain`.
    pub(super) fn first_of(mut permits: Permit, chain: Option<&ChainPermits>) -> Self {
        if let Some(chain) = chain
            && let Some(rest) = permits.split(permits.number() - 1)
        {
            put(&chain.0, rest);
        }
        Self { permit: Some(permits), chain: Weak::new() }
    }
}

impl Drop for TotalPermit {
    fn drop(&mut self) {
        if let (Some(chain), Some(permit)) = (self.chain.upgrade(), self.permit.take()) {
            put(&chain, permit);
        }
    }
}
