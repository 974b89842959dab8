//! Lines of a child's output: one thread reads them, any thread may wait for them.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

/// A place in the lines. A wait may look only at lines after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(usize);

impl Mark {
    /// Before the first line.
    pub const START: Self = Self(0);
}

/// Why a wait for a line failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// The stream ended, so the line cannot come any more.
    Closed,
    /// The deadline passed.
    TimedOut,
}

/// The lines of one stream. Clones share them; the reading thread ends with the stream.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    closed: bool,
}

impl Lines {
    /// Starts to collect the lines of `from`. Replaces bytes that are not UTF-8.
    pub fn collect(from: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() }));
        let theirs = lines.clone();
        thread::spawn(move || theirs.fill(from));
        lines
    }

    fn fill(&self, from: impl Read) {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        loop {
            line.clear();
            let ended = !matches!(from.read_until(b'\n', &mut line), Ok(n) if n > 0);
            let mut state = self.state();
            if ended {
                state.closed = true;
            } else {
                let text = String::from_utf8_lossy(&line);
                state.lines.push(text.trim_end_matches(['\n', '\r']).to_owned());
            }
            drop(state);
            self.0.changed.notify_all();
            if ended {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no reader panics while it holds the lines")
    }

    /// The place after the last line so far.
    pub fn mark(&self) -> Mark {
        Mark(self.state().lines.len())
    }

    /// All lines so far, each with its line feed.
    pub fn text(&self) -> String {
        self.state().lines.iter().flat_map(|line| [line, "\n"]).collect()
    }

    /// The last line that is not empty, or an empty text.
    pub fn last(&self) -> String {
        self.state().lines.iter().rfind(|line| !line.is_empty()).cloned().unwrap_or_default()
    }

    /// How many lines after `mark` hold `text`, so far.
    pub fn count(&self, text: &str, mark: Mark) -> usize {
        self.state().lines.iter().skip(mark.0).filter(|line| line.contains(text)).count()
    }

    /// Waits for the `nth` line (counted from 1) after `mark` that holds `text`, and returns it.
    ///
    /// # Errors
    /// When the stream ends first, or `until` passes.
    pub fn wait_for(
        &self,
        text: &str,
        mark: Mark,
        nth: usize,
        until: Instant,
    ) -> Result<String, Missed> {
        let mut state = self.state();
        loop {
            let mut found = state.lines.iter().skip(mark.0).filter(|line| line.contains(text));
            if let Some(line) = found.nth(nth.saturating_sub(1)) {
                return Ok(line.clone());
            }
            if state.closed {
                return Err(Missed::Closed);
            }
            state = self.wait(state, until).ok_or(Missed::TimedOut)?;
        }
    }

    /// Waits for the end of the stream. False when `until` passes first.
    pub fn wait_closed(&self, until: Instant) -> bool {
        let mut state = self.state();
        while !state.closed {
            match self.wait(state, until) {
                Some(changed) => state = changed,
                None => return false,
            }
        }
        true
    }

    /// Waits for a change. None when `until` has passed.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Instant,
    ) -> Option<MutexGuard<'a, State>> {
        let left = until.checked_duration_since(Instant::now())?;
        let (state, _) = self.0.changed.wait_timeout(state, left).expect("as in `state`");
        Some(state)
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lines").field(&self.text()).finish()
    }
}
