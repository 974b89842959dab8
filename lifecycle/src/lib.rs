//! The life of the process: signals, phases, the drain, and the guards of what is in flight.
//!
//! ```text
//! signal, Commander ─→ Command ─→ Phase ─→ drain ─→ Report
//!                         ▲         │         ▲
//!                     signals.rs    ▼         │ guards drop
//!                           everybody who holds a PhaseWatch
//! ```
//!
//! Pure tokio: may not know hyper, HTTP, wasmtime or sockets. It runs on a thread and a small
//! runtime of its own, so that guests which spin on every core cannot hold up a stop.

mod alarm;
mod drain;
mod guard;
mod mask;
mod phase;
mod progress;
mod signals;

pub use alarm::Alarm;
pub use drain::{Ending, Plan, Report};
pub use guard::{Counts, Guard, InFlight, Name, Named, Tracker};
pub use mask::set_signal_mask;
pub use phase::{NotNow, Phase, PhaseWatch, Stopping};
pub use progress::{FindProgressLine, ProgressLine};
pub use signals::{Cause, Command, Hangups, Signal};

use std::{io, thread};

use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::task::TaskTracker;

use phase::PhaseSetter;
use signals::{Asked, Commands};

/// What is in flight, by kind. Cloning gives another handle to the same trackers.
///
/// Doors close first, connections end next and exchanges live inside connections; only work that
/// an instance does after its answer outlives its connection.
#[derive(Clone, Debug)]
pub struct Work {
    /// Listeners that still accept. A token per listener, dropped when its queue is empty and it
    /// is closed.
    pub doors: TaskTracker,
    /// Connections from accept to close.
    pub connections: Tracker,
    /// Exchanges, from the request's head to the last frame of the response body.
    pub exchanges: Tracker,
    /// Instances that work on after their answer.
    pub afterwork: Tracker,
    /// Instances that outlive their exchanges, because an operator lets them be reused.
    pub instances: Tracker,
    /// Swaps that have been asked for and whose outcome has not been told.
    pub swaps: Tracker,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            doors: TaskTracker::new(),
            connections: Tracker::awaited(),
            exchanges: Tracker::named(),
            afterwork: Tracker::awaited(),
            instances: Tracker::awaited(),
            swaps: Tracker::awaited(),
        }
    }
}

impl Work {
    /// What is in flight, in words.
    fn left(&self) -> String {
        let mut left = format!(
            "{} exchanges, {} connections, {} at work after their answer",
            self.exchanges.in_flight(),
            self.connections.in_flight(),
            self.afterwork.in_flight()
        );
        let instances = self.instances.in_flight();
        if instances > 0 {
            left += &format!(", {instances} reusable instances");
        }
        left
    }
}

/// Handle to the lifecycle for the rest of the process.
#[derive(Debug)]
pub struct Lifecycle {
    setter: PhaseSetter,
    commands: Commands,
    runtime: tokio::runtime::Runtime,
    work: Work,
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
        Ok(Self { setter: PhaseSetter::new(), commands, runtime, work: Work::default() })
    }

    /// A view of the phase, to be cloned to whoever must know.
    #[must_use]
    pub fn watch(&self) -> PhaseWatch {
        self.setter.watch()
    }

    /// The trackers of what is in flight.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work.clone()
    }

    /// The right to ask for what signals ask for, and for a lame duck by hand.
    #[must_use]
    pub fn commander(&self) -> Commander {
        Commander { sender: self.commands.sender.clone(), setter: self.setter.clone() }
    }

    /// Is told of SIGHUP.
    #[must_use]
    pub fn hangups(&self) -> Hangups {
        self.commands.hangups.clone()
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
        plan: Plan,
        line: FindProgressLine,
        ended: impl FnOnce(Ending) + Send + 'static,
    ) -> io::Result<Ready> {
        let Self { setter, mut commands, runtime, work } = self;
        let ready = Ready(setter.clone());
        let ended = OrBroken::new(ended);
        thread::Builder::new().name("lifecycle".into()).spawn(move || {
            runtime.block_on(async {
                ended.tell(drain::live(&setter, &work, (plan, line), &mut commands.receiver).await);
                std::future::pending::<()>().await;
            });
        })?;
        Ok(ready)
    }
}

/// Asks the lifecycle for what signals ask for. Cheap to clone; dropping it asks for nothing.
#[derive(Clone, Debug)]
pub struct Commander {
    sender: UnboundedSender<Asked>,
    setter: PhaseSetter,
}

impl Commander {
    /// Asks for a stop. Asking again changes nothing.
    pub fn stop(&self, cause: Cause) {
        self.say(Command::Stop(cause));
    }

    /// Asks for a stop that cuts at once, or cuts the one under way.
    pub fn cut(&self, cause: Cause) {
        self.say(Command::Cut(cause));
    }

    /// Says that something has failed which the process cannot do without: it drains and exits with
    /// the code for that.
    pub fn fail(&self) {
        self.say(Command::Fail);
    }

    /// A guard for a task called `what` that the process cannot do without: if it panics, the
    /// process is told of the failure.
    #[must_use]
    pub fn alarm(&self, what: &'static str) -> Alarm {
        Alarm::new(what, self.sender.clone())
    }

    /// Begins a lame duck by hand: not ready, still accepting, answers say `Connection: close`. One
    /// that has begun goes on.
    ///
    /// # Errors
    /// Before the process is ready, and once a stop has been asked for.
    pub fn drain(&self) -> Result<(), NotNow> {
        self.setter.drain()
    }

    /// Takes a lame duck by hand back.
    ///
    /// # Errors
    /// Before the process is ready, and once a stop has been asked for.
    pub fn undrain(&self) -> Result<(), NotNow> {
        self.setter.undrain()
    }

    fn say(&self, command: Command) {
        // Nobody listens any more when the stop is over: then the process ends anyway.
        self.sender.send(Asked::now(command)).ok();
    }
}

/// Who is told how the process came to its end, whatever becomes of the thread that finds out.
struct OrBroken<F: FnOnce(Ending)>(Option<F>);

impl<F: FnOnce(Ending)> OrBroken<F> {
    fn new(ended: F) -> Self {
        Self(Some(ended))
    }

    fn tell(mut self, ending: Ending) {
        if let Some(ended) = self.0.take() {
            ended(ending);
        }
    }
}

impl<F: FnOnce(Ending)> Drop for OrBroken<F> {
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
        let plan = Plan { delay: Duration::ZERO, timeout: Duration::MAX };
        let (told, ending) = mpsc::channel();
        let ready = lifecycle.run(plan, || None, move |ending| told.send(ending).unwrap()).unwrap();
        assert!(ready.announce());
        commander.stop(Cause::Operator);
        assert!(matches!(ending.recv_timeout(Duration::from_secs(30)), Ok(Ending::Broken)));
    }
}
