//! Bounds on waits, by the clock that counts time in which the process ran: what came while it was stopped
//! is in time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use host_clock::{Moment, until};

/// A moment that far away. Adding panics if there is no such moment; a year is as good.
pub(crate) fn after(from: Moment, wait: Duration) -> Moment {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    from + wait.min(YEAR)
}

/// What a future gives, unless it takes longer than this.
pub(crate) async fn within<T>(wait: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = until(after(Moment::now(), wait)) => None,
    }
}

/// How long somebody waits for the next piece, again and again.
pub(crate) struct Patience {
    wait: Duration,
    running: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl Patience {
    pub(crate) fn new(wait: Duration) -> Self {
        Self { wait, running: None }
    }

    /// Something has come.
    pub(crate) fn renew(&mut self) {
        self.running = None;
    }

    /// Whether it is over; begins with the first question after something has come.
    pub(crate) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let running =
            self.running.get_or_insert_with(|| Box::pin(until(after(Moment::now(), self.wait))));
        matches!(running.as_mut().poll(cx), Poll::Ready(()))
    }
}
