//! What becomes of a generation: it serves, is to end by some moment, is cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The one who decides. Owned by the generation.
#[derive(Debug)]
pub struct Retirement {
    /// Beside the level, because every frame of an answer asks.
    cut: Arc<AtomicBool>,
    level: watch::Sender<Level>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Serving,
    /// Nothing new comes, and what runs is cut at this moment.
    Ending(Instant),
    Cut,
}

/// A view of the retirement. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RetirementWatch {
    cut: Arc<AtomicBool>,
    level: watch::Receiver<Level>,
}

impl Retirement {
    pub(crate) fn new() -> Self {
        let (level, _) = watch::channel(Level::Serving);
        Self { cut: Arc::default(), level }
    }

    /// Decides that it ends by `deadline`; an earlier end that was decided before stays.
    pub fn end_by(&self, deadline: Instant) {
        self.level.send_if_modified(|level| {
            let sooner = match *level {
                Level::Serving => true,
                Level::Ending(before) => deadline < before,
                Level::Cut => false,
            };
            if sooner {
                *level = Level::Ending(deadline);
            }
            sooner
        });
    }

    /// Ends what still runs, by force.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.level.send_replace(Level::Cut);
    }

    pub(crate) fn watch(&self) -> RetirementWatch {
        RetirementWatch { cut: self.cut.clone(), level: self.level.subscribe() }
    }
}

impl RetirementWatch {
    /// Whether its end has been decided.
    pub(crate) fn is_ending(&self) -> bool {
        *self.level.borrow() != Level::Serving
    }

    /// When what still runs is cut, if its end has been decided.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match *self.level.borrow() {
            Level::Serving => None,
            Level::Ending(deadline) => Some(deadline),
            Level::Cut => Some(Instant::now()),
        }
    }

    /// What is left until then.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Waits until its end has been decided. Cancel-safe. Never ends for a generation that is gone
    /// before: nobody decides about it any more.
    pub(crate) async fn ending(&self) {
        self.reached(|level| *level != Level::Serving).await;
    }

    /// Whether what still runs is to end at once.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Waits for that. Cancel-safe; never ends for a generation that is gone before.
    pub(crate) async fn cut(&self) {
        self.reached(|level| *level == Level::Cut).await;
    }

    async fn reached(&self, is_there: impl FnMut(&Level) -> bool) {
        let mut level = self.level.clone();
        if level.wait_for(is_there).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_end_may_come_nearer_and_never_moves_away() {
        let retirement = Retirement::new();
        let watch = retirement.watch();
        assert_eq!((watch.is_ending(), watch.deadline()), (false, None));
        let now = Instant::now();
        let second = |n| now + Duration::from_secs(n);
        for (ask, holds) in [(60, 60), (25, 25), (60, 25)] {
            retirement.end_by(second(ask));
            assert_eq!(watch.deadline(), Some(second(holds)));
        }
        watch.ending().await;
        assert!(!watch.is_cut());
        retirement.cut();
        retirement.end_by(second(1));
        watch.cut().await;
        assert!(watch.is_cut() && watch.is_ending());
    }
}
