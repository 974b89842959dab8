//! What the service manager is told of this process, and when.
//!
//! ```text
//! start ──ready line──→ READY=1            PhaseWatch ─→ watch.rs ─→ STOPPING=1, STATUS=…, EXTEND_TIMEOUT_USEC=…
//! a change is asked for → RELOADING=1      workers ────→ pulse.rs ─→ WATCHDOG=1
//! its outcome is told ──→ READY=1
//! ```
//!
//! What goes by time is told from the lifecycle's runtime: guests that spin on every core hold it up neither at a stop
//! nor while the process serves.

mod pulse;
mod watch;
mod words;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use host_lifecycle::{Lifecycle, Phase, PhaseWatch, StopSchedule, Trackers};
use host_systemd::{Message, Notifier, watchdog_time};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::component::Keeper;
use crate::config::ServeConfig;
use words::{Words, loading};

pub(super) use words::Served;

/// Behind the deadline of a stop: the last answers leave, databases are closed, and the log is written.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// So much longer is asked for at a time. If nothing asks any more, the service manager ends the process after this.
const EXTENSION: Duration = Duration::from_secs(30);

/// A start that compiles ends in the time that its compiles may take, and this.
const START_BESIDE_COMPILES: Duration = Duration::from_secs(60);

/// Tells the service manager; without one it does nothing. Cheap to clone, and no call waits.
#[derive(Clone, Debug)]
pub(super) struct ServiceManager(Arc<Teller>);

#[derive(Debug)]
struct Teller {
    notifier: Notifier,
    phase: PhaseWatch,
    trackers: Trackers,
    /// Runs what goes by time.
    lifecycle: Handle,
    /// Run guests and connections.
    workers: Handle,
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
    stopping: bool,
    ended: bool,
}

impl ServiceManager {
    /// Tells the service manager that the environment names, if it names one, that the process starts.
    pub(super) fn begin(config: &ServeConfig, lifecycle: &Lifecycle, workers: &Handle) -> Self {
        Self::telling(Notifier::from_env(), config, lifecycle, workers)
    }

    fn telling(
        notifier: Notifier,
        config: &ServeConfig,
        lifecycle: &Lifecycle,
        workers: &Handle,
    ) -> Self {
        let manifest = &config.manifest;
        let components = manifest.components.len();
        let manager = Self(Arc::new(Teller {
            notifier,
            phase: lifecycle.watch(),
            trackers: lifecycle.trackers(),
            lifecycle: lifecycle.runtime(),
            workers: workers.clone(),
            told: Mutex::default(),
        }));
        if manager.0.notifier.is_heard() {
            manager.0.update(&mut manager.0.told(), loading(components));
            let compiles =
                manifest.swap.compile.saturating_mul(components.try_into().unwrap_or(u32::MAX));
            let start = compiles.saturating_add(START_BESIDE_COMPILES);
            // It ends with the lifecycle's runtime: at the end of the process.
            drop(manager.0.lifecycle.spawn(watch::follow(manager.clone(), start)));
        }
        manager
    }

    /// The ready line is printed: clients are served.
    pub(super) fn ready(&self, served: Served) {
        let teller = &*self.0;
        if !teller.notifier.is_heard() {
            return;
        }
        let mut told = teller.told();
        let status = served.words(Words::Serving);
        told.serving = Some(served);
        // A stop that came first has been told.
        if told.is_ending() {
            return;
        }
        teller.say(&mut told, Message::new().ready(), status);
        if told.changes > 0 {
            teller.say(&mut told, Message::new().reloading(), RELOADING.to_owned());
        }
        drop(told);
        if let Some(time) = watchdog_time() {
            // As above.
            drop(teller.lifecycle.spawn(watch::beat(self.clone(), time)));
        }
    }

    /// Tells of each change, from the moment in which it is asked for until its outcome has been told, beside what `keeper`
    /// does.
    pub(super) fn keeper(&self, keeper: Keeper) -> Keeper {
        let manager = self.clone();
        Keeper::new(move |what| Box::new((ChangeGuard::new(manager.clone()), keeper.keep(what))))
    }

    /// The process has come to its end, of which `line` is the last word. Nothing is told after it.
    pub(super) fn ended(&self, line: &str, is_stop: bool) {
        let teller = &*self.0;
        let mut told = teller.told();
        let message = match is_stop && !told.stopping {
            true => Message::new().stopping(),
            false => Message::new(),
        };
        teller.say(&mut told, message, line.to_owned());
        (told.stopping, told.ended) = (true, true);
    }
}

const RELOADING: &str = "changing what is served";

/// A change that has been asked for. Dropping it tells how it came out.
struct ChangeGuard(ServiceManager);

impl ChangeGuard {
    fn new(manager: ServiceManager) -> Self {
        let teller = &*manager.0;
        let mut told = teller.told();
        told.changes += 1;
        if told.serving.is_some() && !told.is_ending() {
            // Each anew: who has sent a signal waits for a time after it.
            teller.say(&mut told, Message::new().reloading(), RELOADING.to_owned());
        }
        drop(told);
        Self(manager)
    }
}

impl Drop for ChangeGuard {
    fn drop(&mut self) {
        let teller = &*self.0.0;
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
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, told: &mut Told, message: Message, status: String) {
        if !told.ended {
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

    fn phase_changed(&self) {
        let mut told = self.told();
        // While a change is under way, its outcome will say the rest.
        if told.changes == 0 || told.stopping {
            let status = self.status(&told, Words::Serving);
            self.update(&mut told, status);
        }
    }

    /// A stop has been asked for.
    fn stopping(&self, stop: StopSchedule) {
        let mut told = self.told();
        if told.is_ending() {
            return;
        }
        told.stopping = true;
        let status = self.status(&told, Words::Serving);
        let message = Message::new().stopping().extend_timeout(extension(stop));
        self.say(&mut told, message, status);
    }

    /// Time has passed. With `extend` more of it is asked for, as far as the stop may take.
    fn tick(&self, extend: bool) {
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
