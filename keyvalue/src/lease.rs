//! What keeps a store open.

use std::any::Any;
use std::sync::Arc;

/// The right to use a store, of one component of one generation. Clones are the same one; the store may
/// be closed when the last of them is dropped. What the lease holds closes it.
#[derive(Clone)]
pub(crate) struct Lease(Arc<dyn Any + Send + Sync>);

impl Lease {
    /// A lease that lasts as long as `held`.
    pub(crate) fn new(held: Arc<dyn Any + Send + Sync>) -> Self {
        Self(held)
    }

    /// A number that no other lease has while this one or a clone of it is there.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}
