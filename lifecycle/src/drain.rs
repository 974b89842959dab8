//! The order of a stop, written once: lame duck, close the door, drain, cut, report.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{info, warn};

use super::Work;
use super::guard::Counts;
use super::phase::{Phase, PhaseSetter, Stopping};
use super::progress::{FindProgressLine, NAMED_AT_MOST, Progress};
use super::signals::{Asked, Cause, Command};

/// How a stop is to go. One budget: the delay lies inside the timeout.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long to be a lame duck before the door closes.
    pub delay: Duration,
    /// From the first signal to the cut.
    pub timeout: Duration,
}

/// How the process came to its end.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    /// Asked to stop before it was ready: nothing had been accepted.
    BeforeReady,
    /// Drained, cut or both.
    Stopped(Report),
    /// What carries out stops has panicked: nobody hears signals any more.
    Broken,
}

/// What a stop did: the numbers of its last line.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// From the first signal to the end.
    pub took: Duration,
    /// Exchanges that finished since the stop began.
    pub finished: u64,
    /// Exchanges, and instances at work after their answer or reused, that were cut.
    pub cut: u64,
    /// Connections that were closed by force while bytes were owed on them. A door that is still open
    /// counts as one: its queue is reset, and nobody has said how long that is.
    pub dropped: u64,
    /// Who cut the stop short, if somebody did.
    pub cut_short_by: Option<Cause>,
    /// The stop was not asked for: something had failed.
    pub failed: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stopped in {:.3} s: {} exchanges finished, {} cut, {} connections dropped",
            self.took.as_secs_f64(),
            self.finished,
            self.cut,
            self.dropped
        )
    }
}

/// After the cut, this long for the last 503s and resets to leave, then the process ends.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// A second signal counts from here on after the first. coreutils `timeout`, supervisors that signal
/// a group and wrappers that pass signals on send one stop as two signals, within milliseconds;
/// nobody who has lost patience is as quick.
const SECOND_SIGNAL_COUNTS_FROM: Duration = Duration::from_millis(500);

/// Between two looks at exchanges whose connections have ended.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Lives from armed signals to the end of the process.
pub(super) async fn live(
    phase: &PhaseSetter,
    work: &Work,
    (plan, line): (Plan, FindProgressLine),
    commands: &mut UnboundedReceiver<Asked>,
) -> Ending {
    let first = next_stop(commands).await;
    if phase.give_up_start() {
        return Ending::BeforeReady;
    }
    let stop = Stop::begin(phase, work, plan, line);
    let cut_short_by = stop.run(first, commands).await;
    Ending::Stopped(stop.report(cut_short_by))
}

struct Stop<'a> {
    phase: &'a PhaseSetter,
    work: &'a Work,
    plan: Plan,
    line: FindProgressLine,
    began: Instant,
    deadline: Instant,
    /// Since when a lame duck by hand has told peers to leave.
    leaving: Option<Instant>,
    before: Before,
    failed: AtomicBool,
    /// When a signal first asked for it.
    signalled: OnceLock<Instant>,
    /// Reusable instances that were there at the cut.
    cut_instances: AtomicU64,
}

/// What had ended before the stop began.
struct Before {
    exchanges: Counts,
    afterwork: Counts,
    connections: Counts,
}

/// Why a wait of the drain ended.
enum Wait {
    Done,
    TimedOut,
    CutBy(Cause),
}

impl<'a> Stop<'a> {
    fn begin(phase: &'a PhaseSetter, work: &'a Work, plan: Plan, line: FindProgressLine) -> Self {
        let began = Instant::now();
        let before = Before {
            exchanges: work.exchanges.counts(),
            afterwork: work.afterwork.counts(),
            connections: work.connections.counts(),
        };
        let deadline = began + plan.timeout;
        let leaving = phase.begin_stop(Stopping { began, deadline });
        Self {
            phase,
            work,
            plan,
            line,
            began,
            deadline,
            leaving,
            before,
            failed: AtomicBool::new(false),
            signalled: OnceLock::new(),
            cut_instances: AtomicU64::new(0),
        }
    }

    /// Runs the steps. Gives who cut the stop short, if somebody did.
    async fn run(&self, first: Asked, commands: &mut UnboundedReceiver<Asked>) -> Option<Cause> {
        let Asked { command: first, at } = first;
        let cut_by = match first {
            Command::Cut(cause) => Some(cause),
            Command::Stop(_) | Command::Fail => {
                self.failed.store(first == Command::Fail, Ordering::Relaxed);
                if let Command::Stop(Cause::Signal(_)) = first {
                    self.signalled.get_or_init(|| at);
                }
                self.say_plan(first);
                match self.drain(commands).await {
                    Wait::Done => return None,
                    Wait::TimedOut => None,
                    Wait::CutBy(cause) => Some(cause),
                }
            }
            Command::Ignored(_) => None,
        };
        self.cut(cut_by).await;
        cut_by
    }

    async fn drain(&self, commands: &mut UnboundedReceiver<Asked>) -> Wait {
        if !self.plan.delay.is_zero() {
            self.phase.set(Phase::LameDuck);
            info!(step = "lame-duck", delay = ?self.plan.delay, "stop: lame duck, still accepting");
            // A lame duck by hand has had that time already, or some of it.
            let until = self.leaving.unwrap_or(self.began) + self.plan.delay;
            let wait = self.wait(sleep_until(until), commands).await;
            if !matches!(wait, Wait::Done) {
                return wait;
            }
        }
        info!(step = "close-door", at = ?self.began.elapsed(), "stop: closing the door");
        self.phase.set(Phase::Draining);
        let wait = self.wait(self.doors_closed(), commands).await;
        if !matches!(wait, Wait::Done) {
            return wait;
        }
        info!(
            step = "drain",
            at = ?self.began.elapsed(),
            exchanges = self.work.exchanges.in_flight(),
            connections = self.work.connections.in_flight(),
            "stop: door closed, draining"
        );
        let wait = self.wait(self.everything_ended(), commands).await;
        if matches!(wait, Wait::Done) {
            info!(step = "drained", at = ?self.began.elapsed(), "stop: drained");
        }
        wait
    }

    /// Whether somebody has lost patience. Who asks again over the control socket or from a guest
    /// has not, and a supervisor that sends its first SIGTERM behind `host ctl stop` neither.
    fn is_second_signal(&self, cause: Cause, at: Instant) -> bool {
        let Cause::Signal(signal) = cause else { return false };
        let Some(first) = self.signalled.get() else {
            self.signalled.get_or_init(|| at);
            return false;
        };
        let counts = at.saturating_duration_since(*first) >= SECOND_SIGNAL_COUNTS_FROM;
        if !counts {
            info!(
                signal = signal.name(),
                "stop: a signal within {SECOND_SIGNAL_COUNTS_FROM:?} of the first is taken for the \
                 same stop; send it again to cut"
            );
        }
        counts
    }

    async fn doors_closed(&self) {
        self.work.doors.close();
        self.work.doors.wait().await;
    }

    /// Exchanges live inside connections; only the task of an HTTP/2 stream may take a moment
    /// longer to see that its connection has ended.
    async fn everything_ended(&self) {
        self.work.connections.idle().await;
        while self.work.exchanges.in_flight() > 0 {
            sleep(LOOK_AGAIN).await;
        }
        self.work.afterwork.idle().await;
        self.work.instances.idle().await;
        self.work.swaps.idle().await;
    }

    /// Waits for `done`, the deadline or a second signal, and says meanwhile who is left.
    async fn wait(
        &self,
        done: impl Future<Output = ()>,
        commands: &mut UnboundedReceiver<Asked>,
    ) -> Wait {
        let mut progress = Progress::new(self.work, self.began, self.plan.timeout, (self.line)());
        let mut done = std::pin::pin!(done);
        let wait = loop {
            tokio::select! {
                biased;
                () = &mut done => break Wait::Done,
                Asked { command, at } = next_stop(commands) => match command {
                    Command::Cut(cause) => break Wait::CutBy(cause),
                    Command::Stop(cause) => if self.is_second_signal(cause, at) {
                        break Wait::CutBy(cause);
                    },
                    Command::Fail => self.failed.store(true, Ordering::Relaxed),
                    Command::Ignored(_) => {}
                },
                () = sleep_until(self.deadline) => break Wait::TimedOut,
                () = progress.tick() => progress.report(),
            }
        };
        progress.end().await;
        wait
    }

    /// Step 5: names the survivors, ends them by force, and waits a moment for the last bytes.
    async fn cut(&self, by: Option<Cause>) {
        let why = by.map_or("drain timeout", Cause::name);
        warn!(
            step = "cut",
            at = ?self.began.elapsed(),
            why,
            exchanges = self.work.exchanges.in_flight(),
            afterwork = self.work.afterwork.in_flight(),
            connections = self.work.connections.in_flight(),
            "stop: cutting what is left"
        );
        for (kind, tracker) in [
            ("exchange", &self.work.exchanges),
            ("after the answer", &self.work.afterwork),
            ("instance", &self.work.instances),
        ] {
            let survivors = tracker.survivors();
            for who in survivors.iter().take(NAMED_AT_MOST) {
                warn!(kind, "stop: cut {who}");
            }
            if survivors.len() > NAMED_AT_MOST {
                warn!(kind, more = survivors.len() - NAMED_AT_MOST, "stop: and more");
            }
        }
        let instances = self.work.instances.in_flight() as u64;
        self.cut_instances.store(instances, Ordering::Relaxed);
        self.phase.set(Phase::Cut);
        let last_bytes = async {
            self.doors_closed().await;
            self.everything_ended().await;
        };
        if timeout_at(Instant::now() + CUT_GRACE, last_bytes).await.is_err() {
            warn!(
                connections = self.work.connections.in_flight(),
                listeners = self.work.doors.len(),
                "stop: left behind at exit"
            );
        }
    }

    fn report(&self, cut_short_by: Option<Cause>) -> Report {
        let exchanges = self.work.exchanges.counts();
        let afterwork = self.work.afterwork.counts();
        let connections = self.work.connections.counts();
        let left = self.work.exchanges.in_flight() + self.work.afterwork.in_flight();
        Report {
            took: self.began.elapsed(),
            finished: exchanges.finished - self.before.exchanges.finished,
            cut: exchanges.cut - self.before.exchanges.cut + afterwork.cut
                - self.before.afterwork.cut
                + left as u64
                + self.cut_instances.load(Ordering::Relaxed),
            dropped: connections.cut - self.before.connections.cut
                + self.work.connections.in_flight() as u64
                + self.work.doors.len() as u64,
            cut_short_by,
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    fn say_plan(&self, why: Command) {
        info!(
            step = "stop",
            why = why.name(),
            drain_delay = ?self.plan.delay,
            drain_timeout = ?self.plan.timeout,
            exchanges = self.work.exchanges.in_flight(),
            connections = self.work.connections.in_flight(),
            "stop: asked; a second signal cuts, from {SECOND_SIGNAL_COUNTS_FROM:?} after the first"
        );
    }
}

/// The next command that asks for a stop or a cut. Never ends once the signal tasks are gone, so
/// callers wait beside it under their own deadline.
async fn next_stop(commands: &mut UnboundedReceiver<Asked>) -> Asked {
    loop {
        match commands.recv().await {
            Some(Asked { command: Command::Ignored(signal), .. }) => {
                warn!(signal = signal.name(), "signal ignored: this version has no use for it yet");
            }
            Some(asked) => return asked,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
