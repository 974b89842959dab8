//! The sandbox of one guest: its grants and its limits. Knows no code.

pub(crate) mod backtrace;
pub(crate) mod body_guard;
mod company;
pub(crate) mod component_budgets;
pub(crate) mod cpu_scheduler;
pub(crate) mod cpu_time;
pub(crate) mod egress;
pub(crate) mod grants;
pub(crate) mod guest_failure;
pub(crate) mod guest_log;
pub(crate) mod hops;
pub(crate) mod http_hooks;
pub(crate) mod identity;
pub(crate) mod limiter;
pub(crate) mod log_limit;
pub(crate) mod memory_budget;
pub(crate) mod next_handler;
mod outgoing_span;
pub(crate) mod prefault;
pub(crate) mod retirement;
pub(crate) mod served;
pub(crate) mod state;
pub(crate) mod stdio;
pub(crate) mod terms;
