//! The epoch of all engines. A thread of its own moves it, so guests that spin on every core cannot stop
//! it. The thread starts once, with the process, so a swap that makes another engine needs no thread.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use wasmtime::{Engine, EngineWeak};

use crate::component::tick::{TICK, TickCounter};

type DrivenEngines = Mutex<Vec<EngineWeak>>;

/// Moves the epoch of engines. Cheap to clone. Its thread ends when the last clone is dropped.
#[derive(Clone)]
pub struct EpochClock {
    engines: Arc<DrivenEngines>,
    ticks: TickCounter,
}

impl EpochClock {
    /// Starts the thread, with no engine yet.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start() -> io::Result<Self> {
        let engines = Arc::new(DrivenEngines::default());
        let ticking = Arc::downgrade(&engines);
        let ticks = TickCounter::default();
        let counter = ticks.clone();
        thread::Builder::new().name("epoch".into()).spawn(move || {
            while tick(&ticking, &counter) {
                thread::sleep(TICK);
            }
        })?;
        Ok(Self { engines, ticks })
    }

    /// Counts its ticks.
    #[must_use]
    pub fn ticks(&self) -> &TickCounter {
        &self.ticks
    }

    /// Moves the epoch of this engine too, as long as it lives.
    pub(crate) fn drive(&self, engine: &Engine) {
        lock(&self.engines).push(engine.weak());
    }
}

/// Moves all epochs once. False when the last [`EpochClock`] is gone.
fn tick(engines: &Weak<DrivenEngines>, ticks: &TickCounter) -> bool {
    let Some(engines) = engines.upgrade() else { return false };
    // First, so that a guest which a tick stops finds it counted.
    ticks.advance();
    lock(&engines).retain(|engine| match engine.upgrade() {
        Some(engine) => {
            engine.increment_epoch();
            true
        }
        None => false,
    });
    true
}

fn lock(engines: &DrivenEngines) -> MutexGuard<'_, Vec<EngineWeak>> {
    engines.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for EpochClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochClock")
    }
}
