//! Phases are levels: whoever looks late still sees that a stop has begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

/// Where the process stands. Only ever grows, but for a lame duck by hand, which may be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Not ready: loading components, binding listeners.
    Starting = 0,
    /// Serving.
    Ready = 1,
    /// Not ready any more, still accepting; answers say `Connection: close`.
    LameDuck = 2,
    /// Listeners close, connections are told, exchanges finish.
    Draining = 3,
    /// What is left is ended by force.
    Cut = 4,
}

impl Phase {
    #[inline]
    fn from_level(level: u8) -> Self {
        match level {
            0 => Self::Starting,
            1 => Self::Ready,
            2 => Self::LameDuck,
            3 => Self::Draining,
            _ => Self::Cut,
        }
    }
}

/// The phase with what goes with it; changed as one.
#[derive(Clone, Copy, Debug)]
struct Stage {
    phase: Phase,
    /// Since when peers are told to leave.
    leaving: Option<Instant>,
    stopping: Option<StopSchedule>,
}

/// A stop that has been asked for. There is no way back from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopSchedule {
    /// When it was asked for.
    pub began: Instant,
    /// When it cuts what is left.
    pub deadline: Instant,
    /// Whether nobody has asked for it: this process cannot go on.
    pub is_failure: bool,
}

/// Why a lame duck by hand cannot begin or end now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotNow {
    /// It does not serve yet.
    #[error("the host is not ready yet; ask again when it is")]
    Starting,
    /// A stop has been asked for, and there is no way back from one.
    #[error("the host is stopping, and a stop cannot be taken back")]
    Stopping,
}

/// The one who moves the phase. Owned by the lifecycle.
#[derive(Clone, Debug)]
pub(super) struct PhaseSetter {
    level: Arc<AtomicU8>,
    sender: watch::Sender<Stage>,
}

impl PhaseSetter {
    pub(super) fn new() -> Self {
        let stage = Stage { phase: Phase::Starting, leaving: None, stopping: None };
        let (sender, _) = watch::channel(stage);
        Self { level: Arc::new(AtomicU8::new(Phase::Starting as u8)), sender }
    }

    /// Moves on to `phase`; going back is ignored. Whether it moved.
    pub(super) fn set(&self, phase: Phase) -> bool {
        self.change(|stage| {
            let moves = phase > stage.phase;
            stage.move_to(if moves { phase } else { stage.phase });
            moves
        })
    }

    /// Ends a process that is not ready, for good: it cannot become ready any more. False if it
    /// is ready already.
    pub(super) fn give_up_start(&self) -> bool {
        self.change(|stage| {
            let moves = stage.phase < Phase::Ready;
            stage.move_to(if moves { Phase::Cut } else { stage.phase });
            moves
        })
    }

    /// Takes note that a stop has been asked for. Gives the moment since which peers are told to
    /// leave, if a lame duck by hand has begun that before.
    pub(super) fn begin_stop(&self, stopping: StopSchedule) -> Option<Instant> {
        self.change(|stage| {
            stage.stopping = Some(stopping);
            stage.leaving
        })
    }

    /// Begins a lame duck by hand. One that has begun already goes on.
    pub(super) fn drain(&self) -> Result<(), NotNow> {
        self.change(|stage| {
            stage.check_movable_by_hand()?;
            stage.move_to(Phase::LameDuck);
            Ok(())
        })
    }

    /// Takes a lame duck by hand back.
    pub(super) fn undrain(&self) -> Result<(), NotNow> {
        self.change(|stage| {
            stage.check_movable_by_hand()?;
            stage.move_to(Phase::Ready);
            Ok(())
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Stage) -> T) -> T {
        let mut given = None;
        self.sender.send_modify(|stage| {
            given = Some(change(stage));
            self.level.store(stage.phase as u8, Ordering::Release);
        });
        given.expect("send_modify calls once")
    }

    pub(super) fn watch(&self) -> PhaseWatch {
        PhaseWatch { level: self.level.clone(), receiver: self.sender.subscribe() }
    }
}

impl Stage {
    fn move_to(&mut self, phase: Phase) {
        self.phase = phase;
        self.leaving = match phase {
            Phase::Starting | Phase::Ready => None,
            Phase::LameDuck | Phase::Draining | Phase::Cut => {
                self.leaving.or_else(|| Some(Instant::now()))
            }
        };
    }

    /// Whether a person may move the phase.
    fn check_movable_by_hand(&self) -> Result<(), NotNow> {
        match self {
            Self { phase: Phase::Starting, .. } => Err(NotNow::Starting),
            Self { stopping: Some(_), .. } => Err(NotNow::Stopping),
            Self { phase: Phase::Ready | Phase::LameDuck, .. } => Ok(()),
            Self { phase: Phase::Draining | Phase::Cut, .. } => Err(NotNow::Stopping),
        }
    }
}

/// A view of the phase. Cheap to clone; reading it is one atomic load, because every answer asks.
#[derive(Clone, Debug)]
pub struct PhaseWatch {
    level: Arc<AtomicU8>,
    receiver: watch::Receiver<Stage>,
}

impl PhaseWatch {
    /// The phase at this moment.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Phase {
        Phase::from_level(self.level.load(Ordering::Acquire))
    }

    /// Whether peers are told to leave: lame duck or later.
    #[must_use]
    #[inline]
    pub fn is_leaving(&self) -> bool {
        self.now() >= Phase::LameDuck
    }

    /// Since when peers are told to leave, if they are.
    #[must_use]
    pub fn leaving_since(&self) -> Option<Instant> {
        self.receiver.borrow().leaving
    }

    /// The stop that has been asked for, if one has.
    #[must_use]
    pub fn stopping(&self) -> Option<StopSchedule> {
        self.receiver.borrow().stopping
    }

    /// Waits until a stop has been asked for; a lame duck by hand is none. Cancel-safe; never ends
    /// if the lifecycle is gone before.
    pub async fn stop_asked(&self) -> StopSchedule {
        let mut receiver = self.receiver.clone();
        let stopping = match receiver.wait_for(|stage| stage.stopping.is_some()).await {
            Ok(stage) => stage.stopping,
            Err(_) => None,
        };
        match stopping {
            Some(stopping) => stopping,
            None => std::future::pending().await,
        }
    }

    /// Waits until the phase is another one than `phase`, and says which. Cancel-safe; never ends if the lifecycle is
    /// gone before.
    pub async fn changed_from(&self, phase: Phase) -> Phase {
        let mut receiver = self.receiver.clone();
        let changed = match receiver.wait_for(|now| now.phase != phase).await {
            Ok(stage) => Some(stage.phase),
            Err(_) => None,
        };
        match changed {
            Some(changed) => changed,
            None => std::future::pending().await,
        }
    }

    /// Waits until the phase is `phase` or later. Cancel-safe; never ends if the lifecycle is gone
    /// before, because then nobody can move the phase any more.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.receiver.clone();
        if receiver.wait_for(|now| now.phase >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A phase without a lifecycle, and what moves it: for tests of whatever watches one.
    pub fn with_setter() -> (impl Fn(Phase), Self) {
        let setter = PhaseSetter::new();
        let watch = setter.watch();
        (
            move |phase| {
                setter.set(phase);
            },
            watch,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_late_subscriber_sees_that_the_drain_has_begun() {
        let setter = PhaseSetter::new();
        setter.set(Phase::Draining);
        let watch = setter.watch();
        assert_eq!(watch.now(), Phase::Draining);
        watch.reached(Phase::LameDuck).await;
    }

    #[test]
    fn a_phase_never_goes_back() {
        let setter = PhaseSetter::new();
        setter.set(Phase::Cut);
        setter.set(Phase::Ready);
        assert_eq!(setter.watch().now(), Phase::Cut);
    }

    #[test]
    fn a_lame_duck_by_hand_may_be_taken_back_until_a_stop_is_asked_for() {
        let setter = PhaseSetter::new();
        assert_eq!(setter.drain(), Err(NotNow::Starting));
        setter.set(Phase::Ready);
        setter.drain().unwrap();
        setter.drain().unwrap();
        assert_eq!(setter.watch().now(), Phase::LameDuck);
        setter.undrain().unwrap();
        assert_eq!(setter.watch().now(), Phase::Ready);
        setter.drain().unwrap();
        let now = Instant::now();
        let stop = StopSchedule { began: now, deadline: now, is_failure: false };
        assert!(setter.begin_stop(stop).is_some());
        assert_eq!(setter.undrain(), Err(NotNow::Stopping));
        assert_eq!(setter.watch().now(), Phase::LameDuck);
    }

    #[test]
    fn levels_and_phases_agree() {
        for phase in [Phase::Starting, Phase::Ready, Phase::LameDuck, Phase::Draining, Phase::Cut] {
            assert_eq!(Phase::from_level(phase as u8), phase);
        }
    }
}
