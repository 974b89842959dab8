//! hyper's timer: time in which the process did not run is nobody's (`host_clock`). A peer that had answered a
//! PING while the process was stopped was taken for dead.

#![allow(clippy::disallowed_types, reason = "hyper counts in the system's time")]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// For hyper's connections of HTTP/2.
#[derive(Clone, Copy, Debug)]
pub(super) struct FairTimer;

impl Timer for FairTimer {
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(FairSleep(Box::pin(host_clock::pass(time))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(self.now()))
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

struct FairSleep(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl Future for FairSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(task)
    }
}

impl Sleep for FairSleep {}
