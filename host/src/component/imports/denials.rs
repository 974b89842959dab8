//! Refusals that several abilities share.

use host_manifest::ComponentConfig;
use host_system::descriptors;
use wasmtime_wasi::TrappableError;

use crate::component::sandbox::log_limit::log_limited;
use crate::component::sandbox::state::GuestState;

/// A result as a guest sees it.
pub(crate) fn guest_result<T, E>(
    result: Result<T, TrappableError<E>>,
) -> wasmtime::Result<Result<T, E>>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match result {
        Ok(made) => Ok(Ok(made)),
        Err(why) => why.downcast().map(Err),
    }
}

impl GuestState {
    /// Whether the process can spare a descriptor.
    pub(crate) fn has_descriptor(&self) -> bool {
        let left = descriptors::are_left_for_guests();
        if !left {
            log_limited!(
                warn,
                self.identity(),
                "descriptors",
                "file or socket refused: three quarters of the process's descriptors are taken \
                 (`ulimit -n`, LimitNOFILE=)"
            );
        }
        left
    }
}

/// Warnings for `host check` about granted names that lead to loopback, where the component's grants do not
/// admit loopback addresses.
pub(crate) fn unreachable_loopback(
    component: &ComponentConfig,
    named: impl Iterator<Item = String>,
) -> Vec<String> {
    if component.grants.reach.loopback {
        return Vec::new();
    }
    let name = &component.name;
    let sentence = |named: String| {
        format!(
            "component {name}: it is granted {named} and can never reach it, because that name leads to a \
             loopback address: add \"loopback\" to `outgoing-addresses`"
        )
    };
    named.map(sentence).collect()
}
