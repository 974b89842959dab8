//! The life of the process: signals, phases, the drain, and the guards of what is in flight.
//!
//! ```text
//! signal ─→ Command ─→ Phase ─→ drain ─→ Report
//!              ▲          │         ▲
//!           signals.rs    ▼         │ guards drop
//!                     everybody who holds a PhaseWatch
//! ```
//!
//! Pure tokio: may not know hyper, HTTP, wasmtime or sockets. It runs on a thread and a small
//! runtime of its own, so that guests which spin on every core cannot hold up a stop.

mod drain;
mod guard;
mod phase;
mod signals;

pub use drain::{Ending, Plan, Report};
pub use guard::{Guard, Name, Tracker};
pub use phase::{Phase, PhaseWatch};
pub use signals::{Command, Signal};

use std::{io, thread};

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::task::TaskTracker;

use phase::PhaseSetter;
use signals::Commands;

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
}

impl Default for Work {
    fn default() -> Self {
        Self {
            doors: TaskTracker::new(),
            connections: Tracker::awaited(),
            exchanges: Tracker::named(),
            afterwork: Tracker::awaited(),
        }
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

    /// The right to say that something has failed which the process cannot do without.
    #[must_use]
    pub fn alarm(&self) -> Alarm {
        Alarm(self.commands.0.clone())
    }

    /// Starts the lifecycle's thread: waits for commands, runs the stop, and hands over how it
    /// ended. `ended` is called exactly once, on that thread.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn run(self, plan: Plan, ended: impl FnOnce(Ending) + Send + 'static) -> io::Result<Ready> {
        let Self { setter, commands: (_sender, mut commands), runtime, work } = self;
        let ready = Ready(setter.clone());
        thread::Builder::new().name("lifecycle".into()).spawn(move || {
            let ending = runtime.block_on(drain::live(&setter, &work, plan, &mut commands));
            ended(ending);
        })?;
        Ok(ready)
    }
}

/// Reports a failure of the process itself: it drains and exits with the code for that. Dropping it
/// says nothing.
#[derive(Clone, Debug)]
pub struct Alarm(UnboundedSender<Command>);

impl Alarm {
    /// Something has failed that the process cannot do without.
    pub fn raise(&self) {
        // Nobody listens any more when the stop is over: then the process ends anyway.
        self.0.send(Command::Fail).ok();
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
