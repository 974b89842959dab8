//! Files that are being closed, of the whole process: who opens one again waits for that, and so does
//! the end of the process.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Default)]
struct All {
    paths: Mutex<BTreeSet<PathBuf>>,
    change: Condvar,
}

static ALL: LazyLock<All> = LazyLock::new(All::default);

impl All {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, patience: Duration, while_: impl Fn(&BTreeSet<PathBuf>) -> bool) -> bool {
        let waited = self.change.wait_timeout_while(self.lock(), patience, |paths| while_(paths));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// A file that is being closed. Dropped when it is.
#[derive(Debug)]
pub(super) struct Closing(PathBuf);

impl Closing {
    pub(super) fn begin(path: &Path) -> Self {
        ALL.lock().insert(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        ALL.lock().remove(&self.0);
        ALL.change.notify_all();
    }
}

/// Waits until this file is not being closed any more. Blocks, as long as `patience` says.
pub(super) fn wait_for(path: &Path, patience: Duration) {
    ALL.wait(patience, |paths| paths.contains(path));
}

/// Waits until all files have been closed that are being closed: false if that takes longer than
/// `patience`. Blocks; for the end of a process.
#[must_use]
pub fn wait_until_closed(patience: Duration) -> bool {
    ALL.wait(patience, |paths| !paths.is_empty())
}
