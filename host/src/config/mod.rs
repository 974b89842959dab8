//! Raw arguments in, one checked [`Serve`] out. Every default is a named constant with its reason.
//!
//! Knows no other part of the host: everybody else is handed what they need.

pub mod args;
pub mod defaults;
mod units;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

pub use units::{Address, Limit, Size, Span};

/// Everything `host serve` needs to know, checked before any socket, file or compile.
#[derive(Clone, Debug)]
pub struct Serve {
    /// The component to serve.
    pub app: PathBuf,
    /// Where to listen; at least one.
    pub addresses: Vec<Address>,
    /// How a stop goes.
    pub stop: Stop,
    /// What one connection may do.
    pub connection: ConnectionLimits,
    /// What one exchange may do.
    pub exchange: ExchangeLimits,
    /// What guests may use.
    pub guest: GuestLimits,
    /// Where compiled code is kept.
    pub cache: Cache,
    /// Worker threads for connections and guests.
    pub threads: NonZeroUsize,
}

/// Deadlines of a stop.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// Not ready, but still accepting, for this long.
    pub delay: Duration,
    /// From the signal to the cut; the delay is part of it.
    pub timeout: Duration,
    /// An idle kept-alive connection may still send its next request for this long.
    pub linger: Duration,
}

/// Limits of a connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Open at once, over all listeners.
    pub connections: usize,
    /// From the first byte of a head (or from accept, for the first one) to its end.
    pub head: Duration,
    /// Idle between two requests.
    pub keep_alive: Duration,
    /// No byte of a body moved for this long.
    pub body_idle: Duration,
    /// Bytes of one request head, and of one header.
    pub header_size: usize,
    /// Headers in one request.
    pub headers: usize,
}

/// Limits of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeLimits {
    /// From the end of the request's head to the head of the response.
    pub response_head: Duration,
    /// No body frame for this long, in either direction.
    pub body_idle: Duration,
    /// The whole exchange; none unless asked for, because a stream may be meant to last.
    pub total: Option<Duration>,
    /// Work after the answer.
    pub after: Duration,
    /// Bytes of a request body.
    pub request_body: u64,
    /// Exchanges that wait for an instance.
    pub queue: usize,
    /// How long they wait.
    pub queue_wait: Duration,
}

/// Limits of a guest.
#[derive(Clone, Copy, Debug)]
pub struct GuestLimits {
    /// Instances at once.
    pub instances: usize,
    /// Bytes of linear memory of one instance, all its memories together.
    pub memory: usize,
    /// CPU time of one instance.
    pub cpu: Duration,
}

/// Where compiled code is kept between starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Nowhere: every start compiles.
    Off,
    /// In the user's cache directory.
    Default,
    /// In this directory.
    Directory(PathBuf),
}

#[cfg(test)]
mod tests;
