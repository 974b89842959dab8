//! The settings that a component is loaded with.

use std::sync::Arc;

use host_manifest::{ComponentLimits, ReuseConfig, RouteConfigs, WasiConfigValues};
use host_telemetry::ComponentUsage;

use super::idle_room::IdleRoom;
use super::keeper::Keeper;
use super::smoke::Smoke;
use crate::component::sandbox::cpu_scheduler::ComponentShare;
use crate::component::sandbox::grants::Grants;
use crate::component::sandbox::guest_log::GuestLog;
use crate::component::sandbox::memory_budget::MemoryBudget;

/// The settings that a component is loaded with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The component's name: that of the manifest, also after a swap to a file of another name.
    pub name: Arc<str>,
    /// The limits of its guests.
    pub limits: ComponentLimits,
    /// The budget of all instances with these settings together, beside the limit of each.
    pub memory: MemoryBudget,
    /// The budget that it is part of: of all instances of the component, also those with other settings.
    pub all_memory: MemoryBudget,
    /// Its share of the CPU.
    pub share: ComponentShare,
    /// Where what its guests use is counted.
    pub usage: Arc<ComponentUsage>,
    /// Where its guests print.
    pub log: Arc<GuestLog>,
    /// The grants of its guests.
    pub grants: Grants,
    /// Its outgoing requests go through a plugin.
    pub has_egress: bool,
    /// What `wasi:config` answers it, where no route says otherwise.
    pub config: WasiConfigValues,
    /// The configurations that routes use it with.
    pub route_configs: RouteConfigs,
    /// How instances are reused. None for no reuse.
    pub reuse: Option<ReuseConfig>,
    /// Instances begin where one was behind its `on-start`.
    pub snapshot: bool,
    /// Room for idle instances, shared with all other components.
    pub idle: IdleRoom,
    /// Makes a stop wait for instances that are reused.
    pub keeper: Keeper,
    /// Requests that a new generation must answer before it serves, in this order.
    pub smoke: Vec<Smoke>,
}
