//! What has been told, and what is told next. Whoever calls, one thing is told after the other.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use host_lifecycle::{Lifecycle, Phase, PhaseWatch, StopSchedule, Trackers};
use host_systemd::{Barrier, Message, Notifier, stored_at_most};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::warn;

use super::words::{Served, Words};

/// Behind the deadline of a stop: the last answers leave, databases are closed, and the log is written.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// So much longer is asked for at a time. If nothing asks any more, the service manager ends the process after this.
const EXTENSION: Duration = Duration::from_secs(30);

const RELOADING: &str = "changing what is served";

/// A listener that the service manager is to keep.
#[derive(Debug)]
pub(in crate::serve) struct KeptSocket {
    /// Under this name.
    pub(in crate::serve) name: String,
    /// A handle of it.
    pub(in crate::serve) socket: OwnedFd,
}

/// Who tells. Without a service manager nobody is told.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) notifier: Notifier,
    pub(super) phase: PhaseWatch,
    trackers: Trackers,
    /// Runs what goes by time.
    pub(super) lifecycle: Handle,
    /// Run guests and connections.
    pub(super) workers: Handle,
    /// Held while something is told, so that what is told has an order.
    told: Mutex<Told>,
}

/// What the service manager knows.
#[derive(Debug, Default)]
struct Told {
    status: String,
    /// What is served, once the process is ready.
    serving: Option<Served>,
    /// Changes that were asked for, and whose outcome has not been told.
    changes: usize,
    /// Names of what it keeps.
    kept: Vec<String>,
    stopping: bool,
    ended: bool,
    /// Another process is the service still.
    hushed: bool,
}

/// A change that has been asked for. Dropping it tells how it came out.
pub(super) struct ChangeGuard(Arc<Teller>);

impl ChangeGuard {
    pub(super) fn new(teller: Arc<Teller>) -> Self {
        let mut told = teller.told();
        told.changes += 1;
        if told.serving.is_some() && !told.is_ending() {
            // Each anew: who has sent a signal waits for a time after it.
            teller.say(&mut told, Message::new().reloading(), RELOADING.to_owned());
        }
        drop(told);
        Self(teller)
    }
}

impl Drop for ChangeGuard {
    fn drop(&mut self) {
        let teller = &*self.0;
        let mut told = teller.told();
        told.changes -= 1;
        if told.changes > 0 || told.is_ending() {
            return;
        }
        let status = teller.status(&told, Words::Outcome);
        if told.serving.is_some() {
            teller.say(&mut told, Message::new().ready(), status);
        }
    }
}

impl Told {
    /// Whether the service manager waits for the end, or has seen it.
    fn is_ending(&self) -> bool {
        self.stopping || self.ended
    }
}

impl Teller {
    pub(super) fn new(notifier: Notifier, lifecycle: &Lifecycle, workers: &Handle) -> Self {
        Self {
            notifier,
            phase: lifecycle.watch(),
            trackers: lifecycle.trackers(),
            lifecycle: lifecycle.runtime(),
            workers: workers.clone(),
            told: Mutex::default(),
        }
    }

    /// What is said first.
    pub(super) fn starting(&self, status: String) {
        self.update(&mut self.told(), status);
    }

    /// Nothing is told while this holds.
    pub(super) fn hush(&self, yes: bool) {
        self.told().hushed = yes;
    }

    /// The service is another process from now on, and nothing that this one says counts any more. Gives when the service
    /// manager knows.
    pub(super) fn succeeded_by(&self, pid: u32) -> Barrier {
        let mut told = self.told();
        // That one has it keep what it wants kept itself.
        for name in told.kept.drain(..) {
            self.notifier.tell(Message::new().unstore(&name));
        }
        let is_service = !told.ended;
        // Nothing that either says counts then, if the service manager hears of no new main process in a stop.
        if let Some(stop) = self.phase.stopping().filter(|_| is_service) {
            let left = stop.deadline.saturating_duration_since(Instant::now());
            self.notifier.tell(Message::new().extend_timeout(left.saturating_add(LAST_WORDS)));
        }
        (told.stopping, told.ended) = (true, true);
        if is_service { self.notifier.main_pid(pid) } else { Barrier::default() }
    }

    /// A start goes on and needs more time.
    pub(super) fn extend_start(&self) {
        if self.told().hushed {
            return;
        }
        self.notifier.tell(Message::new().extend_timeout(EXTENSION));
    }

    /// Clients are served. False if a stop came first, of which has been told.
    pub(super) fn ready(&self, served: Served, kept: Vec<KeptSocket>) -> bool {
        let mut told = self.told();
        let status = served.words(Words::Serving);
        told.serving = Some(served);
        told.hushed = false;
        if told.is_ending() {
            return false;
        }
        self.say(&mut told, Message::new().ready(), status);
        self.keep(&mut told, kept);
        if told.changes > 0 {
            self.say(&mut told, Message::new().reloading(), RELOADING.to_owned());
        }
        true
    }

    /// The end, of which `line` is the last word.
    pub(super) fn ended(&self, line: &str, is_stop: bool) {
        let mut told = self.told();
        let message = match is_stop && !told.stopping {
            true => self.begin_stop(&mut told),
            false => Message::new(),
        };
        self.say(&mut told, message, line.to_owned());
        (told.stopping, told.ended) = (true, true);
    }

    /// What is said first of a stop.
    fn begin_stop(&self, told: &mut Told) -> Message {
        told.stopping = true;
        // Queues will be emptied and sockets closed, which they would not be if somebody kept them.
        for name in told.kept.drain(..) {
            self.notifier.tell(Message::new().unstore(&name));
        }
        Message::new().stopping()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, told: &mut Told, message: Message, status: String) {
        if !told.ended && !told.hushed {
            self.notifier.tell(message.status(&status));
            told.status = status;
        }
    }

    /// Tells a status that is new.
    fn update(&self, told: &mut Told, status: String) {
        if told.status != status {
            self.say(told, Message::new(), status);
        }
    }

    fn status(&self, told: &Told, words: Words) -> String {
        let left = || self.trackers.left();
        match self.phase.now() {
            Phase::Starting => told.status.clone(),
            // A start that is given up: its end says so.
            Phase::Cut if !told.stopping => told.status.clone(),
            Phase::Ready => match &told.serving {
                Some(served) => served.words(words),
                None => told.status.clone(),
            },
            Phase::LameDuck if told.stopping => format!("stopping, still accepting: {}", left()),
            Phase::LameDuck => format!("out of service by hand, still accepting: {}", left()),
            Phase::Draining => format!("draining: {}", left()),
            Phase::Cut => format!("cutting what is left: {}", left()),
        }
    }

    fn keep(&self, told: &mut Told, kept: Vec<KeptSocket>) {
        for KeptSocket { name, socket } in kept.into_iter().take(stored_at_most()) {
            match self.notifier.store(&name, socket.as_fd()) {
                Ok(()) => told.kept.push(name),
                Err(why) => warn!(name, %why, "the service manager cannot keep this listener"),
            }
        }
    }

    pub(super) fn phase_changed(&self) {
        let mut told = self.told();
        // While a change is under way, its outcome will say the rest.
        if told.changes == 0 || told.stopping {
            let status = self.status(&told, Words::Serving);
            self.update(&mut told, status);
        }
    }

    /// A stop has been asked for.
    pub(super) fn stopping(&self, stop: StopSchedule) {
        let mut told = self.told();
        if told.is_ending() {
            return;
        }
        let message = self.begin_stop(&mut told).extend_timeout(extension(stop));
        let status = self.status(&told, Words::Serving);
        self.say(&mut told, message, status);
    }

    /// Time has passed. With `extend` more of it is asked for, as far as the stop may take.
    pub(super) fn tick(&self, extend: bool) {
        self.notifier.flush();
        if !self.phase.is_leaving() {
            return;
        }
        let mut told = self.told();
        let status = self.status(&told, Words::Serving);
        match self.phase.stopping() {
            Some(stop) if extend && !told.ended => {
                let message = Message::new().extend_timeout(extension(stop));
                self.say(&mut told, message, status);
            }
            _ => self.update(&mut told, status),
        }
    }
}

/// What is asked for: not more than the stop may take.
fn extension(stop: StopSchedule) -> Duration {
    let left = stop.deadline.saturating_duration_since(Instant::now());
    left.saturating_add(LAST_WORDS).min(EXTENSION)
}
