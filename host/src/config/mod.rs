//! Raw arguments in, one checked [`Serve`] out. Every default is a named constant with its reason.
//!
//! Knows no other part of the host: everybody else is handed what they need.

pub mod args;
mod ctl;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

pub use ctl::{Ctl, CtlCommand, CtlTarget};
pub use host_manifest::{Address, Grant, Health, Limit, Size, Smoke, Span, defaults};

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
    /// How a swap goes.
    pub swap: Swap,
    /// How far instances are reused; not at all without.
    pub reuse: Option<Reuse>,
    /// What guests are given beyond the sandbox.
    pub grants: Vec<Grant>,
    /// Where compiled code is kept.
    pub cache: Cache,
    /// Worker threads for connections and guests.
    pub threads: NonZeroUsize,
    /// Where operators give commands.
    pub control: Control,
    /// Where health is answered, if anywhere.
    pub health: Option<SocketAddr>,
}

/// Where operators give commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Nowhere: signals are all there is.
    Off,
    /// In the user's runtime directory, if there is one.
    Default,
    /// At this path.
    Path(PathBuf),
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

/// How a swap goes.
#[derive(Clone, Debug)]
pub struct Swap {
    /// Swap when the file changes.
    pub watch: bool,
    /// What a new version must answer before it serves, in this order.
    pub smoke: Vec<Smoke>,
    /// How long compiling may take.
    pub compile: Duration,
    /// From the swap to the cut of what still runs on the version before.
    pub retire: Duration,
    /// Replaced versions that may linger.
    pub retired: usize,
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
    /// How long a lifecycle hook may take.
    pub hook: Duration,
}

/// How far instances are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reuse {
    /// Requests that one instance serves in its life.
    pub exchanges: u32,
    /// Requests that one instance of 0.3 serves at once.
    pub concurrency: u32,
    /// How long one waits for its next request.
    pub idle: Duration,
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
