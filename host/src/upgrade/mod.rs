//! The host replaces itself: a new process takes over the listeners, proves itself, and only then does the old one leave.
//!
//! ```text
//! SIGUSR2, host ctl upgrade ─→ upgrader.rs ─→ successor.rs (the new process)
//!                                  │  ↑
//!                    offers.rs, idle.rs  channel (crate handover)
//!                                  ↓  │
//!            the new process: predecessor.rs ─→ serve/ starts as ever, on listeners that are given
//! ```
//!
//! The order is that of the crate `handover`. Until *taken* the old one can take everything back (`upgrader.rs`); behind it,
//! it leaves (`leaving.rs`).

mod first_to_kill;
mod idle;
mod leaving;
mod offers;
mod order;
mod outlives;
mod predecessor;
mod process_handle;
mod proof;
mod successor;
mod talk;
mod upgrader;

use std::time::Duration;

pub(crate) use offers::Offers;
pub(crate) use order::{OwnProgram, ToldOfUpgrade, UpgradeOrder, Upgraded};
pub(crate) use predecessor::{GivenListener, Predecessor};
pub(crate) use proof::prove;
pub(crate) use upgrader::{UpgradeParts, Upgrader};

/// A step of the other one that takes no work: it may be on a machine that is busy.
const STEP_WITHIN: Duration = Duration::from_secs(30);
