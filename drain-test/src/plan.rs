//! What is to be tested, and how.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::kinds::ClientKind;
use super::report::StopOutcome;

/// A test: which server, which load, what stops it, how often.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is asked for, `http://…` or `https://…`, without a user. A GET of it must be answered with the same status
    /// each time.
    pub url: String,
    /// The path of uploads, if it is another one.
    pub upload_path: Option<String>,
    /// The path of streams, if it is another one. The longer its response, the more there is to cut.
    pub stream_path: Option<String>,
    /// The statuses that are right. If there are none, each below 400 is. Every response to a kind of client must have
    /// the status of its first right one.
    pub statuses: Vec<u16>,
    /// The kinds of clients; all run at the same time.
    pub kinds: Vec<ClientKind>,
    /// Clients of each kind.
    pub clients: usize,
    /// What stops the server.
    pub trigger: StopTrigger,
    /// The signal that stops the server of [`StopTrigger::Spawn`].
    pub spawn_signal: Signal,
    /// How often.
    pub stops: u32,
    /// Whether a server that a command of [`StopTrigger::Exec`] has stopped has to answer again, within [`Plan::ready`].
    pub returns: bool,
    /// Called after each stop, for whoever waits for the report.
    pub after_stop: Option<fn(&StopOutcome)>,
    /// How long the server may take until it accepts, and after a command until it answers again. Before the first
    /// stop there is no wait, unless we start it.
    pub ready: Duration,
    /// How long there is load before the trigger. The trigger waits for a first request of each client too.
    pub before: Duration,
    /// How long there is load after the trigger if the port does not refuse, as at a reload. A client that is
    /// refused after the trigger ends before.
    pub after: Duration,
    /// How long a connect, and each step of a request, may take, more than nothing. Twice as long is waited for the
    /// end of a process.
    pub patience: Duration,
    /// How long a command of [`StopTrigger::Exec`] may take.
    pub exec_deadline: Duration,
    /// The time between the pieces of uploads, and between the reads of streams.
    pub pace: Duration,
    /// The time between two requests of a client.
    pub pause: Duration,
    /// Whom to believe over TLS.
    pub trust: TlsTrust,
}

impl Plan {
    /// One stop with four clients of each kind of HTTP/1, and defaults for the rest.
    #[must_use]
    pub fn new(url: String, trigger: StopTrigger) -> Self {
        Self {
            url,
            upload_path: None,
            stream_path: None,
            statuses: Vec::new(),
            kinds: ClientKind::HTTP1.to_vec(),
            clients: 4,
            trigger,
            spawn_signal: Signal::TERM,
            stops: 1,
            returns: true,
            after_stop: None,
            ready: Duration::from_secs(30),
            before: Duration::from_secs(1),
            after: Duration::from_secs(10),
            patience: Duration::from_secs(30),
            exec_deadline: Duration::from_secs(120),
            pace: Duration::from_millis(5),
            pause: Duration::ZERO,
            trust: TlsTrust::System,
        }
    }

    /// Whether a response with this status can be the right one.
    pub(crate) fn may_be_right(&self, status: u16) -> bool {
        if self.statuses.is_empty() { status < 400 } else { self.statuses.contains(&status) }
    }
}

/// What stops the server.
#[derive(Clone, Debug)]
pub enum StopTrigger {
    /// This process gets this signal. For a second stop it must live on, as at a reload.
    Signal(Pid, Signal),
    /// `sh -c` runs this. Whatever starts the server again is the command's or a supervisor's business.
    Exec(String),
    /// The server is our child, by this program with these arguments. [`Plan::spawn_signal`] stops it, and each stop
    /// gets a new one.
    Spawn(Vec<String>),
    /// A function of this process.
    Call(Callback),
}

/// The signals that servers stop or reload by, and the one that nobody can hear.
const SIGNALS: [(&str, Signal); 8] = [
    ("TERM", Signal::TERM),
    ("INT", Signal::INT),
    ("HUP", Signal::HUP),
    ("QUIT", Signal::QUIT),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("WINCH", Signal::WINCH),
    ("KILL", Signal::KILL),
];

impl StopTrigger {
    /// Reads the name of a signal, as `HUP` or `SIGHUP`.
    ///
    /// # Errors
    /// With what is wrong, for whoever has written it.
    pub fn signal_name(name: &str) -> Result<Signal, String> {
        let bare = name.strip_prefix("SIG").unwrap_or(name);
        let known = SIGNALS.iter().find(|(known, _)| *known == bare);
        known.map(|(_, signal)| *signal).ok_or_else(|| {
            format!("no signal {name:?}; there are {}", SIGNALS.map(|(name, _)| name).join(", "))
        })
    }

    /// Reads `PID` or `PID:SIGNAL`, as `4711:HUP`. Without a signal it is TERM.
    ///
    /// # Errors
    /// With what is wrong, for whoever has written it.
    pub fn signal(text: &str) -> Result<Self, String> {
        let (pid, name) = text.split_once(':').unwrap_or((text, "TERM"));
        // 0 and negative numbers are groups of processes, perhaps our own.
        let pid = pid.parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| format!("not the id of a process: {text:?}"))?;
        Ok(Self::Signal(pid, Self::signal_name(name)?))
    }
}

/// A function that stops the server, or has it stopped, and does not wait.
#[derive(Clone)]
pub struct Callback(Arc<dyn Fn() + Send + Sync>);

impl Callback {
    /// This one.
    #[must_use]
    pub fn new(call: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(call))
    }

    pub(crate) fn call(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").finish_non_exhaustive()
    }
}

/// Whom a client believes over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsTrust {
    /// The authorities of the system.
    System,
    /// The authorities in this file of PEM.
    File(PathBuf),
    /// Anybody. The test is of the stop, not of the certificate.
    Anybody,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trigger_is_a_process_with_a_signal_and_never_a_group() {
        for (text, wanted) in
            [("17", Signal::TERM), ("17:HUP", Signal::HUP), ("17:SIGQUIT", Signal::QUIT)]
        {
            let read = StopTrigger::signal(text);
            assert!(
                matches!(read, Ok(StopTrigger::Signal(pid, signal))
                    if pid.as_raw_nonzero().get() == 17 && signal == wanted),
                "{text}: {read:?}"
            );
        }
        for wrong in ["0", "-17", "x", "", "17:", "17:KILLER"] {
            assert!(StopTrigger::signal(wrong).is_err(), "{wrong:?}");
        }
    }
}
