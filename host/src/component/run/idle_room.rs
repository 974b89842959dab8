//! The room for reusable instances that wait for their next exchange.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for instances that are kept for their next exchange, of all components. The engine's pool has as much
/// room for them as for those that serve, so they take no room from those. Cheap to clone.
#[derive(Clone, Debug)]
pub struct IdleRoom(Arc<Semaphore>);

impl IdleRoom {
    /// Room for this many instances.
    #[must_use]
    pub fn new(instances: usize) -> Self {
        Self(Arc::new(Semaphore::new(instances)))
    }

    /// Room for one, until the permit is dropped.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().try_acquire_owned().ok()
    }
}
