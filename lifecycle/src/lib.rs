//! The life of the process: signals, phases, the drain, and the guards of what is in flight.
//!
//! ```text
//! signal, Commander ─→ Command ─→ Phase ─→ drain ─→ StopReport
//!                         ▲         │         ▲
//!                     signals.rs    ▼         │ guards drop
//!                           everybody who holds a PhaseWatch
//! ```
//!
//! Pure tokio: may not know hyper, HTTP, wasmtime or sockets. It runs on a thread and a small
//! runtime of its own, so that guests which spin on every core cannot hold up a stop.

mod alarm;
mod command;
mod commander;
mod drain;
mod gate;
mod guard;
mod mask;
mod phase;
mod progress;
mod report;
mod signals;
mod trackers;
mod words;

pub use alarm::Alarm;
pub use command::{Cause, Command, Signal};
pub use commander::Commander;
pub use drain::{Ending, StopPlan};
pub use gate::{AcceptGate, GateWatch, ListenerGate};
pub use guard::{Counts, Guard, InFlight, Name, Named, Tracker};
pub use mask::set_signal_mask;
pub use phase::{NotNow, Phase, PhaseWatch, StopSchedule};
pub use progress::{FindProgressLine, ProgressLine};
pub use report::StopReport;
pub use signals::SignalWatch;
pub use trackers::Trackers;
pub use words::{Seconds, counted, in_flight};

use std::{io, thread};

use tokio::runtime::Handle;

use phase::PhaseSetter;
use signals::Commands;

/// Handle to the lifecycle for the rest of the process.
#[derive(Debug)]
pub struct Lifecycle {
    setter: PhaseSetter,
    commands: Commands,
    runtime: tokio::runtime::Runtime,
    trackers: Trackers,
}

impl Lifecycle {
    /// Arms the signal handlers. From here on no signal that we handle kills the process.
    ///
    /// # Errors
    /// When the runtime or a signal handler cannot be made.
    pub fn arm() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("lifecycle")
            .build()?;
        let commands = {
            let _inside = runtime.enter();
            signals::listen()?
        };
        Ok(Self { setter: PhaseSetter::new(), commands, runtime, trackers: Trackers::default() })
    }

    /// A view of the phase, to be cloned to whoever must know.
    #[must_use]
    pub fn watch(&self) -> PhaseWatch {
        self.setter.watch()
    }

    /// The trackers of what is in flight.
    #[must_use]
    pub fn trackers(&self) -> Trackers {
        self.trackers.clone()
    }

    /// The right to ask for what signals ask for, and for a lame duck by hand.
    #[must_use]
    pub fn commander(&self) -> Commander {
        Commander { sender: self.commands.sender.clone(), setter: self.setter.clone() }
    }

    /// Is told of SIGHUP.
    #[must_use]
    pub fn hangups(&self) -> SignalWatch {
        self.commands.hangups.clone()
    }

    /// Is told of SIGUSR1.
    #[must_use]
    pub fn reopens(&self) -> SignalWatch {
        self.commands.reopens.clone()
    }

    /// Is told of SIGUSR2.
    #[must_use]
    pub fn upgrades(&self) -> SignalWatch {
        self.commands.upgrades.clone()
    }

    /// The lifecycle's own runtime, for what must answer beside guests that spin on every core. Its
    /// one thread runs from [`Self::run`] to the end of the process; never block it.
    #[must_use]
    pub fn runtime(&self) -> Handle {
        self.runtime.handle().clone()
    }

    /// Starts the lifecycle's thread: waits for commands, runs the stop, and hands over how it
    /// ended. `ended` is called exactly once, on that thread, which then goes on to run what was
    /// spawned on its runtime until the process ends. If the thread panics, `ended` is told so:
    /// a process that hears no signal any more must end by itself. A stop draws its progress on `line`.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn run(
        self,
        plan: StopPlan,
        line: FindProgressLine,
        ended: impl FnOnce(Ending) + Send + 'static,
    ) -> io::Result<Ready> {
        let Self { setter, mut commands, runtime, trackers } = self;
        let ready = Ready(setter.clone());
        let ended = EndingCallback::new(ended);
        thread::Builder::new().name("lifecycle".into()).spawn(move || {
            runtime.block_on(async {
                ended.tell(
                    drain::live(&setter, &trackers, (plan, line), &mut commands.receiver).await,
                );
                std::future::pending::<()>().await;
            });
        })?;
        Ok(ready)
    }
}

/// Who is told how the process came to its end, whatever becomes of the thread that finds out.
struct EndingCallback<F: FnOnce(Ending)>(Option<F>);

impl<F: FnOnce(Ending)> EndingCallback<F> {
    fn new(ended: F) -> Self {
        Self(Some(ended))
    }

    fn tell(mut self, ending: Ending) {
        if let Some(ended) = self.0.take() {
            ended(ending);
        }
    }
}

impl<F: FnOnce(Ending)> Drop for EndingCallback<F> {
    fn drop(&mut self) {
        if let Some(ended) = self.0.take() {
            ended(Ending::Broken);
        }
    }
}

/// The right to say once that the process is ready. Dropping it leaves the process starting.
#[derive(Debug)]
pub struct Ready(PhaseSetter);

impl Ready {
    /// Listeners are bound and components loaded: a stop from now on drains. False if a stop came
    /// first: then nobody may be let in any more.
    #[must_use]
    pub fn announce(self) -> bool {
        self.0.set(Phase::Ready)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// The thread that hears signals panics. The process was deaf then: it ignored SIGTERM for ever.
    #[test]
    fn a_panic_of_the_thread_that_hears_signals_is_an_ending() {
        let lifecycle = Lifecycle::arm().unwrap();
        let commander = lifecycle.commander();
        // No clock has room for such a deadline.
        let plan = StopPlan { delay: Duration::ZERO, timeout: Duration::MAX };
        let (told, ending) = mpsc::channel();
        let ready = lifecycle.run(plan, || None, move |ending| told.send(ending).unwrap()).unwrap();
        assert!(ready.announce());
        commander.stop(Cause::Operator);
        assert!(matches!(ending.recv_timeout(Duration::from_secs(30)), Ok(Ending::Broken)));
    }
}
