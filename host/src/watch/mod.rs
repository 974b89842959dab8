//! Asks for a reload when files change: with `--watch` when that of a component or the manifest does, and always when
//! a certificate of a listener does.
//!
//! What is watched are names in directories: a file that is replaced by a rename is another file, a
//! symbolic link is turned where it stands, not where it points to, and a directory above can be
//! exchanged for another.
//!
//! ```text
//! kernel ─→ inotify ─→ settle ─→ look: watch again, then stamps ─→ ChangedFiles ─→ reload
//!                                └──────── file_thread ────────┘               ↖ Retry
//! ```

mod changes;
mod file_thread;
mod inotify;
mod watched_names;

use std::collections::BTreeSet;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use host_manifest::Stamp;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, info, warn};

use crate::site::{ReloadScope, Reloads, Swaps, Trigger};
use changes::{ChangedFiles, FileSeen, Retry};
use file_thread::FileThread;
use inotify::{Coverage, InotifyWatch};

/// A file is read when nothing has happened to it for this long: its writer is done.
const QUIET: Duration = Duration::from_millis(200);

/// Something happens all the time: then it is read all the same, as often as this.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// Files whose changes the kernel does not tell of are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Watches what is served, or the certificates of listeners.
#[derive(Debug)]
pub(crate) struct Watch {
    file_thread: FileThread,
    scope: ReloadScope,
}

/// What a look at the files has found.
struct Look {
    /// None without inotify.
    coverage: Option<Coverage>,
    files: Vec<FileSeen>,
}

impl Watch {
    /// Makes its thread. What is watched is what a reload of `scope` reads.
    ///
    /// # Errors
    /// When there is none to be had.
    pub(crate) fn start(scope: ReloadScope) -> io::Result<Self> {
        Ok(Self { file_thread: FileThread::start()?, scope })
    }

    /// Reloads on every change of a file that is served at the time. Ends with the process; errors go
    /// to the log.
    pub(crate) async fn run(self, swaps: Swaps) {
        let inotify = open().map(Arc::new);
        let mut swapped = swaps.watch();
        let (mut changed_files, mut retry) = (ChangedFiles::default(), Retry::default());
        let mut reloads = Reloads::new(swaps.clone(), self.scope, Trigger::Watch);
        let mut logged = LoggedCoverage::default();
        // First the watch and then the look, so that nothing happens in between.
        let mut look = self.look(inotify.clone(), &swaps).await;
        loop {
            let Some(Look { coverage, files }) = look else {
                error!("watch: its thread is gone; nothing is watched any more");
                return;
            };
            let polls = coverage.as_ref().is_none_or(|coverage| coverage.unwatched.is_some());
            logged.log(&files, coverage);
            let changed = changed_files.update(files);
            if changed_files.is_served() {
                retry.forget();
            }
            if changed || retry.is_due() {
                debug!(changed, "watch: asks for a reload");
                retry.asked();
                reloads.ask();
            }
            tokio::select! {
                biased;
                // It is in the log; a file that is not what is served already is swapped in.
                outcome = reloads.next() => retry.after(&outcome),
                () = name_changed(inotify.as_deref()) => {}
                () = sleep(LOOK_EVERY), if polls => {}
                () = retry.wait() => {}
                // Other files may be served now.
                changed = swapped.changed() => if changed.is_err() {
                    return;
                },
            }
            settle(|| name_changed(inotify.as_deref())).await;
            look = self.look(inotify.clone(), &swaps).await;
        }
    }

    /// Watches the files that are served now, and looks at them. A directory may have been made anew, even
    /// with the same inode, and a link turned.
    async fn look(&self, inotify: Option<Arc<InotifyWatch>>, swaps: &Swaps) -> Option<Look> {
        let files = swaps.files_of(self.scope);
        let look = move || {
            let paths: BTreeSet<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
            let coverage = inotify.map(|inotify| inotify.cover(&paths));
            let stamped = |file: (PathBuf, Option<Stamp>)| {
                let now = Stamp::at(&file.0);
                (file, now)
            };
            Look { coverage, files: files.into_iter().map(stamped).collect() }
        };
        self.file_thread.run(look).await
    }
}

fn open() -> Option<InotifyWatch> {
    let failed = |why: &io::Error| {
        warn!(%why, "watch: the kernel gives no inotify; files are looked at every {LOOK_EVERY:?}");
    };
    InotifyWatch::open().inspect_err(failed).ok()
}

/// Waits until a watched name may lead to something else. Cancel-safe.
async fn name_changed(inotify: Option<&InotifyWatch>) {
    let Some(inotify) = inotify else { return pending().await };
    if let Err(why) = inotify.changed().await {
        warn!(%why, "watch: inotify failed");
        // What there is to see is looked at soon, and not at once: it may fail again.
        sleep(LOOK_EVERY).await;
    }
}

/// Waits until nothing happens any more.
async fn settle<F: Future<Output = ()>>(changed: impl Fn() -> F) {
    let latest = Instant::now() + AT_LEAST_EVERY;
    loop {
        let quiet = (Instant::now() + QUIET).min(latest);
        if timeout_at(quiet, changed()).await.is_err() {
            return;
        }
    }
}

/// What the log has been told of what is watched.
#[derive(Default)]
struct LoggedCoverage(Option<(BTreeSet<PathBuf>, Coverage)>);

impl LoggedCoverage {
    /// Logs what is watched, if it is something new.
    fn log(&mut self, files: &[FileSeen], coverage: Option<Coverage>) {
        let Some(coverage) = coverage else { return };
        let paths: BTreeSet<PathBuf> = files.iter().map(|((path, _), _)| path.clone()).collect();
        let now = (paths, coverage);
        if self.0.as_ref() == Some(&now) {
            return;
        }
        let (paths, Coverage { directories, unwatched }) = &now;
        info!(files = list(paths), directories = list(directories), "watch: watching");
        if let Some((directory, why)) = unwatched {
            let directory = directory.display();
            warn!(%directory, %why, "watch: cannot watch it; files are looked at every {LOOK_EVERY:?}");
        }
        self.0 = Some(now);
    }
}

fn list<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> String {
    paths.into_iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_changes_is_one_and_an_endless_one_does_not_starve_the_reload() {
        let happened = Arc::new(Notify::new());
        let began = Instant::now();
        settle(|| happened.notified()).await;
        assert_eq!(began.elapsed(), QUIET);
        let noise = happened.clone();
        let noise = tokio::spawn(async move {
            loop {
                noise.notify_one();
                sleep(QUIET / 2).await;
            }
        });
        let began = Instant::now();
        settle(|| happened.notified()).await;
        assert_eq!(began.elapsed(), AT_LEAST_EVERY);
        noise.abort();
    }
}
