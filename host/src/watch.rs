//! `--watch`: asks for a reload when a component's file changes, or the manifest's.
//!
//! What is watched are directories: a file that is replaced by a rename is another file, and a
//! symbolic link is turned where it stands, not where it points to.

use std::collections::{BTreeSet, VecDeque};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, info, warn};

use crate::site::{Ask, Swaps, Trigger};

/// A file is read when nothing has happened to it for this long: whoever writes it is done.
const QUIET: Duration = Duration::from_millis(200);

/// Something happens all the time: then it is read all the same, as often as this.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// A directory that is gone for a moment is looked for this often.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Symbolic links on the way to one file, as many as Linux follows (path_resolution(7)).
const LINKS: usize = 40;

/// Reloads on every change of a file that is served at the time. Ends with the process; errors go
/// to the log.
pub(crate) async fn run(swaps: Swaps) {
    let happened = Arc::new(Notify::new());
    let mut swapped = swaps.watch();
    let mut paths = swaps.paths();
    let mut watched = Watched::default();
    watched.aim(&paths, &happened);
    let mut seen = Seen::all(&paths);
    loop {
        tokio::select! {
            () = happened.notified() => settle(&happened).await,
            () = sleep(TRY_AGAIN), if watched.watcher.is_none() => {}
            // Other files may be served now.
            changed = swapped.changed() => {
                if changed.is_err() {
                    return;
                }
                if swaps.paths() != paths {
                    paths = swaps.paths();
                    watched.aim(&paths, &happened);
                    seen = Seen::all(&paths);
                }
                continue;
            }
        }
        // A directory may have been made anew, even with the same inode, and a link turned. First the
        // watch and then the look, so that nothing happens in between.
        watched.aim(&paths, &happened);
        let now = Seen::all(&paths);
        if now == seen {
            // Another file in the directory. What was rolled back stays so.
            debug!("watch: no file has changed");
            continue;
        }
        seen = now;
        debug!("watch: a file has changed");
        // The outcome is in the log; a file that is not what is served already is swapped in.
        drop(swaps.ask(Ask::Reload, Trigger::Watch).await);
    }
}

/// Which file it is and which of its contents, as far as can be told without reading.
#[derive(Debug, PartialEq, Eq)]
struct Seen(Option<(u64, u64, u64, i64, i64)>);

impl Seen {
    fn all(paths: &BTreeSet<PathBuf>) -> Vec<Self> {
        paths.iter().map(|path| Self::at(path)).collect()
    }

    fn at(path: &Path) -> Self {
        let meta = std::fs::metadata(path).ok();
        Self(
            meta.map(|meta| (meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec())),
        )
    }
}

/// Waits until nothing happens any more.
async fn settle(happened: &Notify) {
    let latest = Instant::now() + AT_LEAST_EVERY;
    loop {
        let quiet = (Instant::now() + QUIET).min(latest);
        if timeout_at(quiet, happened.notified()).await.is_err() {
            return;
        }
    }
}

/// What is watched. Dropping it ends that.
#[derive(Default)]
struct Watched {
    watcher: Option<notify::RecommendedWatcher>,
    /// As the log has them.
    directories: BTreeSet<PathBuf>,
}

impl Watched {
    /// Watches the ways to `paths` as they are now, in place of what was watched before.
    fn aim(&mut self, paths: &BTreeSet<PathBuf>, happened: &Arc<Notify>) {
        let directories = paths.iter().flat_map(|path| way_to(path)).collect();
        match watch(&directories, happened.clone()) {
            Ok(watcher) => {
                if self.watcher.is_none() || directories != self.directories {
                    info!(?paths, ?directories, "watch: watching");
                }
                *self = Self { watcher: Some(watcher), directories };
            }
            Err(why) => {
                // As long as it lasts, once.
                if self.watcher.is_some() || self.directories.is_empty() {
                    warn!(%why, ?paths, "watch: cannot watch, trying again");
                }
                *self = Self { watcher: None, directories };
            }
        }
    }
}

fn watch(
    directories: &BTreeSet<PathBuf>,
    happened: Arc<Notify>,
) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // To have been read is no change, and the reload reads.
        if event.is_ok_and(|event| event.kind.is_access() && !is_written(&event)) {
            return;
        }
        happened.notify_one();
    })?;
    for directory in directories {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Closed after writing.
fn is_written(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    matches!(event.kind, EventKind::Access(AccessKind::Close(AccessMode::Write)))
}

/// The directories in which a change can make `path` another file: that of every symbolic link on
/// the way, and that of the file itself.
fn way_to(path: &Path) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    let mut rest: VecDeque<std::ffi::OsString> = names(path);
    let mut here = if path.is_absolute() { "/".into() } else { PathBuf::from(".") };
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        let next = here.join(&name);
        match std::fs::read_link(&next) {
            Ok(target) if links < LINKS => {
                links += 1;
                directories.insert(here.clone());
                if target.is_absolute() {
                    here = "/".into();
                }
                for name in names(&target).into_iter().rev() {
                    rest.push_front(name);
                }
            }
            _ if rest.is_empty() => {
                directories.insert(here.clone());
            }
            _ => here = next,
        }
    }
    directories
}

fn names(path: &Path) -> VecDeque<std::ffi::OsString> {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_is_watched_where_it_stands() {
        let root = std::env::temp_dir().join(format!("host-watch-{}", std::process::id()));
        // As Kubernetes mounts a ConfigMap.
        std::fs::create_dir_all(root.join("..2026")).unwrap();
        std::fs::write(root.join("..2026/app.wasm"), "").unwrap();
        symlink("..2026", root.join("..data")).unwrap();
        symlink("..data/app.wasm", root.join("app.wasm")).unwrap();
        let way = way_to(&root.join("app.wasm"));
        assert_eq!(way, BTreeSet::from([root.clone(), root.join("..2026")]));
        let loops = root.join("loop");
        symlink(&loops, &loops).unwrap();
        assert_eq!(way_to(&loops), BTreeSet::from([root.clone()]));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_changes_is_one_and_an_endless_one_does_not_starve_the_reload() {
        let happened = Arc::new(Notify::new());
        let began = Instant::now();
        settle(&happened).await;
        assert_eq!(began.elapsed(), QUIET);
        let noise = happened.clone();
        let noise = tokio::spawn(async move {
            loop {
                noise.notify_one();
                sleep(QUIET / 2).await;
            }
        });
        let began = Instant::now();
        settle(&happened).await;
        assert_eq!(began.elapsed(), AT_LEAST_EVERY);
        noise.abort();
    }
}
