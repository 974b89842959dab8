//! The exchange: one request with its response, up to the last body frame.
//!
//! ```text
//! request ─→ edge ─→ route, bulkhead ─→ exchange ─→ answer (response body) ─→ afterwork
//!              │       (site/)  │           │ ▲          │
//!              └──── failure ───┴───────────┘ └─ chain   breaks the message
//! ```
//!
//! The only caller of both sides: handed requests by the network, starts instances of components.
//! May not know sockets or signals.

mod afterwork;
mod answer;
mod chain;
mod clock;
mod edge;
mod exchange;
mod failure;
mod label;
mod pace;
mod pipe;
mod prefetch;
mod upload;
mod verdict;
mod way;

pub use answer::{Answer, Broken};
pub use exchange::{Exchanges, Terms};
