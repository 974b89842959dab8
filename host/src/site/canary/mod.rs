//! A new generation that takes over step by step, while its traffic is compared with that of the one before.
//!
//! ```text
//! request ─→ App ─→ split ─→ current │ candidate
//!                     ▲          │         │
//!                     │ share    └─ traffic ┘
//!                   ramp ←── judge ←─┘        (a look ten times a second)
//! ```
//!
//! A canary changes nothing but the share. Its end, promoted or taken back, is a change like a swap: the swapper stores
//! one pointer, and the loser retires.

mod evidence;
mod judge;
mod progress;
mod ramp;
mod run;
mod running;
mod split;

pub use judge::ComparedTraffic;
pub use progress::{CanaryEnd, CanaryProgress};
pub(super) use run::{Canary, Decision};
pub(super) use running::{CanaryList, RunningCanaries};
pub(super) use split::TrafficSplit;
pub use split::{Draw, Visitor};
