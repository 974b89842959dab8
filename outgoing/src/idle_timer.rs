//! A bound on each pause of a peer, by the clock that counts time in which the process ran: what came
//! while it was stopped is in time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use host_clock::{Moment, until};

/// How long the next piece may take, again and again.
pub(crate) struct IdleTimer {
    wait: Duration,
    running: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl IdleTimer {
    pub(crate) fn new(wait: Duration) -> Self {
        Self { wait, running: None }
    }

    /// Something has come.
    pub(crate) fn reset(&mut self) {
        self.running = None;
    }

    /// Whether the time is over; it begins with the first question after something has come.
    pub(crate) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let running =
            self.running.get_or_insert_with(|| Box::pin(until(Moment::now() + self.wait)));
        matches!(running.as_mut().poll(cx), Poll::Ready(()))
    }
}
