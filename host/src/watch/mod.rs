//! `--watch`: asks for a reload when a component's file changes, or the manifest's.
//!
//! What is watched are names in directories: a file that is replaced by a rename is another file, a
//! symbolic link is turned where it stands, not where it points to, and a directory above can be
//! exchanged for another.
//!
//! ```text
//! kernel ─→ eyes (inotify) ─→ settle ─→ look: aim again, then stamps ─→ asked ─→ reload
//!                                       └── aside: a thread of its own ──┘  ↖ again: it passes
//! ```

mod aside;
mod asked;
mod eyes;
mod ways;

use std::collections::BTreeSet;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use host_manifest::Stamp;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, info, warn};

use crate::site::{Reloads, Swaps, Trigger};
use aside::Aside;
use asked::{Again, Asked, Seen};
use eyes::{Aim, Eyes};

/// A file is read when nothing has happened to it for this long: whoever writes it is done.
const QUIET: Duration = Duration::from_millis(200);

/// Something happens all the time: then it is read all the same, as often as this.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// What the kernel does not tell of is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Watches what is served.
#[derive(Debug)]
pub(crate) struct Watch {
    aside: Aside,
}

/// What there is to see of the files.
struct Look {
    aim: Option<Aim>,
    files: Vec<Seen>,
}

impl Watch {
    /// Makes its thread.
    ///
    /// # Errors
    /// When there is none to be had.
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self { aside: Aside::start()? })
    }

    /// Reloads on every change of a file that is served at the time. Ends with the process; errors go
    /// to the log.
    pub(crate) async fn run(self, swaps: Swaps) {
        let eyes = open().map(Arc::new);
        let mut swapped = swaps.watch();
        let (mut asked, mut again) = (Asked::default(), Again::default());
        let mut reloads = Reloads::new(swaps.clone(), Trigger::Watch);
        let mut told = Told::default();
        // First the watch and then the look, so that nothing happens in between.
        let mut look = self.look(eyes.clone(), &swaps).await;
        loop {
            let Some(Look { aim, files }) = look else {
                error!("watch: its thread is gone; nothing is watched any more");
                return;
            };
            let blind = aim.as_ref().is_none_or(|aim| aim.blind.is_some());
            told.tell(&files, aim);
            let changed = asked.look(files);
            if asked.is_served() {
                again.forget();
            }
            if changed || again.is_due() {
                debug!(changed, "watch: asks for a reload");
                again.asked();
                reloads.ask();
            }
            tokio::select! {
                biased;
                // It is in the log; a file that is not what is served already is swapped in.
                outcome = reloads.next() => again.after(&outcome),
                () = happened(eyes.as_deref()) => {}
                () = sleep(LOOK_EVERY), if blind => {}
                () = again.wait() => {}
                // Other files may be served now.
                changed = swapped.changed() => if changed.is_err() {
                    return;
                },
            }
            settle(|| happened(eyes.as_deref())).await;
            look = self.look(eyes.clone(), &swaps).await;
        }
    }

    /// Watches what is served now, and looks at it. A directory may have been made anew, even with the
    /// same inode, and a link turned.
    async fn look(&self, eyes: Option<Arc<Eyes>>, swaps: &Swaps) -> Option<Look> {
        let files = swaps.files();
        let look = move || {
            let paths: BTreeSet<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
            let aim = eyes.map(|eyes| eyes.aim(&paths));
            let stamped = |file: (PathBuf, Option<Stamp>)| {
                let now = Stamp::at(&file.0);
                (file, now)
            };
            Look { aim, files: files.into_iter().map(stamped).collect() }
        };
        self.aside.run(look).await
    }
}

fn open() -> Option<Eyes> {
    let failed = |why: &io::Error| {
        warn!(%why, "watch: the kernel gives no inotify; files are looked at every {LOOK_EVERY:?}");
    };
    Eyes::open().inspect_err(failed).ok()
}

/// Waits for the next thing to happen. Cancel-safe.
async fn happened(eyes: Option<&Eyes>) {
    let Some(eyes) = eyes else { return pending().await };
    if let Err(why) = eyes.happened().await {
        warn!(%why, "watch: inotify failed");
        // What there is to see is looked at soon, and not at once: it may fail again.
        sleep(LOOK_EVERY).await;
    }
}

/// Waits until nothing happens any more.
async fn settle<F: Future<Output = ()>>(happened: impl Fn() -> F) {
    let latest = Instant::now() + AT_LEAST_EVERY;
    loop {
        let quiet = (Instant::now() + QUIET).min(latest);
        if timeout_at(quiet, happened()).await.is_err() {
            return;
        }
    }
}

/// What the log has of what is watched.
#[derive(Default)]
struct Told(Option<(BTreeSet<PathBuf>, Aim)>);

impl Told {
    /// Says it, if it is something new.
    fn tell(&mut self, files: &[Seen], aim: Option<Aim>) {
        let Some(aim) = aim else { return };
        let paths: BTreeSet<PathBuf> = files.iter().map(|((path, _), _)| path.clone()).collect();
        let now = (paths, aim);
        if self.0.as_ref() == Some(&now) {
            return;
        }
        let (paths, Aim { directories, blind }) = &now;
        info!(?paths, ?directories, "watch: watching");
        if let Some((directory, why)) = blind {
            let directory = directory.display();
            warn!(%directory, %why, "watch: cannot watch it; files are looked at every {LOOK_EVERY:?}");
        }
        self.0 = Some(now);
    }
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
