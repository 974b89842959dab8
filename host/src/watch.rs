//! `--watch`: asks for a reload when a component's file changes, or the manifest's.
//!
//! What is watched are directories: a file that is replaced by a rename is another file, and a
//! symbolic link is turned where it stands, not where it points to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use host_manifest::Stamp;
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
    let mut watched = Watched::default();
    let mut asked = Asked::default();
    loop {
        let paths = paths(&swaps);
        if paths != watched.paths {
            // What has become of them since they were read has happened too.
            watched.aim(paths, &happened);
            happened.notify_one();
        }
        tokio::select! {
            () = happened.notified() => settle(&happened).await,
            () = sleep(TRY_AGAIN), if watched.watcher.is_none() => {}
            // Other files may be served now.
            changed = swapped.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            }
        }
        // A directory may have been made anew, even with the same inode, and a link turned. First the
        // watch and then the look, so that nothing happens in between.
        watched.aim(self::paths(&swaps), &happened);
        if !asked.look(swaps.files()) {
            // Another file in the directory. What was rolled back stays so.
            debug!("watch: no file has changed");
            continue;
        }
        debug!("watch: a file has changed");
        // The outcome is in the log; a file that is not what is served already is swapped in.
        drop(swaps.ask(Ask::Reload, Trigger::Watch).await);
    }
}

fn paths(swaps: &Swaps) -> BTreeSet<PathBuf> {
    swaps.files().into_iter().map(|(path, _)| path).collect()
}

/// Files that were not what had been read at the latest look, by path and what that was, and what
/// they were instead: a reload has been asked for, and may have been refused.
#[derive(Debug, Default)]
struct Asked(BTreeMap<(PathBuf, Option<Stamp>), Stamp>);

impl Asked {
    /// Whether a reload is to be asked for, because one of `files` is neither what was read nor what it
    /// was at the latest look.
    fn look(&mut self, files: Vec<(PathBuf, Option<Stamp>)>) -> bool {
        let mut differ = BTreeMap::new();
        let mut changed = false;
        for file in files {
            let (path, as_read) = &file;
            let now = Stamp::at(path);
            if *as_read != Some(now) {
                let before = self.0.get(&file).copied().or(*as_read);
                changed |= before.is_some_and(|before| before != now);
                differ.insert(file, now);
            }
        }
        self.0 = differ;
        changed
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
    paths: BTreeSet<PathBuf>,
    /// As the log has them.
    directories: BTreeSet<PathBuf>,
}

impl Watched {
    /// Watches the ways to `paths` as they are now, in place of what was watched before.
    fn aim(&mut self, paths: BTreeSet<PathBuf>, happened: &Arc<Notify>) {
        let directories = ways_to(&paths);
        let watcher = match watch(&directories, happened.clone()) {
            Ok(watcher) => {
                if self.watcher.is_none() || directories != self.directories {
                    info!(?paths, ?directories, "watch: watching");
                }
                if ways_to(&paths) != directories {
                    // A link was turned before anybody watched it.
                    happened.notify_one();
                }
                Some(watcher)
            }
            Err(why) => {
                // As long as it lasts, once.
                if self.watcher.is_some() || self.directories.is_empty() {
                    warn!(%why, ?paths, "watch: cannot watch, trying again");
                }
                None
            }
        };
        *self = Self { watcher, paths, directories };
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

fn ways_to(paths: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    paths.iter().flat_map(|path| way_to(path)).collect()
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

    #[test]
    fn a_file_has_changed_when_it_is_not_what_was_read() {
        let folder = std::env::temp_dir().join(format!("host-asked-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let at = |name: &str| folder.join(name);
        for name in ["one", "two", "three"] {
            std::fs::write(at(name), name).unwrap();
        }
        let turn = |name: &str| {
            symlink(name, at("new")).unwrap();
            std::fs::rename(at("new"), at("link")).unwrap();
        };
        let (one, two, three) =
            (Stamp::at(&at("one")), Stamp::at(&at("two")), Stamp::at(&at("three")));
        let read = |stamps: &[Option<Stamp>]| {
            stamps.iter().map(|stamp| (at("link"), *stamp)).collect::<Vec<_>>()
        };
        turn("one");
        let mut asked = Asked::default();
        assert!(!asked.look(read(&[Some(one)])), "it is what was read");
        assert!(!Asked::default().look(read(&[None])), "it went back, and nothing since");
        assert!(asked.look(read(&[Some(one), Some(two)])), "the second component serves another");
        let mut gone_back = Asked::default();
        assert!(!gone_back.look(read(&[None])));
        turn("two");
        assert!(gone_back.look(read(&[None])));
        assert!(asked.look(read(&[Some(one)])));
        assert!(!asked.look(read(&[Some(one)])), "it was refused");
        turn("one");
        assert!(!asked.look(read(&[Some(one)])));
        turn("two");
        assert!(asked.look(read(&[Some(one)])), "somebody tries again");
        assert!(!asked.look(read(&[Some(two)])), "it was taken");
        // Somebody else has the third one read, and the link is turned back before it is looked at.
        assert!(asked.look(read(&[Some(three)])));
        std::fs::remove_file(at("two")).unwrap();
        assert!(asked.look(read(&[Some(two)])), "it is gone");
        std::fs::remove_dir_all(&folder).unwrap();
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
