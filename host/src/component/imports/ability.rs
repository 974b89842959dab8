//! What an ability of guests is: one unit of manifest keys, grant, state of an instance, imports, refusals
//! and lines of `host check`.

use std::net::SocketAddr;
use std::sync::Arc;

use host_keyvalue::Stores;
use host_manifest::ComponentConfig;
use host_manifest::abilities::AbilitySyntax;
use host_outgoing::SystemResolver;
use wasmtime::component::Linker;

use crate::component::sandbox::grants::Grant;
use crate::component::sandbox::state::GuestState;

/// One ability. Listed in `abilities.rs`, and known to nothing else by name.
pub(crate) trait Ability: Sync {
    /// How a manifest grants it.
    fn syntax(&self) -> AbilitySyntax;

    /// The manifest's words for its grants, as the summary of its config has them.
    fn words(&self) -> &'static [&'static str];

    /// What a component imports if it may be about to use it. `host check` says what of that it lacks.
    fn uses(&self) -> &'static [ImportUse];

    /// Whether a component with these imports could use it; to be granted it is in vain else.
    fn is_used_by(&self, imports: &[String]) -> bool {
        self.uses().iter().any(|it| imports.iter().any(|name| name.starts_with(it.prefix)))
    }

    /// What an operator should know of what a component is granted: sentences for `host check`.
    fn warnings(&self, _: &ComponentConfig) -> Vec<String> {
        Vec::new()
    }

    /// Makes ready what a component is granted. None where nothing is granted and nothing is to be said
    /// of what is refused. Blocks.
    ///
    /// # Errors
    /// Why it cannot be had, in one line.
    fn provide(
        &self,
        component: &ComponentConfig,
        resources: &GrantResources<'_>,
    ) -> Result<Option<Arc<dyn Grant>>, String>;

    /// Links its imports, whether or not it is granted. Functions of wasmtime may be linked once more.
    ///
    /// # Errors
    /// When wasmtime knows no such interface.
    fn link(&self, _: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        Ok(())
    }

    /// Links those that take an engine with component-model async.
    ///
    /// # Errors
    /// As [`Self::link`].
    fn link_async(&self, _: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// An import that says that a component may be about to use an ability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportUse {
    /// How the name of the interface begins.
    pub prefix: &'static str,
    /// What `host check` calls it.
    pub what: &'static str,
    /// The manifest's word for the grant.
    pub grant: &'static str,
}

/// What of the process grants are made with.
#[derive(Debug)]
pub struct GrantResources<'a> {
    /// Where buckets are kept.
    pub stores: &'a Stores,
    /// Listeners of the process that no guest may reach.
    pub forbidden: &'a [SocketAddr],
    /// Stops the process.
    pub stop: &'a StopProcess,
    /// Nothing is to be left behind: what would be in a database file is in memory.
    pub look: bool,
    /// Looks names up for this component, with bounds of its own.
    pub resolver: SystemResolver,
}

/// Stops the process. Cheap to clone.
#[derive(Clone)]
pub struct StopProcess(Arc<dyn Fn() + Send + Sync>);

impl StopProcess {
    /// `stop` is called when a guest has asked for it and its response is delivered. It may be called from any
    /// thread and more than once, and must not block.
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
