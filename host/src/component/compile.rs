//! Where compiling runs: beside traffic, not in its way.
//!
//! A compile of a large component takes seconds on every core. At a start nobody is served yet, so
//! it may have them all; at a swap it gets half of them, at the lowest priority that the kernel
//! has, and one component is compiled at a time.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::setpriority_process;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tracing::debug;

/// How urgent a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Nobody is served before it is done.
    Start,
    /// Others are being served meanwhile.
    BesideTraffic,
}

/// The weakest claim to a core (setpriority(2)): such a thread gets what others leave, and a
/// seventieth of what they do not.
const NICEST: i32 = 19;

/// Runs one compile at a time, on threads of its own.
#[derive(Clone, Debug)]
pub(super) struct Compiler {
    seat: Arc<Semaphore>,
    cores: NonZeroUsize,
}

/// It was not done in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotDone {
    /// Nor had it begun: an earlier one goes on, because a compiler cannot be interrupted.
    Busy,
    /// It goes on and its result is thrown away.
    TooSlow,
    /// There was no thread to be had, or it panicked.
    Failed,
}

impl Compiler {
    pub(super) fn new() -> Self {
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { seat: Arc::new(Semaphore::new(1)), cores }
    }

    /// Does `work` on threads for compiling; what it does with rayon stays there. The wait is
    /// bounded by `patience`, the work itself is not: a late result is dropped, and until then the
    /// next one is not begun.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        pace: Pace,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let mut begun = false;
        let compiled = async {
            let seat = self.seat.clone().acquire_owned().await.map_err(|_| NotDone::Failed)?;
            begun = true;
            let threads = self.threads(pace);
            let (send, result) = oneshot::channel();
            let work = move || {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .thread_name(|number| format!("compile-{number}"))
                    .start_handler(move |_| settle(pace))
                    .build();
                if let Ok(pool) = pool {
                    send.send(pool.install(work)).ok();
                }
                drop(seat);
            };
            thread::Builder::new()
                .name("compile".into())
                .spawn(work)
                .map_err(|_| NotDone::Failed)?;
            result.await.map_err(|_| NotDone::Failed)
        };
        match timeout(patience, compiled).await {
            Ok(done) => done,
            Err(_) if begun => Err(NotDone::TooSlow),
            Err(_) => Err(NotDone::Busy),
        }
    }

    fn threads(&self, pace: Pace) -> usize {
        match pace {
            Pace::Start => self.cores.get(),
            Pace::BesideTraffic => self.cores.get().div_ceil(2),
        }
    }
}

/// Gives way to the threads that serve.
fn settle(pace: Pace) {
    if pace == Pace::BesideTraffic
        && let Err(why) = setpriority_process(None, NICEST)
    {
        debug!(%why, "compiling goes on at the usual priority");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_is_not_done_in_time_is_told_from_what_has_not_begun() {
        let compiler = Compiler::new();
        let (go, wait) = mpsc::channel::<()>();
        let first = compiler
            .run(Pace::BesideTraffic, Duration::from_millis(1), move || wait.recv().ok())
            .await;
        assert_eq!(first, Err(NotDone::TooSlow));
        let second = compiler.run(Pace::BesideTraffic, Duration::from_millis(1), || 2).await;
        assert_eq!(second, Err(NotDone::Busy), "one at a time");
        go.send(()).unwrap();
        let third = compiler.run(Pace::BesideTraffic, Duration::from_secs(60), || 3).await;
        assert_eq!(third, Ok(3), "the seat is free when the late one is done");
    }

    #[tokio::test]
    async fn beside_traffic_every_thread_has_the_lowest_priority() {
        let priorities = |pace| async move {
            let ask = || rayon::broadcast(|_| rustix::process::getpriority_process(None).unwrap());
            Compiler::new().run(pace, Duration::from_secs(60), ask).await.unwrap()
        };
        let own = rustix::process::getpriority_process(None).unwrap();
        assert!(priorities(Pace::BesideTraffic).await.iter().all(|nice| *nice == NICEST));
        assert!(priorities(Pace::Start).await.iter().all(|nice| *nice == own));
    }

    #[tokio::test]
    async fn a_panic_in_the_compiler_is_an_error_and_frees_the_seat() {
        let compiler = Compiler::new();
        let patience = Duration::from_secs(60);
        let panics: Result<(), _> =
            compiler.run(Pace::Start, patience, || panic!("on purpose")).await;
        assert_eq!(panics, Err(NotDone::Failed));
        assert_eq!(compiler.run(Pace::Start, patience, || 1).await, Ok(1));
    }
}
