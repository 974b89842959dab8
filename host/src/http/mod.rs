//! The exchange: one request with its response, up to the last body frame.
//!
//! ```text
//! request ─→ edge ─→ admission ─→ exchange ─→ answer (response body) ─→ afterwork
//!              │         │            │          │
//!              └─────────┴── failure ─┘      breaks the message
//! ```
//!
//! The only caller of both sides: handed requests by the network, starts instances of components.
//! May not know sockets or signals.

mod admission;
mod afterwork;
mod answer;
mod edge;
mod exchange;
mod failure;
mod upload;

use std::time::Duration;

pub use answer::{Answer, Broken};
pub use exchange::Exchanges;

/// What one exchange may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Instances at once.
    pub instances: usize,
    /// Exchanges that wait for an instance, and how long.
    pub queue: usize,
    /// How long they wait.
    pub queue_wait: Duration,
    /// From the end of the request's head to the head of the response.
    pub response_head: Duration,
    /// No body frame for this long, in either direction.
    pub body_idle: Duration,
    /// The whole exchange.
    pub total: Option<Duration>,
    /// Work after the answer.
    pub after: Duration,
    /// Headers in a request.
    pub headers: usize,
    /// Bytes of a request body.
    pub request_body: u64,
}
