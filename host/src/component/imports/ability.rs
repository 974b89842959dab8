//! An ability of guests: its manifest keys, grant, instance state, imports, refusals and lines of
//! `host check` in one unit.

use std::net::SocketAddr;
use std::sync::Arc;

use host_keyvalue::Stores;
use host_manifest::ComponentConfig;
use host_manifest::abilities::AbilitySyntax;
use host_outgoing::SystemResolver;
use wasmtime::component::Linker;

use crate::component::sandbox::grants::Grant;
use crate::component::sandbox::state::GuestState;

/// One ability. Only `abilities.rs` knows it by name.
pub(crate) trait Ability: Sync {
    /// The manifest keys that grant it.
    fn syntax(&self) -> AbilitySyntax;

    /// The manifest's words for its grants, as the summary of its config lists them.
    fn words(&self) -> &'static [&'static str];

    /// Imports of components that may need it. `host check` reports those whose grant is missing.
    fn uses(&self) -> &'static [ImportUse];

    /// Whether a component with these imports could use it. If not, the grant is useless.
    fn is_used_by(&self, imports: &[String]) -> bool {
        self.uses().iter().any(|import| imports.iter().any(|name| name.starts_with(import.prefix)))
    }

    /// Warnings about the grants of a component: sentences for `host check`.
    fn warnings(&self, _: &ComponentConfig) -> Vec<String> {
        Vec::new()
    }

    /// Prepares the grant of a component. None if the component has no grant and refusals log nothing.
    /// Blocks.
    ///
    /// # Errors
    /// The reason why it cannot be provided, in one line.
    fn provide(
        &self,
        component: &ComponentConfig,
        resources: &GrantResources<'_>,
    ) -> Result<Option<Arc<dyn Grant>>, String>;

    /// Links its imports, with or without a grant. May shadow functions of wasmtime.
    ///
    /// # Errors
    /// When wasmtime has no such interface.
    fn link(&self, _: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        Ok(())
    }

    /// Links its imports that need an engine with component-model async.
    ///
    /// # Errors
    /// As [`Self::link`].
    fn link_async(&self, _: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// An import of components that may need an ability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportUse {
    /// The beginning of the interface's name.
    pub prefix: &'static str,
    /// The name of it in `host check`.
    pub what: &'static str,
    /// The manifest's word for the grant.
    pub grant: &'static str,
    /// The grant as it may stand in the table of a component, in one line of TOML.
    pub example: &'static str,
}

/// The resources of the process that grants are made of.
#[derive(Debug)]
pub struct GrantResources<'a> {
    /// The stores of buckets.
    pub stores: &'a Stores,
    /// Listeners of the process that no guest may reach.
    pub forbidden: &'a [SocketAddr],
    /// Stops the process.
    pub stop: &'a StopProcess,
    /// Only looks, and leaves nothing behind: buckets of database files are in memory.
    pub look: bool,
    /// Looks up names for this component, with bounds of its own.
    pub resolver: SystemResolver,
}

/// Stops the process. Cheap to clone.
#[derive(Clone)]
pub struct StopProcess(Arc<dyn Fn() + Send + Sync>);

impl StopProcess {
    /// Calls `stop` when a guest has asked for it and its response is delivered. `stop` may be called from
    /// any thread and more than once, and must not block.
    pub fn new(stop: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(stop))
    }

    pub(crate) fn call(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for StopProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StopProcess")
    }
}
