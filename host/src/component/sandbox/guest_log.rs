//! Where the output of a component goes, and how much of it may come in a second: a token bucket for the bytes of all
//! its instances, whichever generation they are of.
//!
//! Nothing waits for it: lines without room are left out and counted, and now and then the log says how
//! many there were.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use host_log::{GuestFile, GuestLine};
use host_manifest::LogFormat;
use tokio::time::Instant;
use tracing::warn;

/// Bytes that the log puts around a guest's line: time, exchange, component, generation, stream, trace.
const AROUND: u64 = 150;

/// The log says at most this often that lines were left out.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The outputs of all components, by name. Cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub struct GuestLogs {
    format: LogFormat,
    /// With those whose file the manifest does not name any more, as long as generations print there.
    logs: Arc<Mutex<Vec<NamedLog>>>,
    /// Lines of all that were left out, or that a file that is closed did not get.
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
struct NamedLog {
    name: Arc<str>,
    log: Weak<GuestLog>,
}

impl GuestLogs {
    /// Outputs whose files have this format.
    #[must_use]
    pub fn new(format: LogFormat) -> Self {
        Self { format, ..Self::default() }
    }

    /// The output of a component, with so many bytes in a second, or any, and its file if it has one. The same again
    /// for the same name and file, with what is left in its bucket.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn component(
        &self,
        name: &Arc<str>,
        rate: Option<u64>,
        file: Option<&Path>,
    ) -> io::Result<Arc<GuestLog>> {
        if let Some(log) = self.known(name, file) {
            log.set_rate(rate);
            return Ok(log);
        }
        // A file system that has gone keeps nobody waiting who has a file already.
        let open = |path| GuestFile::open(name, path, self.format);
        let opened = file.map(open).transpose()?;
        let file = opened.zip(file.map(Path::to_owned));
        let log = Arc::new(GuestLog::new(rate, file, self.dropped.clone()));
        lock(&self.logs).push(NamedLog { name: name.clone(), log: Arc::downgrade(&log) });
        Ok(log)
    }

    fn known(&self, name: &str, file: Option<&Path>) -> Option<Arc<GuestLog>> {
        let mut logs = lock(&self.logs);
        logs.retain(|known| known.log.strong_count() > 0);
        let mut own = logs.iter().filter(|known| *known.name == *name);
        own.find_map(|known| known.log.upgrade().filter(|log| log.path() == file))
    }

    /// Lines that were printed and stand in no log.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let in_files: u64 = self.in_use().iter().map(|log| log.dropped_by_file()).sum();
        self.dropped.load(Ordering::Relaxed) + in_files
    }

    /// Has all files opened again. Returns at once.
    pub fn reopen(&self) {
        self.files(GuestFile::reopen);
    }

    /// Asks for the end of all files, behind the lines so far. Returns at once.
    pub fn begin_end(&self) {
        self.files(GuestFile::begin_end);
    }

    /// Writes the lines so far, until then at most.
    pub fn end(&self, until: Instant) {
        self.begin_end();
        self.files(|file| {
            file.end(until);
        });
    }

    fn files(&self, each: impl Fn(&GuestFile)) {
        self.in_use().iter().filter_map(|log| log.file.as_ref()).for_each(|(file, _)| each(file));
    }

    fn in_use(&self) -> Vec<Arc<GuestLog>> {
        lock(&self.logs).iter().filter_map(|known| known.log.upgrade()).collect()
    }
}

/// The output of one component. Dropping it logs the lines left out that are not logged yet.
#[derive(Debug)]
pub struct GuestLog {
    file: Option<(GuestFile, PathBuf)>,
    dropped: Arc<AtomicU64>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes per second, and the burst. None for no bound.
    rate: Option<u64>,
    /// Bytes in the bucket; below 0 when the last line was larger than that.
    left: i64,
    /// The time of that level.
    at: Instant,
    /// Lines left out that the log has not been told of, and whose they are.
    left_out: u64,
    component: String,
    reported: Option<Instant>,
}

impl GuestLog {
    fn new(rate: Option<u64>, file: Option<(GuestFile, PathBuf)>, dropped: Arc<AtomicU64>) -> Self {
        let left = signed(rate.unwrap_or_default());
        let component = String::new();
        let (at, reported) = (Instant::now(), None);
        let state = Mutex::new(State { rate, left, at, left_out: 0, component, reported });
        Self { file, dropped, state }
    }

    /// That of a component without a file, which prints as much as it likes.
    #[cfg(test)]
    pub(crate) fn unbounded() -> Arc<Self> {
        Arc::new(Self::new(None, None, Arc::default()))
    }

    fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|(_, path)| path.as_path())
    }

    fn dropped_by_file(&self) -> u64 {
        self.file.as_ref().map_or(0, |(file, _)| file.dropped())
    }

    /// Prints a line, if there is room for it.
    pub(crate) fn print(&self, line: &GuestLine<'_>) {
        if !self.has_room(line.text.len()) {
            self.leave_out(line.component, 1);
            return;
        }
        match &self.file {
            Some((file, _)) => file.add(line),
            None => line.log(),
        }
    }

    /// Counts lines that were not printed, and says how many there were if it is time to.
    pub(crate) fn leave_out(&self, component: &str, lines: u64) {
        self.count_dropped(lines);
        let due = {
            let mut state = self.state();
            if lines > 0 && state.left_out == 0 {
                component.clone_into(&mut state.component);
            }
            state.left_out += lines;
            state.due()
        };
        say(due, component);
    }

    /// Counts lines that were not printed, of which the caller tells the log.
    pub(crate) fn count_dropped(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    /// Whether a line of so many bytes may be printed. Then it counts.
    pub(crate) fn has_room(&self, text: usize) -> bool {
        let mut state = self.state();
        let Some(rate) = state.rate else { return true };
        let has_room = state.fill(rate);
        if has_room {
            state.left = state.left.saturating_sub(signed(AROUND + text as u64));
        }
        has_room
    }

    fn set_rate(&self, rate: Option<u64>) {
        let mut state = self.state();
        if state.rate != rate {
            state.rate = rate;
            state.left = signed(rate.unwrap_or_default());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn say(lines: u64, component: &str) {
    if lines > 0 {
        warn!(component, lines, "guest prints more than it may (limits.log-rate): lines left out");
    }
}

impl State {
    /// Adds what has come since. Whether anything is there.
    fn fill(&mut self, rate: u64) -> bool {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.at);
        let fresh =
            since.as_nanos().saturating_mul(rate.into()) / Duration::from_secs(1).as_nanos();
        // Parts of a byte go on growing.
        if fresh > 0 {
            let fresh = i64::try_from(fresh).unwrap_or(i64::MAX);
            (self.left, self.at) = (self.left.saturating_add(fresh).min(signed(rate)), now);
        }
        self.left > 0
    }

    /// The number of lines to report now.
    fn due(&mut self) -> u64 {
        let now = Instant::now();
        let early = |reported| now.saturating_duration_since(reported) < SAY_EVERY;
        if self.left_out == 0 || self.reported.is_some_and(early) {
            return 0;
        }
        self.reported = Some(now);
        std::mem::take(&mut self.left_out)
    }
}

impl Drop for GuestLog {
    fn drop(&mut self) {
        self.dropped.fetch_add(self.dropped_by_file(), Ordering::Relaxed);
        let mut state = self.state();
        say(std::mem::take(&mut state.left_out), &state.component);
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "guest_log_tests.rs"]
mod tests;
