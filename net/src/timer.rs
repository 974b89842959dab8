//! The one timer of a connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

/// Waits until `until`, and gives the moment. A timer that rings too early is set anew: so not every request
/// touches it.
pub(super) fn poll_until(
    mut timer: Pin<&mut Sleep>,
    until: Instant,
    task: &mut Context<'_>,
) -> Poll<Instant> {
    loop {
        if until < timer.deadline() {
            timer.as_mut().reset(until);
        }
        ready!(timer.as_mut().poll(task));
        let now = Instant::now();
        if until <= now {
            return Poll::Ready(now);
        }
        timer.as_mut().reset(until);
    }
}
