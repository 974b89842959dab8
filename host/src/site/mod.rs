//! What is served: components by name, the routes that lead to them, and how both change.
//!
//! ```text
//! request ─→ Slot ─→ Site ─→ route ─→ App ─→ bulkhead ─→ Generation, of one or two
//!              ▲
//!              └── one pointer store ←─ Swapper (one change at a time)
//!                                          │   reads, loads, proves: SiteBuilder, reload
//!                                          └→ retired: what was replaced
//! ```
//!
//! A site is immutable: each change makes another and stores one pointer, so that all of a change is
//! seen or nothing of it. May not know HTTP's wire, sockets or the lifecycle.

mod app;
mod backlog;
mod breaker;
mod builder;
mod bulkhead;
mod canary;
mod certificates;
mod chain_permits;
mod change;
mod change_counts;
mod entries;
mod marks;
mod outcome;
mod pending_compiles;
mod permits;
mod rate_limits;
mod reload;
mod reloads;
mod retired;
mod slot;
mod swap_target;
mod swapper;
mod swaps;
mod take_over;

pub use app::{App, Deployment};
pub use backlog::Backlog;
pub use breaker::{BreakerState, CircuitBreaker};
pub use builder::SiteBuilder;
pub use bulkhead::{Bulkhead, Full, GuestStart, InstancePermit};
pub use canary::{CanaryEnd, CanaryProgress, ComparedTraffic, Draw, Visitor};
pub use chain_permits::ChainPermits;
pub use outcome::{
    CanaryChoice, ReloadScope, Reloaded, SwapCommand, SwapOutcome, SwapRecord, Trigger,
};
pub use permits::Permits;
pub use rate_limits::RouteRateLimit;
pub use reloads::Reloads;
pub use retired::{GenerationInfo, GenerationRole, RetirementPolicy};
pub use slot::{RouteTarget, RoutesEdition, Site, Slot};
pub use swapper::Swapper;
pub use swaps::Swaps;
