//! The only place with exit numbers.

use std::{io, process};

use host_lifecycle::{Cause, Ending, StopReport};

use host_log::outlet;

/// How the process ends. `docs/stopping.md` and the README print this table; `docs/control.md` the
/// part of `host ctl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Stopped on request, everything in flight finished.
    Clean,
    /// `host check --strict`: everything would serve, and there is a warning.
    Warned,
    /// Stopped, but work was cut: at the drain timeout, or by an operator over the control socket.
    Cut,
    /// Wrong usage or configuration; nothing was bound.
    Usage,
    /// Could not start: component refused, port taken, …
    NoStart,
    /// Failed while running, or could not print what was asked for.
    Failed,
    /// Cut short by the signal of this number.
    Signal(u8),
    /// `host ctl`: the host said no.
    Refused,
    /// `host ctl`: several hosts are running, and none was named.
    Several,
    /// `host ctl`: no host to ask.
    NoHost,
    /// `host ctl`: the connection broke before there was an answer.
    Lost,
    /// `host ctl swap --wait`: the new version served some requests, and was taken back.
    Aborted,
    /// `host drain-test`: a request was lost.
    LostRequests,
    /// `host drain-test`: the test could not be made, or not to its end, and nothing was lost until then.
    Untested,
    /// `host ctl stop --wait`: the code that the host exits with. What has started a successor: that one's.
    Same(u8),
    /// The child that compiles: `host-code` gives its ends their codes.
    Compiler(u8),
}

impl Exit {
    /// The number that the parent process sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Cut | Self::Refused | Self::Warned | Self::LostRequests => 1,
            Self::Usage | Self::Several | Self::Untested => 2,
            Self::NoStart | Self::NoHost => 3,
            Self::Failed | Self::Lost => 4,
            Self::Aborted => 5,
            Self::Signal(number) => 128 + number,
            Self::Same(code) | Self::Compiler(code) => code,
        }
    }

    /// The same, if the answer of `command` could be printed. A script that got half of it, or
    /// nothing, must not go on as if that were the answer.
    #[must_use]
    pub fn if_printed(self, command: &str, printed: io::Result<()>) -> Self {
        let Err(why) = printed else { return self };
        outlet::complain(&format!("{command}: cannot write to stdout: {why}"));
        Self::Failed
    }

    /// Ends the process at once: nothing may hang here, and the drop of a runtime with a spinning
    /// guest in it would.
    pub fn leave(self) -> ! {
        process::exit(self.code().into())
    }
}

impl From<&Ending> for Exit {
    fn from(ending: &Ending) -> Self {
        match ending {
            Ending::BeforeReady => Self::Clean,
            Ending::Stopped(report) => report.into(),
            Ending::Broken => Self::Failed,
        }
    }
}

impl From<&StopReport> for Exit {
    fn from(report: &StopReport) -> Self {
        match report {
            StopReport { cut_short_by: Some(Cause::Signal(signal)), .. } => {
                Self::Signal(signal.number())
            }
            StopReport { failed: true, .. } => Self::Failed,
            StopReport { cut: 0, dropped: 0, .. } => Self::Clean,
            StopReport { .. } => Self::Cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use host_lifecycle::Signal;

    fn report(cut: u64, dropped: u64, cut_short_by: Option<Cause>) -> StopReport {
        StopReport { took: Duration::ZERO, finished: 7, cut, dropped, cut_short_by, failed: false }
    }

    #[test]
    fn every_ending_has_its_number() {
        for (ending, code) in [
            (Ending::BeforeReady, 0),
            (Ending::Broken, 4),
            (Ending::Stopped(report(0, 0, None)), 0),
            (Ending::Stopped(report(1, 0, None)), 1),
            (Ending::Stopped(report(0, 1, None)), 1),
            (Ending::Stopped(report(0, 0, Some(Cause::Signal(Signal::Terminate)))), 143),
            (Ending::Stopped(report(5, 0, Some(Cause::Signal(Signal::Interrupt)))), 130),
            (Ending::Stopped(report(0, 0, Some(Cause::Signal(Signal::Quit)))), 131),
        ] {
            assert_eq!(Exit::from(&ending).code(), code, "{ending:?}");
        }
        let failed = StopReport { failed: true, ..report(1, 0, None) };
        assert_eq!(Exit::from(&failed).code(), 4);
        assert_eq!(Exit::Usage.code(), 2);
        assert_eq!(Exit::NoStart.code(), 3);
        assert_eq!(Exit::Failed.code(), 4);
        let ctl = [Exit::Refused, Exit::Several, Exit::NoHost, Exit::Lost, Exit::Aborted];
        assert_eq!(ctl.map(Exit::code), [1, 2, 3, 4, 5]);
        assert_eq!([Exit::LostRequests, Exit::Untested].map(Exit::code), [1, 2]);
        assert_eq!(Exit::Same(143).code(), 143);
    }
}
