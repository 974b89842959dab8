//! The terms of a generation's sandbox.

use super::cpu_scheduler::ComponentShare;
use super::grants::Grants;
use super::identity::Identity;
use super::memory_budget::MemoryBudget;

/// The grants of all instances of a generation, and the limits of each. Made once, shared by their stores.
pub(crate) struct Sandbox {
    pub(crate) identity: Identity,
    /// Bytes of linear memory of one instance.
    pub(crate) memory: usize,
    /// The budget that counts it too.
    pub(crate) budget: MemoryBudget,
    /// Handles of one instance.
    pub(crate) handles: usize,
    /// The component's share of the workers.
    pub(crate) share: ComponentShare,
    pub(crate) grants: Grants,
}
