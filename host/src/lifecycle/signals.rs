//! Signals become commands. Handlers are installed when [`listen`] returns, not when first awaited.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// What an operator asks of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Drain; asked a second time, cut at once.
    Stop(Signal),
    /// Cut at once and print what was running.
    Cut(Signal),
    /// Something that the process cannot do without has failed: drain, and say so.
    Fail,
    /// A signal that is kept from killing the process and does nothing yet.
    Ignored(Signal),
}

impl Command {
    /// What the log calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop(signal) | Self::Cut(signal) | Self::Ignored(signal) => signal.name(),
            Self::Fail => "failure",
        }
    }
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
    const ALL: [Self; 6] =
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

    #[cfg(test)]
    pub(super) fn command_for_tests(self) -> Command {
        self.command()
    }

    fn command(self) -> Command {
        match self {
            Self::Terminate | Self::Interrupt => Command::Stop(self),
            Self::Quit => Command::Cut(self),
            Self::Hangup | Self::User1 | Self::User2 => Command::Ignored(self),
        }
    }
}

/// Who may give commands, and who carries them out.
pub(super) type Commands = (mpsc::UnboundedSender<Command>, mpsc::UnboundedReceiver<Command>);

/// Installs the handlers and gives the stream of commands. Each signal has a task on the current
/// runtime, which lives as long as the runtime.
pub(super) fn listen() -> io::Result<Commands> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for name in Signal::ALL {
        let mut stream = signal(SignalKind::from_raw(i32::from(name.number())))?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if sender.send(name.command()).is_err() {
                    return;
                }
            }
        });
    }
    Ok((sender, receiver))
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
