//! What a component is loaded with.

use std::sync::Arc;

use host_manifest::{ComponentLimits, ReuseConfig};

use super::keeper::Keeper;
use super::pooled_instance::IdleRoom;
use super::smoke::Smoke;
use crate::component::sandbox::cpu_scheduler::ComponentShare;
use crate::component::sandbox::grants::Grants;
use crate::component::sandbox::memory_budget::MemoryBudget;

/// What a component is loaded with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it is called; by its file if none.
    pub name: Option<Arc<str>>,
    /// What guests may use.
    pub limits: ComponentLimits,
    /// Where their memory is counted beside that of each.
    pub memory: MemoryBudget,
    /// Its part of the workers.
    pub share: ComponentShare,
    /// What they are given beyond the sandbox.
    pub grants: Grants,
    /// How far instances are reused; not at all without.
    pub reuse: Option<ReuseConfig>,
    /// Where those wait, with the ones of all other components.
    pub idle: IdleRoom,
    /// Makes a stop wait for instances that are reused.
    pub keeper: Keeper,
    /// Requests that a new generation must answer before it serves, in this order.
    pub smoke: Vec<Smoke>,
}
