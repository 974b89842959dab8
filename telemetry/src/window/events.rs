//! What was done to the process: swaps, rollbacks, drains, the stop.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// What is kept; the oldest goes first.
const AT_MOST: usize = 256;

/// Bytes of a text.
const TEXT: usize = 500;

/// What kind of thing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The process is ready.
    Start,
    /// Another version of a component serves.
    Swap,
    /// The version before serves again.
    Rollback,
    /// A manifest was read again.
    Reload,
    /// A change was asked for and came to nothing.
    Rejected,
    /// A canary began, took its next step, or came to its end.
    Canary,
    /// A lame duck by hand has begun.
    Drain,
    /// A lame duck by hand was taken back.
    Undrain,
    /// A stop has begun, or come to its next phase.
    Stop,
}

impl EventKind {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Swap => "swap",
            Self::Rollback => "rollback",
            Self::Reload => "reload",
            Self::Rejected => "rejected",
            Self::Canary => "canary",
            Self::Drain => "drain",
            Self::Undrain => "undrain",
            Self::Stop => "stop",
        }
    }
}

/// Something that was done to the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Counts up from 1.
    pub number: u64,
    /// When.
    pub at: Instant,
    /// What kind of thing.
    pub kind: EventKind,
    /// The component that it was done to, if it was one.
    pub component: Option<String>,
    /// What came of it, in a sentence for operators.
    pub text: String,
}

/// What was done to the process, and when. Cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub struct EventLog(Arc<Mutex<Events>>);

#[derive(Debug, Default)]
struct Events {
    last: u64,
    kept: VecDeque<LoggedEvent>,
}

impl EventLog {
    /// Takes note of something that happens now. Waits for nothing.
    pub fn note(&self, kind: EventKind, component: Option<&str>, text: &str) {
        let (at, component) = (Instant::now(), component.map(Into::into));
        let end = text.floor_char_boundary(TEXT);
        let text = text.get(..end).unwrap_or_default().to_owned();
        let mut events = self.lock();
        events.last += 1;
        let number = events.last;
        if events.kept.len() >= AT_MOST {
            events.kept.pop_front();
        }
        events.kept.push_back(LoggedEvent { number, at, kind, component, text });
    }

    /// Those with a greater number than this, the oldest first.
    #[must_use]
    pub fn after(&self, number: u64) -> Vec<LoggedEvent> {
        self.lock().kept.iter().filter(|event| event.number > number).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
