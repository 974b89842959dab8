//! Requests that wait for an instance, and peers that hold instances up: where there are both, a peer that is
//! slower than the least rate has no time beyond its grace.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;
use std::time::Duration;

use tokio::sync::watch;

/// Whoever waits for less than this is about to be served.
const SOON: Duration = Duration::from_millis(250);

/// Who waits for instances, and who holds them up, in the whole process.
#[derive(Debug)]
pub struct Scarcity {
    /// How many requests wait.
    waiting: watch::Sender<usize>,
    /// How many exchanges wait for their peers.
    held_up: AtomicUsize,
}

impl Scarcity {
    /// Nobody waits.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { waiting: watch::Sender::new(0), held_up: AtomicUsize::new(0) })
    }

    /// Gives what `instance` gives, for which a request waits. Cancel-safe if that is.
    pub async fn wait_for<T>(&self, instance: impl Future<Output = T>) -> T {
        let mut instance = std::pin::pin!(instance);
        tokio::select! {
            biased;
            done = &mut instance => return done,
            () = host_clock::pass(SOON) => {}
        }
        let _waits = Waits::begin(self);
        instance.await
    }

    /// Whether any exchange waits for its peer.
    #[must_use]
    pub fn is_held_up(&self) -> bool {
        self.held_up.load(Ordering::Relaxed) > 0
    }

    fn is_on(&self) -> bool {
        *self.waiting.borrow() > 0
    }

    /// Waits until as many as now wait no longer, or more do.
    fn change(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut waiting = self.waiting.subscribe();
        Box::pin(async move {
            // The sender is there as long as anybody is held up.
            waiting.changed().await.ok();
        })
    }
}

/// A request waits. Dropping it says that it does not any more.
struct Waits<'a>(&'a watch::Sender<usize>);

impl<'a> Waits<'a> {
    fn begin(scarcity: &'a Scarcity) -> Self {
        scarcity.waiting.send_modify(|waiting| *waiting += 1);
        Self(&scarcity.waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

/// What one exchange, or one connection, knows of that. Dropping it says that its peer holds nothing up.
#[derive(Debug, Default)]
pub struct Hurry(Option<HeldUp>);

/// A peer holds an exchange up. Dropping it says that it does not any more.
struct HeldUp {
    scarcity: Arc<Scarcity>,
    /// Comes when more wait, or fewer.
    change: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Hurry {
    /// Takes note of whether the peer holds it up. Gives whether it has no time beyond its grace; the task
    /// is woken when that comes.
    #[inline]
    pub fn poll(
        &mut self,
        scarcity: &Arc<Scarcity>,
        held_up: bool,
        task: &mut Context<'_>,
    ) -> bool {
        if !held_up {
            self.0 = None;
            return false;
        }
        let held_up = self.0.get_or_insert_with(|| HeldUp::begin(scarcity));
        while !scarcity.is_on() {
            if held_up.change.as_mut().poll(task).is_pending() {
                return false;
            }
            held_up.change = scarcity.change();
        }
        true
    }
}

impl HeldUp {
    fn begin(scarcity: &Arc<Scarcity>) -> Self {
        scarcity.held_up.fetch_add(1, Ordering::Relaxed);
        Self { scarcity: scarcity.clone(), change: scarcity.change() }
    }
}

impl Drop for HeldUp {
    fn drop(&mut self) {
        self.scarcity.held_up.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for HeldUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldUp").finish_non_exhaustive()
    }
}
