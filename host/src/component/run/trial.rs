//! An instance that serves no request: it shows whether the component can start.

use std::fmt;
use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::Instance;

use super::blueprint::Blueprint;
use crate::component::sandbox::guest_failure::GuestFailure;
use crate::component::sandbox::state::GuestState;

/// See the module. Dropping it ends the instance.
pub(crate) struct Trial {
    pub(crate) store: Store<GuestState>,
    pub(crate) instance: Instance,
    pub(crate) blueprint: Arc<Blueprint>,
}

impl Trial {
    /// Lets it live the whole life of an instance, only without a request.
    pub(crate) async fn run_hooks(mut self) -> Result<(), GuestFailure> {
        let (hooks, limit) = (&self.blueprint.code.hooks, self.blueprint.limits().hook);
        hooks
            .start(&mut self.store, &self.instance, limit)
            .await
            .map_err(|why| GuestFailure::from_error(&why))?;
        hooks.end(&mut self.store, &self.instance, limit, true).await;
        Ok(())
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial").field("blueprint", &self.blueprint).finish_non_exhaustive()
    }
}
