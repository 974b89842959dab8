//! inotify(7): what the kernel tells of directories. No thread of its own, unlike crates for it: they
//! panic where there is none to be had.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::watched_names::names_leading_to;

/// Links that are turned while they are followed are followed again, as often as this.
const TRIES: usize = 8;

/// Room for some events; the rest are read afterwards.
const BUFFER: usize = 4096;

/// Whatever changes a name, what it names, or the directory itself. Not that something was read: the
/// reload reads.
const CHANGES: WatchFlags = WatchFlags::ATTRIB
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// Names that matter, by the kernel's number of the directory.
type Names = BTreeMap<i32, BTreeSet<OsString>>;

/// Directories that are watched. Dropping it ends that.
#[derive(Debug)]
pub(super) struct InotifyWatch {
    inotify: AsyncFd<OwnedFd>,
    names: Mutex<Names>,
}

/// What is watched, and what cannot be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Coverage {
    pub(super) directories: Vec<PathBuf>,
    /// The first directory that is there and cannot be watched, and why. Its files have to be polled.
    pub(super) unwatched: Option<(PathBuf, Errno)>,
}

impl InotifyWatch {
    /// Watches nothing yet. To be called inside the runtime.
    ///
    /// # Errors
    /// What inotify_init(2) or the reactor says.
    pub(super) fn open() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "what it is to be replaced by is unsafe, for descriptors that others may close"
        )]
        let inotify = AsyncFd::new(inotify)?;
        Ok(Self { inotify, names: Mutex::default() })
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches the names that lead to `paths` as they are now, in place of what was watched before.
    /// Blocks.
    pub(super) fn cover(&self, paths: &BTreeSet<PathBuf>) -> Coverage {
        let mut tries = 1;
        loop {
            let watched = names_leading_to(paths);
            let (mut names, mut unwatched) = (Names::new(), None);
            for (directory, leads_on) in &watched {
                match inotify::add_watch(self.inotify.get_ref(), directory, CHANGES) {
                    Ok(number) => names.entry(number).or_default().extend(leads_on.iter().cloned()),
                    // The name above it is watched, and tells when it is made.
                    Err(Errno::NOENT | Errno::NOTDIR) => {}
                    Err(why) => {
                        unwatched.get_or_insert_with(|| (directory.clone(), why));
                    }
                }
            }
            self.replace_names(names);
            // Else a link was turned before it was watched.
            if tries == TRIES || names_leading_to(paths) == watched {
                return Coverage { directories: watched.into_keys().collect(), unwatched };
            }
            tries += 1;
        }
    }

    fn replace_names(&self, names: Names) {
        let mut now = self.names();
        for number in now.keys().filter(|number| !names.contains_key(number)) {
            // It may be gone by itself, with its directory.
            inotify::remove_watch(self.inotify.get_ref(), *number).ok();
        }
        *now = names;
    }

    /// Waits until one of these names may lead to something else. Cancel-safe.
    ///
    /// # Errors
    /// Of the reactor, and of reading.
    pub(super) async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            match ready.try_io(|_| self.read()) {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err(why)) => return Err(why),
            }
        }
    }

    /// Reads what there is; true if something of it matters.
    fn read(&self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut events = inotify::Reader::new(self.inotify.get_ref(), &mut buffer);
        let mut matters = false;
        loop {
            match events.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    matters |= self.matters(event.wd(), event.events(), name);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if matters => return Ok(true),
                Err(why) => return Err(why.into()),
            }
        }
    }

    fn matters(&self, number: i32, what: ReadFlags, name: Option<&OsStr>) -> bool {
        if what.contains(ReadFlags::IGNORED) {
            return false;
        }
        match (self.names().get(&number), name) {
            (Some(names), Some(name)) => names.contains(name),
            // Of the directory itself, of all because there was too much, or of one that is new.
            (Some(_) | None, _) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// `burst_of_…` in `tests/watch.rs` says what becomes of it.
    #[tokio::test]
    async fn what_does_not_lead_to_the_file_is_not_told() {
        let root = std::env::temp_dir().join(format!("host-inotify-{}", std::process::id()));
        fs::create_dir_all(root.join("folder")).unwrap();
        let file = root.join("folder/app.wasm");
        fs::write(&file, "").unwrap();
        let watch = InotifyWatch::open().unwrap();
        let coverage = watch.cover(&BTreeSet::from([file.clone()]));
        assert_eq!(coverage.unwatched, None);
        fs::write(root.join("folder/other"), "").unwrap();
        fs::write(root.join("beside"), "").unwrap();
        drop(fs::read(&file).unwrap());
        let none = timeout(Duration::ZERO, watch.changed()).await;
        assert!(none.is_err(), "another file, and to be read, are nothing");
        let told = async || {
            let told = timeout(Duration::from_secs(10), watch.changed()).await;
            told.expect("it has happened").unwrap();
        };
        fs::write(&file, "more").unwrap();
        told().await;
        fs::rename(root.join("folder"), root.join("gone")).unwrap();
        told().await;
        fs::remove_dir_all(&root).unwrap();
    }
}
