//! Work of a guest after its answer: in flight under a limit of its own.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, warn};

use super::admission::Permit;
use crate::component::{Generation, Running};
use crate::lifecycle::{Phase, PhaseWatch, Tracker};

/// What it takes to let a guest work on.
#[derive(Clone, Debug)]
pub(super) struct Afterwork {
    pub(super) tracker: Tracker,
    pub(super) phase: PhaseWatch,
    pub(super) limit: Duration,
}

impl Afterwork {
    /// Lets a guest whose answer has ended work on until it has nothing more to do. Its instance
    /// keeps its permit and its generation; its guard in the tracker is what a stop waits for.
    pub(super) fn begin(
        &self,
        mut running: Running,
        permit: Permit,
        generation: Arc<Generation>,
        exchange: u64,
        what: impl fmt::Display + Send + Sync + 'static,
    ) {
        let Self { tracker, phase, limit } = self.clone();
        let mut guard = tracker.enter(what);
        tokio::spawn(async move {
            let work = poll_fn(|cx| {
                if phase.now() == Phase::Cut { Poll::Pending } else { running.poll_work(cx) }
            });
            let component = generation.name();
            tokio::select! {
                biased;
                () = phase.reached(Phase::Cut) => {
                    guard.mark_cut();
                    warn!(exchange, component, "work after the answer cut by the stop");
                }
                done = work => if let Err(why) = done {
                    warn!(exchange, component, %why, "guest failed after its answer");
                },
                () = sleep(limit) => {
                    warn!(exchange, component, ?limit, "guest worked too long after its answer");
                }
            }
            debug!(exchange, component, "work after the answer ended");
            drop(running);
            drop(permit);
            drop(guard);
        });
    }
}
