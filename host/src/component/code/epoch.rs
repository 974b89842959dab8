//! The clock of all engines: a thread of its own, so that guests which spin on every core cannot stop
//! it; one for all, made at the start, so that a swap which needs another engine needs no thread.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// Guests on a busy core let go of it this often.
const TICK: Duration = Duration::from_millis(10);

type DrivenEngines = Mutex<Vec<EngineWeak>>;

/// Moves the epoch of engines. Cheap to clone; its thread ends with the last one.
#[derive(Clone)]
pub struct EpochClock(Arc<DrivenEngines>);

impl EpochClock {
    /// Starts it, with no engine yet.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start() -> io::Result<Self> {
        let engines = Arc::new(DrivenEngines::default());
        let ticking = Arc::downgrade(&engines);
        thread::Builder::new().name("epoch".into()).spawn(move || {
            while tick(&ticking) {
                thread::sleep(TICK);
            }
        })?;
        Ok(Self(engines))
    }

    /// Moves the epoch of this one too, as long as it is there.
    pub(crate) fn drive(&self, engine: &Engine) {
        lock(&self.0).push(engine.weak());
    }
}

/// False when nobody has the clock any more.
fn tick(engines: &Weak<DrivenEngines>) -> bool {
    let Some(engines) = engines.upgrade() else { return false };
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
