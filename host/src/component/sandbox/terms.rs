//! The terms of a generation's sandbox.

use super::backtrace::Symbols;
use super::cpu_scheduler::ComponentShare;
use super::grants::Grants;
use super::identity::Identity;
use super::memory_budget::MemoryPocket;
use super::prefault::Prefault;

/// The grants of all instances of a generation, and the limits of each. Shared by the stores of one worker, and
/// alone in its cache lines, because each of its requests counts a reference.
#[repr(align(128))]
pub(crate) struct Sandbox {
    pub(crate) identity: Identity,
    /// Bytes of linear memory of one instance.
    pub(crate) memory: usize,
    /// The part of the budget that counts it too.
    pub(crate) pocket: MemoryPocket,
    /// Handles of one instance.
    pub(crate) handles: usize,
    /// Outgoing requests of one exchange.
    pub(crate) outgoing_per_exchange: usize,
    /// The component's share of the workers.
    pub(crate) share: ComponentShare,
    pub(crate) grants: Grants,
    /// Its outgoing requests go through a plugin.
    pub(crate) has_egress: bool,
    /// Pages that instances write to before they serve.
    pub(crate) prefault: Prefault,
    /// Of its code.
    pub(crate) symbols: Symbols,
}

impl Sandbox {
    /// The same terms for the stores of another worker, which write nothing that these stores write.
    pub(crate) fn for_worker(&self) -> Self {
        Self {
            identity: self.identity.clone(),
            memory: self.memory,
            pocket: self.pocket.another(),
            handles: self.handles,
            outgoing_per_exchange: self.outgoing_per_exchange,
            share: self.share.for_worker(),
            grants: self.grants.clone(),
            has_egress: self.has_egress,
            prefault: self.prefault.for_worker(),
            symbols: self.symbols.clone(),
        }
    }
}
