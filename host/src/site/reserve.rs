//! Instances of the total, for an exchange that goes through more than one component.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::OwnedSemaphorePermit;

/// Rights to instances of the total, kept for those behind a plugin. An exchange takes what its whole
/// way needs at once, and each behind its first component takes its own from here: those that hold one
/// each and wait for another could wait for each other. Cheap to clone. Held by whoever may still pass
/// on; what is left in it goes back to the total with the last of them.
#[derive(Clone, Debug, Default)]
pub struct Reserve(Arc<Mutex<Rights>>);

type Rights = Option<OwnedSemaphorePermit>;

/// The right to one instance of the total. Dropping it gives it back to where it came from, or to the
/// total if that is gone.
#[derive(Debug)]
pub(super) struct Right {
    permit: Rights,
    home: Weak<Mutex<Rights>>,
}

fn lock(rights: &Mutex<Rights>) -> MutexGuard<'_, Rights> {
    rights.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put(rights: &Mutex<Rights>, more: OwnedSemaphorePermit) {
    match &mut *lock(rights) {
        // All are of the one total of the process.
        Some(rights) => rights.merge(more),
        empty => *empty = Some(more),
    }
}

impl Reserve {
    /// One of those that are kept, if there is any.
    pub(super) fn take(&self) -> Option<Right> {
        let permit = lock(&self.0).as_mut()?.split(1)?;
        Some(Right { permit: Some(permit), home: Arc::downgrade(&self.0) })
    }

    /// Keeps all of `rights` but one, and gives that.
    pub(super) fn fill(&self, mut rights: OwnedSemaphorePermit) -> Right {
        let rest = rights.num_permits().saturating_sub(1);
        if let (1.., Some(rest)) = (rest, rights.split(rest)) {
            put(&self.0, rest);
        }
        Right::of_the_total(rights)
    }
}

impl Right {
    pub(super) fn of_the_total(permit: OwnedSemaphorePermit) -> Self {
        Self { permit: Some(permit), home: Weak::new() }
    }
}

impl Drop for Right {
    fn drop(&mut self) {
        if let (Some(home), Some(permit)) = (self.home.upgrade(), self.permit.take()) {
            put(&home, permit);
        }
    }
}
