//! What is asked of the process, and by which signal or person.

use tokio::time::Instant;

/// What is asked of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Drain; asked a second time, cut at once.
    Stop(Cause),
    /// Cut at once and print what was running.
    Cut(Cause),
    /// Something that the process cannot do without has failed: drain, and say so.
    Fail,
}

/// A command, and when it was given: whoever carries it out may come to it later.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimedCommand {
    pub(super) command: Command,
    pub(super) at: Instant,
}

impl TimedCommand {
    pub(super) fn now(command: Command) -> Self {
        Self { command, at: Instant::now() }
    }
}

/// Who asked for a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A signal.
    Signal(Signal),
    /// An operator, over the control socket.
    Operator,
    /// A guest with the grant to do so.
    Guest,
    /// A successor has taken over: clients come to it, so nobody has to be told first.
    Upgrade,
    /// The process that this one takes over from was asked to stop while it handed over.
    Predecessor,
}

impl Cause {
    /// What the log calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Signal(signal) => signal.name(),
            Self::Operator => "host ctl stop",
            Self::Guest => "request-shutdown",
            Self::Upgrade => "upgrade",
            Self::Predecessor => "the old process was asked to stop",
        }
    }
}

impl Command {
    /// What the log calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop(cause) | Self::Cut(cause) => cause.name(),
            Self::Fail => "failure",
        }
    }
}

/// What a signal asks for, and of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalMeaning {
    /// Something of the lifecycle.
    Command(Command),
    /// To read again what is served.
    Reload,
    /// To open the files of logs again.
    Reopen,
    /// To have a new process take over.
    Upgrade,
}

/// The signals that have a meaning here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP
    Hangup,
    /// SIGINT
    Interrupt,
    /// SIGQUIT
    Quit,
    /// SIGTERM
    Terminate,
    /// SIGUSR1
    User1,
    /// SIGUSR2
    User2,
}

impl Signal {
    pub(super) const ALL: [Self; 6] =
        [Self::Hangup, Self::Interrupt, Self::Quit, Self::Terminate, Self::User1, Self::User2];

    /// Number of the signal on Linux (signal(7), x86 and ARM); an exit code is 128 more.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Hangup => 1,
            Self::Interrupt => 2,
            Self::Quit => 3,
            Self::User1 => 10,
            Self::User2 => 12,
            Self::Terminate => 15,
        }
    }

    /// The name that `kill -l` knows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Quit => "SIGQUIT",
            Self::User1 => "SIGUSR1",
            Self::User2 => "SIGUSR2",
            Self::Terminate => "SIGTERM",
        }
    }

    /// What it asks for.
    pub(super) fn meaning(self) -> SignalMeaning {
        match self {
            Self::Terminate | Self::Interrupt => {
                SignalMeaning::Command(Command::Stop(Cause::Signal(self)))
            }
            Self::Quit => SignalMeaning::Command(Command::Cut(Cause::Signal(self))),
            Self::User2 => SignalMeaning::Upgrade,
            Self::User1 => SignalMeaning::Reopen,
            Self::Hangup => SignalMeaning::Reload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_platform() {
        assert_eq!(i32::from(Signal::Hangup.number()), libc::SIGHUP);
        assert_eq!(i32::from(Signal::Interrupt.number()), libc::SIGINT);
        assert_eq!(i32::from(Signal::Quit.number()), libc::SIGQUIT);
        assert_eq!(i32::from(Signal::Terminate.number()), libc::SIGTERM);
        assert_eq!(i32::from(Signal::User1.number()), libc::SIGUSR1);
        assert_eq!(i32::from(Signal::User2.number()), libc::SIGUSR2);
    }
}
