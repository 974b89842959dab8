//! The right to stop the process, with `request-shutdown` of `host:lifecycle/control`.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use host_manifest::abilities::{AbilitySyntax, REQUEST_SHUTDOWN};
use host_manifest::escape::quote;
use host_manifest::{ComponentConfig, RequestShutdownConfig};

use super::ability::{Ability, GrantResources, ImportUse, StopProcess};
use crate::component::sandbox::grants::{Grant, Grants};
use crate::component::sandbox::log_limit::log_limited;
use crate::component::sandbox::state::GuestState;

/// The ability.
pub(super) struct RequestShutdownAbility;

#[derive(Debug)]
struct ShutdownGrant(StopProcess);

impl Grant for ShutdownGrant {
    fn instance_state(&self) -> Option<Box<dyn Any + Send>> {
        Some(Box::new(ShutdownWish { stop: self.0.clone(), asked: false, shared: None }))
    }
}

/// A guest's wish to stop the process. It is passed on when the guest is gone, so that the response of the
/// request that asked is delivered whole, whatever the drain timeout. For a shared instance it is passed on
/// when the first of its exchanges has ended; the others drain.
struct ShutdownWish {
    stop: StopProcess,
    asked: bool,
    /// Of a reusable instance: set at once, and passed on by the end of an exchange.
    shared: Option<Arc<AtomicBool>>,
}

impl Drop for ShutdownWish {
    fn drop(&mut self) {
        if self.asked {
            self.stop.call();
        }
    }
}

/// Notes that a guest wants the process to stop.
pub(super) fn request(state: &mut GuestState, reason: &str) {
    let reason = quote(reason);
    if let Some(wish) = state.instance_state::<ShutdownWish>() {
        match &wish.shared {
            Some(shared) => shared.store(true, Ordering::Relaxed),
            None => wish.asked = true,
        }
        log_limited!(info, state.identity(), "stops", reason, "guest asks for a stop");
    } else {
        log_limited!(
            warn,
            state.identity(),
            "stops",
            reason,
            "guest asks for a stop and may not: it is not granted (--grant request-shutdown), or it does \
             not serve yet"
        );
    }
}

/// Takes the right from an instance that does not serve.
pub(crate) fn deny(state: &mut GuestState) {
    state.drop_instance_state::<ShutdownWish>();
}

/// Shares the instance between exchanges. The end of each exchange looks at `wish`.
pub(crate) fn share(state: &mut GuestState, wish: Arc<AtomicBool>) {
    if let Some(own) = state.instance_state::<ShutdownWish>() {
        own.shared = Some(wish);
    }
}

/// Passes on the wish of a shared instance.
pub(crate) fn stop_process(grants: &Grants) {
    if let Some(ShutdownGrant(stop)) = grants.get() {
        stop.call();
    }
}

impl Ability for RequestShutdownAbility {
    fn syntax(&self) -> AbilitySyntax {
        REQUEST_SHUTDOWN
    }

    fn words(&self) -> &'static [&'static str] {
        &["request-shutdown"]
    }

    fn uses(&self) -> &'static [ImportUse] {
        &[]
    }

    fn is_used_by(&self, imports: &[String]) -> bool {
        imports.iter().any(|name| name.starts_with("host:lifecycle/"))
    }

    fn provide(
        &self,
        component: &ComponentConfig,
        resources: &GrantResources<'_>,
    ) -> Result<Option<Arc<dyn Grant>>, String> {
        let granted: Option<&RequestShutdownConfig> = component.grants.get();
        Ok(granted.map(|_| Arc::new(ShutdownGrant(resources.stop.clone())) as _))
    }
}
