//! The right to ask for what signals ask for.

use tokio::sync::mpsc::UnboundedSender;

use super::alarm::Alarm;
use super::command::{Cause, Command, TimedCommand};
use super::phase::{NotNow, PhaseSetter};

/// Asks the lifecycle for what signals ask for. Cheap to clone; dropping it asks for nothing.
#[derive(Clone, Debug)]
pub struct Commander {
    pub(super) sender: UnboundedSender<TimedCommand>,
    pub(super) setter: PhaseSetter,
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
        self.sender.send(TimedCommand::now(command)).ok();
    }
}
