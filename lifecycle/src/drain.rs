//! The order of a stop, written once: lame duck, close the door, drain, cut, report.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{info, warn};

use super::command::{Cause, Command, TimedCommand};
use super::guard::Counts;
use super::phase::{Phase, PhaseSetter, StopSchedule};
use super::progress::{FindProgressLine, NAMED_AT_MOST, Progress};
use super::report::StopReport;
use super::trackers::Trackers;
use super::words::Seconds;

/// How a stop is to go. One budget: the delay lies inside the timeout.
#[derive(Clone, Copy, Debug)]
pub struct StopPlan {
    /// How long to be a lame duck before the door closes.
    pub delay: Duration,
    /// From the first signal to the cut.
    pub timeout: Duration,
}

/// How the process came to its end.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    /// TimedCommand to stop before it was ready: nothing had been accepted.
    BeforeReady,
    /// Drained, cut or both.
    Stopped(StopReport),
    /// What carries out stops has panicked: nobody hears signals any more.
    Broken,
}

/// After the cut, this long for the last 503s and resets to leave, then the process ends.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// A second signal counts from here on after the first. coreutils `timeout`, supervisors that signal
/// a group and wrappers that pass signals on send one stop as two signals, within milliseconds;
/// nobody who has lost patience is as quick.
const SECOND_SIGNAL_COUNTS_FROM: Duration = Duration::from_millis(500);

/// Lives from armed signals to the end of the process.
pub(super) async fn live(
    phase: &PhaseSetter,
    trackers: &Trackers,
    (plan, line): (StopPlan, FindProgressLine),
    commands: &mut UnboundedReceiver<TimedCommand>,
) -> Ending {
    let first = next_stop(commands).await;
    if phase.give_up_start() {
        return Ending::BeforeReady;
    }
    let delay =
        if first.command == Command::Stop(Cause::Upgrade) { Duration::ZERO } else { plan.delay };
    let is_failure = first.command == Command::Fail;
    let stop = Stop::begin((phase, is_failure), trackers, StopPlan { delay, ..plan }, line);
    let cut_short_by = stop.run(first, commands).await;
    Ending::Stopped(stop.report(cut_short_by))
}

struct Stop<'a> {
    phase: &'a PhaseSetter,
    trackers: &'a Trackers,
    plan: StopPlan,
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
    fn begin(
        (phase, is_failure): (&'a PhaseSetter, bool),
        trackers: &'a Trackers,
        plan: StopPlan,
        line: FindProgressLine,
    ) -> Self {
        let began = Instant::now();
        let before = Before {
            exchanges: trackers.exchanges.counts(),
            afterwork: trackers.afterwork.counts(),
            connections: trackers.connections.counts(),
        };
        let deadline = began + plan.timeout;
        let leaving = phase.begin_stop(StopSchedule { began, deadline, is_failure });
        Self {
            phase,
            trackers,
            plan,
            line,
            began,
            deadline,
            leaving,
            before,
            failed: AtomicBool::new(is_failure),
            signalled: OnceLock::new(),
            cut_instances: AtomicU64::new(0),
        }
    }

    /// Runs the steps. Gives who cut the stop short, if somebody did.
    async fn run(
        &self,
        first: TimedCommand,
        commands: &mut UnboundedReceiver<TimedCommand>,
    ) -> Option<Cause> {
        let TimedCommand { command: first, at } = first;
        let cut_by = match first {
            Command::Cut(cause) => Some(cause),
            Command::Stop(_) | Command::Fail => {
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
        };
        self.cut(cut_by).await;
        cut_by
    }

    async fn drain(&self, commands: &mut UnboundedReceiver<TimedCommand>) -> Wait {
        if !self.plan.delay.is_zero() {
            self.phase.set(Phase::LameDuck);
            info!(step = "lame-duck", delay = %Seconds(self.plan.delay), "stop: lame duck, still accepting");
            // A lame duck by hand has had that time already, or some of it.
            let until = self.leaving.unwrap_or(self.began) + self.plan.delay;
            let wait = self.wait(sleep_until(until), commands).await;
            if !matches!(wait, Wait::Done) {
                return wait;
            }
        }
        info!(step = "close-door", at = %Seconds(self.began.elapsed()), "stop: closing the door");
        self.phase.set(Phase::Draining);
        let wait = self.wait(self.trackers.listeners_closed(), commands).await;
        if !matches!(wait, Wait::Done) {
            return wait;
        }
        info!(
            step = "drain",
            at = %Seconds(self.began.elapsed()),
            exchanges = self.trackers.exchanges.in_flight(),
            connections = self.trackers.connections.in_flight(),
            "stop: door closed, draining"
        );
        let wait = self.wait(self.everything_ended(), commands).await;
        if matches!(wait, Wait::Done) {
            info!(step = "drained", at = %Seconds(self.began.elapsed()), "stop: drained");
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

    /// The predecessor of an upgrade hands on connections to its end.
    async fn everything_ended(&self) {
        self.trackers.upgrades.idle().await;
        self.trackers.nothing_served().await;
        self.trackers.swaps.idle().await;
    }

    /// Waits for `done`, the deadline or a second signal, and says meanwhile who is left.
    async fn wait(
        &self,
        done: impl Future<Output = ()>,
        commands: &mut UnboundedReceiver<TimedCommand>,
    ) -> Wait {
        let mut progress =
            Progress::new(self.trackers, self.began, self.plan.timeout, (self.line)());
        let mut done = std::pin::pin!(done);
        let wait = loop {
            tokio::select! {
                biased;
                () = &mut done => break Wait::Done,
                TimedCommand { command, at } = next_stop(commands) => match command {
                    Command::Cut(cause) => break Wait::CutBy(cause),
                    Command::Stop(cause) => if self.is_second_signal(cause, at) {
                        break Wait::CutBy(cause);
                    },
                    Command::Fail => self.failed.store(true, Ordering::Relaxed),
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
            at = %Seconds(self.began.elapsed()),
            why,
            exchanges = self.trackers.exchanges.in_flight(),
            afterwork = self.trackers.afterwork.in_flight(),
            connections = self.trackers.connections.in_flight(),
            "stop: cutting what is left"
        );
        for (kind, tracker) in [
            ("exchange", &self.trackers.exchanges),
            ("after the answer", &self.trackers.afterwork),
            ("instance", &self.trackers.instances),
        ] {
            let survivors = tracker.survivors();
            for who in survivors.iter().take(NAMED_AT_MOST) {
                warn!(kind, "stop: cut {who}");
            }
            if survivors.len() > NAMED_AT_MOST {
                warn!(kind, more = survivors.len() - NAMED_AT_MOST, "stop: and more");
            }
        }
        let instances = self.trackers.instances.in_flight() as u64;
        self.cut_instances.store(instances, Ordering::Relaxed);
        self.phase.set(Phase::Cut);
        let last_bytes = async {
            self.trackers.listeners_closed().await;
            self.everything_ended().await;
        };
        if timeout_at(Instant::now() + CUT_GRACE, last_bytes).await.is_err() {
            warn!(
                connections = self.trackers.connections.in_flight(),
                listeners = self.trackers.listeners.len(),
                "stop: left behind at exit"
            );
        }
    }

    fn report(&self, cut_short_by: Option<Cause>) -> StopReport {
        let exchanges = self.trackers.exchanges.counts();
        let afterwork = self.trackers.afterwork.counts();
        let connections = self.trackers.connections.counts();
        let left = self.trackers.exchanges.in_flight() + self.trackers.afterwork.in_flight();
        StopReport {
            took: self.began.elapsed(),
            finished: exchanges.finished - self.before.exchanges.finished,
            cut: exchanges.cut - self.before.exchanges.cut + afterwork.cut
                - self.before.afterwork.cut
                + left as u64
                + self.cut_instances.load(Ordering::Relaxed),
            dropped: connections.cut - self.before.connections.cut
                + self.trackers.connections.in_flight() as u64
                + self.trackers.listeners.len() as u64,
            cut_short_by,
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    fn say_plan(&self, why: Command) {
        info!(
            step = "stop",
            why = why.name(),
            drain_delay = %Seconds(self.plan.delay),
            drain_timeout = %Seconds(self.plan.timeout),
            exchanges = self.trackers.exchanges.in_flight(),
            connections = self.trackers.connections.in_flight(),
            "stop: asked; a second signal cuts, from {SECOND_SIGNAL_COUNTS_FROM:?} after the first"
        );
    }
}

/// The next command that asks for a stop or a cut. Never ends once the signal tasks are gone, so
/// callers wait beside it under their own deadline.
async fn next_stop(commands: &mut UnboundedReceiver<TimedCommand>) -> TimedCommand {
    match commands.recv().await {
        Some(asked) => asked,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
