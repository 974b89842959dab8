//! Swaps, one after the other: whoever asks, the same code answers.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::load::{Loader, Rejected, Step};
use super::reuse::Keeper;
use super::shelf::{Listed, Retirement, Shelf};
use super::{Pace, Slot};

/// Swaps that may wait for the one under way; who comes later is told to come again.
const WAITING_AT_MOST: usize = 16;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read the same path again.
    Reload,
    /// Serve this file from now on.
    Swap(PathBuf),
    /// Put the previous generation's code back.
    Rollback,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Hangup,
    /// An operator, over the control socket.
    Operator,
    /// The file has changed.
    Watch,
}

impl Trigger {
    /// What the log calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Operator => "host ctl",
            Self::Watch => "--watch",
        }
    }
}

/// How a swap came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exchanges that begin from now on run on another generation.
    Swapped {
        /// Number of the generation that is retired.
        from: u64,
        /// Number of the one that serves.
        to: u64,
        /// From the turn of this swap to the pointer store.
        took: Duration,
    },
    /// The bytes are those that serve already.
    Unchanged {
        /// Number of the generation that goes on.
        generation: u64,
    },
    /// The generation that served goes on.
    Rejected(Rejected),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swapped { from, to, took } => {
                write!(f, "swapped from generation {from} to {to} in {took:.3?}")
            }
            Self::Unchanged { generation } => {
                write!(f, "unchanged: generation {generation} is of the same bytes")
            }
            Self::Rejected(Rejected { step, why }) => {
                write!(f, "rejected at step {}: {why}", step.name())
            }
        }
    }
}

/// The last swap, for who looks later.
#[derive(Clone, Debug)]
pub struct LastSwap {
    /// When it was over.
    pub at: Instant,
    /// Who had asked.
    pub trigger: Trigger,
    /// How it came out.
    pub outcome: Outcome,
}

struct Asked {
    ask: Ask,
    trigger: Trigger,
    answer: oneshot::Sender<Outcome>,
    /// A stop waits until who asked has been told.
    kept: Box<dyn Any + Send>,
}

/// Asks for swaps and tells of generations. Cheap to clone; dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Swaps {
    sender: mpsc::Sender<Asked>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    slot: Arc<Slot>,
    shelf: Shelf,
    /// What a reload reads.
    path: Mutex<PathBuf>,
    keeper: Keeper,
    last: watch::Sender<Option<LastSwap>>,
}

/// Carries swaps out. Owned by one task.
#[derive(Debug)]
pub struct Swapper {
    receiver: mpsc::Receiver<Asked>,
    shared: Arc<Shared>,
    loader: Loader,
    /// A stop has been asked for.
    stopping: CancellationToken,
    /// Tasks that see retired generations off.
    retiring: TaskTracker,
}

impl Swaps {
    /// The two ends of swapping what sits in `slot`. `stopping` is cancelled when a stop is asked
    /// for: that wins over a swap, and no swap begins after it. `keeper` makes it wait until who
    /// asked for one has its outcome.
    #[must_use]
    pub fn new(
        slot: Arc<Slot>,
        loader: Loader,
        retirement: Retirement,
        stopping: CancellationToken,
        keeper: Keeper,
    ) -> (Self, Swapper) {
        let (sender, receiver) = mpsc::channel(WAITING_AT_MOST);
        let path = Mutex::new(slot.current().path().to_owned());
        let (last, _) = watch::channel(None);
        let shared = Arc::new(Shared { slot, shelf: Shelf::new(retirement), path, keeper, last });
        let retiring = TaskTracker::new();
        let swapper = Swapper { receiver, shared: shared.clone(), loader, stopping, retiring };
        (Self { sender, shared }, swapper)
    }

    /// Asks for a swap and waits for its outcome: as long as those before it and its own steps
    /// take, each of which has a deadline. Dropping the future leaves the swap going on.
    pub async fn ask(&self, ask: Ask, trigger: Trigger) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let refused = |why: &str| Outcome::Rejected(Rejected::at(Step::Ask, why));
        let kept = self.shared.keeper.keep(format!("swap asked={}", trigger.name()));
        match self.sender.try_send(Asked { ask, trigger, answer, kept }) {
            Ok(()) => outcome.await.unwrap_or_else(|_| refused("the process is ending")),
            Err(mpsc::error::TrySendError::Full(_)) => {
                refused("too many swaps are waiting already; ask again later")
            }
            Err(mpsc::error::TrySendError::Closed(_)) => refused("the process is ending"),
        }
    }

    /// All generations that there are, newest first.
    #[must_use]
    pub fn generations(&self) -> Vec<Listed> {
        self.shared.shelf.list(&self.shared.slot)
    }

    /// The last swap, if there was one.
    #[must_use]
    pub fn last(&self) -> Option<LastSwap> {
        self.shared.last.borrow().clone()
    }

    /// Follows the outcomes of swaps, whoever asks for them.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<LastSwap>> {
        self.shared.last.subscribe()
    }

    /// What a reload reads.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.shared.path().clone()
    }

    /// Tells all guests that the process drains and cuts at `deadline`.
    pub fn end_all(&self, deadline: Instant) {
        self.shared.shelf.end_all(&self.shared.slot, deadline);
    }

    /// Cuts everything: the process ends.
    pub fn cut_all(&self) {
        self.shared.shelf.cut_all(&self.shared.slot);
    }
}

impl Shared {
    fn path(&self) -> MutexGuard<'_, PathBuf> {
        self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Swapper {
    /// Carries out one swap after the other, until nobody can ask any more.
    pub async fn run(mut self) {
        while let Some(Asked { ask, trigger, answer, kept }) = self.receiver.recv().await {
            let outcome = self.carry_out(ask, trigger).await;
            let last = LastSwap { at: Instant::now(), trigger, outcome: outcome.clone() };
            self.shared.last.send_replace(Some(last));
            // Who asked may have gone.
            answer.send(outcome).ok();
            drop(kept);
        }
    }

    async fn carry_out(&self, ask: Ask, trigger: Trigger) -> Outcome {
        let asked = trigger.name();
        info!(asked, ?ask, "swap: begins");
        let stopping = self.stopping.clone();
        let outcome = if stopping.is_cancelled() {
            Err(Rejected::at(Step::Ask, STOPPING))
        } else {
            tokio::select! {
                biased;
                () = stopping.cancelled() => Err(Rejected::at(self.loader.step(), STOPPING)),
                outcome = self.swap(ask) => outcome,
            }
        };
        let outcome = outcome.unwrap_or_else(Outcome::Rejected);
        if matches!(outcome, Outcome::Rejected(_)) {
            warn!(asked, "swap: {outcome}");
        } else {
            info!(asked, "swap: {outcome}");
        }
        outcome
    }

    async fn swap(&self, ask: Ask) -> Result<Outcome, Rejected> {
        let began = Instant::now();
        let current = self.shared.slot.current();
        let (from, digest) = (current.number(), current.digest().clone());
        // Only exchanges may hold a generation.
        drop(current);
        let blueprint = match ask {
            Ask::Rollback => self.shared.shelf.previous().ok_or_else(|| {
                Rejected::at(Step::Ask, "there is no previous generation to go back to")
            })?,
            Ask::Reload | Ask::Swap(_) => {
                let path = match ask {
                    Ask::Swap(path) => path,
                    Ask::Reload | Ask::Rollback => self.shared.path().clone(),
                };
                let source = self.loader.read(&path).await?;
                if source.digest == digest {
                    *self.shared.path() = path;
                    return Ok(Outcome::Unchanged { generation: from });
                }
                match self.shared.shelf.previous() {
                    Some(kept) if kept.digest == source.digest && kept.path == source.path => kept,
                    _ => self.loader.make(source, Pace::BesideTraffic).await?,
                }
            }
        };
        let next = Arc::new(self.loader.prove(blueprint).await?);
        let to = next.number();
        *self.shared.path() = next.path().to_owned();
        let leaves = self.shared.shelf.replace(&self.shared.slot, next);
        let took = began.elapsed();
        self.retiring.spawn(leaves);
        Ok(Outcome::Swapped { from, to, took })
    }
}

/// Why nothing is swapped any more.
const STOPPING: &str = "the host is stopping, and what it serves is not swapped any more";
