//! A trial instance serves no request. It shows whether the component can start.

use std::fmt;
use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::Instance;

use super::blueprint::Blueprint;
use super::linked_code::LinkedCode;
use crate::component::sandbox::guest_failure::GuestFailure;
use crate::component::sandbox::state::GuestState;

/// An instance that serves no request. Dropping it ends the instance.
pub(crate) struct Trial {
    pub(crate) store: Store<GuestState>,
    pub(crate) instance: Instance,
    /// What it was made from.
    pub(crate) code: Arc<LinkedCode>,
    pub(crate) blueprint: Arc<Blueprint>,
}

impl Trial {
    /// Runs all hooks of the instance's life, without a request.
    pub(crate) async fn run_hooks(mut self) -> Result<(), GuestFailure> {
        let (hooks, limit) = (&self.code.hooks, self.blueprint.limits().hook);
        hooks
            .start(&mut self.store, &self.instance, limit)
            .await
            .map_err(|why| GuestFailure::from_error(&self.store.data().explain(why)))?;
        hooks.end(&mut self.store, &self.instance, limit, true).await;
        Ok(())
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial").field("blueprint", &self.blueprint).finish_non_exhaustive()
    }
}
