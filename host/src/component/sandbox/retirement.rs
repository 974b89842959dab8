//! The retirement of a generation: serving, ending by a moment, cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Decides when exchanges end. Owned by a generation, and by the slot for exchanges without a generation.
#[derive(Debug)]
pub struct Retirement {
    /// A copy of the level, because every exchange and every frame of a response reads it: the reason of a cut,
    /// and [`ENDING`].
    seen: Arc<AtomicU8>,
    level: watch::Sender<Level>,
}

/// Why running exchanges are ended by force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CutReason {
    /// The stop of the process has reached its deadline.
    Stop = 1,
    /// The generation was replaced, and its time is over.
    Retired = 2,
}

/// Set when the end has been decided.
const ENDING: u8 = 1 << 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Serving,
    /// It takes nothing new, and running exchanges are cut at this moment.
    Ending(Instant),
    Cut(CutReason),
}

/// A view of the retirement. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RetirementWatch {
    seen: Arc<AtomicU8>,
    level: watch::Receiver<Level>,
}

impl Default for Retirement {
    /// That of a generation that serves.
    fn default() -> Self {
        Self { seen: Arc::default(), level: watch::Sender::new(Level::Serving) }
    }
}

impl Retirement {
    /// Decides that it ends by `deadline`. An earlier deadline stays.
    pub fn end_by(&self, deadline: Instant) {
        self.level.send_if_modified(|level| {
            let sooner = match *level {
                Level::Serving => true,
                Level::Ending(before) => deadline < before,
                Level::Cut(_) => false,
            };
            if sooner {
                self.seen.fetch_or(ENDING, Ordering::AcqRel);
                *level = Level::Ending(deadline);
            }
            sooner
        });
    }

    /// Lets exchanges see the cut without waking them. The first reason stands. The exchanges of a chain are
    /// of several generations: all of them have to see the cut before one breaks off, or the others take that
    /// for the failure of a guest.
    pub fn announce_cut(&self, reason: CutReason) {
        let first = |seen: u8| (seen & !ENDING == 0).then_some(seen | reason as u8);
        // An error says that another reason came first.
        self.seen.fetch_update(Ordering::AcqRel, Ordering::Acquire, first).ok();
    }

    /// Ends running exchanges by force. Only this tells an exchange to end now. The first reason stands.
    pub fn cut(&self, reason: CutReason) {
        self.announce_cut(reason);
        let reason = self.watch().cut_reason().unwrap_or(reason);
        self.level.send_if_modified(|level| {
            let is_first = !matches!(level, Level::Cut(_));
            if is_first {
                self.seen.fetch_or(ENDING, Ordering::AcqRel);
                *level = Level::Cut(reason);
            }
            is_first
        });
    }

    /// A view for exchanges and instances, which have to end.
    pub(crate) fn watch(&self) -> RetirementWatch {
        RetirementWatch { seen: self.seen.clone(), level: self.level.subscribe() }
    }
}

impl RetirementWatch {
    /// Whether its end has been decided.
    pub(crate) fn is_ending(&self) -> bool {
        self.seen.load(Ordering::Acquire) & ENDING != 0
    }

    /// When running exchanges are cut, if the end has been decided.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match *self.level.borrow() {
            Level::Serving => None,
            Level::Ending(deadline) => Some(deadline),
            Level::Cut(_) => Some(Instant::now()),
        }
    }

    /// The time left until then.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Waits until the end has been decided. Cancel-safe. Never completes if the generation is dropped before,
    /// because then nothing decides any more.
    pub(crate) async fn ending(&self) {
        self.find(|level| (level != Level::Serving).then_some(())).await;
    }

    /// Why running exchanges end at once, if they do.
    pub(crate) fn cut_reason(&self) -> Option<CutReason> {
        match self.seen.load(Ordering::Acquire) & !ENDING {
            0 => None,
            reason if reason == CutReason::Stop as u8 => Some(CutReason::Stop),
            _ => Some(CutReason::Retired),
        }
    }

    /// Waits for the cut. Cancel-safe. Never completes if the generation is dropped before.
    pub(crate) async fn cut(&self) -> CutReason {
        self.find(|level| match level {
            Level::Cut(reason) => Some(reason),
            Level::Serving | Level::Ending(_) => None,
        })
        .await
    }

    /// Waits until `look` finds something in the level.
    async fn find<T>(&self, look: impl Fn(Level) -> Option<T>) -> T {
        let mut level = self.level.clone();
        loop {
            let found = look(*level.borrow_and_update());
            if let Some(found) = found {
                return found;
            }
            if level.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_end_may_come_nearer_and_never_moves_away() {
        let retirement = Retirement::default();
        let watch = retirement.watch();
        assert_eq!((watch.is_ending(), watch.deadline()), (false, None));
        let now = Instant::now();
        let second = |n| now + Duration::from_secs(n);
        for (ask, holds) in [(60, 60), (25, 25), (60, 25)] {
            retirement.end_by(second(ask));
            assert_eq!(watch.deadline(), Some(second(holds)));
        }
        watch.ending().await;
        assert_eq!((watch.is_ending(), watch.cut_reason()), (true, None));
        retirement.cut(CutReason::Retired);
        retirement.end_by(second(1));
        assert_eq!(watch.cut().await, CutReason::Retired);
        assert_eq!(watch.cut_reason(), Some(CutReason::Retired));
        assert!(watch.is_ending());
        retirement.cut(CutReason::Stop);
        assert_eq!(watch.cut_reason(), Some(CutReason::Retired), "the first reason stands");
        assert_eq!(watch.cut().await, CutReason::Retired);
    }
    /// The parts of a chain have to see the cut before one of them ends.
    #[test]
    fn an_announced_cut_is_seen_before_the_end_is_decided() {
        let retirement = Retirement::default();
        let watch = retirement.watch();
        retirement.announce_cut(CutReason::Stop);
        assert_eq!((watch.is_ending(), watch.cut_reason()), (false, Some(CutReason::Stop)));
        retirement.cut(CutReason::Retired);
        assert_eq!((watch.is_ending(), watch.cut_reason()), (true, Some(CutReason::Stop)));
    }
}
