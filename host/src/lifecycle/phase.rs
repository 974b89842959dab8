//! Phases are levels: whoever looks late still sees that a stop has begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

/// Where the process stands. Only ever grows.
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

/// The one who moves the phase. Owned by the lifecycle.
#[derive(Clone, Debug)]
pub(super) struct PhaseSetter {
    level: Arc<AtomicU8>,
    sender: watch::Sender<Phase>,
}

impl PhaseSetter {
    pub(super) fn new() -> Self {
        let (sender, _) = watch::channel(Phase::Starting);
        Self { level: Arc::new(AtomicU8::new(Phase::Starting as u8)), sender }
    }

    /// Moves on to `phase`; going back is ignored. Whether it moved.
    pub(super) fn set(&self, phase: Phase) -> bool {
        self.set_if(phase, |now| phase > now)
    }

    /// Ends a process that is not ready, for good: it cannot become ready any more. False if it
    /// is ready already.
    pub(super) fn give_up_start(&self) -> bool {
        self.set_if(Phase::Cut, |now| now < Phase::Ready)
    }

    fn set_if(&self, phase: Phase, may: impl FnOnce(Phase) -> bool) -> bool {
        self.sender.send_if_modified(|now| {
            let moves = may(*now);
            if moves {
                *now = phase;
                self.level.store(phase as u8, Ordering::Release);
            }
            moves
        })
    }

    pub(super) fn watch(&self) -> PhaseWatch {
        PhaseWatch { level: self.level.clone(), receiver: self.sender.subscribe() }
    }
}

/// A view of the phase. Cheap to clone; reading it is one atomic load, because every answer asks.
#[derive(Clone, Debug)]
pub struct PhaseWatch {
    level: Arc<AtomicU8>,
    receiver: watch::Receiver<Phase>,
}

impl PhaseWatch {
    /// The phase at this moment.
    #[must_use]
    pub fn now(&self) -> Phase {
        Phase::from_level(self.level.load(Ordering::Acquire))
    }

    /// Whether peers are told to leave: lame duck or later.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.now() >= Phase::LameDuck
    }

    /// Waits until the phase is `phase` or later. Cancel-safe; never ends if the lifecycle is gone
    /// before, because then nobody can move the phase any more.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.receiver.clone();
        if receiver.wait_for(|now| *now >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A phase that a test moves by hand.
    #[cfg(test)]
    pub(crate) fn by_hand() -> (impl Fn(Phase), Self) {
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
    fn levels_and_phases_agree() {
        for phase in [Phase::Starting, Phase::Ready, Phase::LameDuck, Phase::Draining, Phase::Cut] {
            assert_eq!(Phase::from_level(phase as u8), phase);
        }
    }
}
