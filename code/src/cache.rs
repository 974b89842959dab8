//! Compiled code, stored between starts in a directory of ours.
//!
//! An entry is a file with the name of its key. It is written beside its place and then renamed, so that several
//! hosts may use one directory and none reads half an entry. Entries are checked when they are read. Damage is a
//! miss, and the next compile writes the entry again.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fd::OwnedFd;
use rustix::fs::{
    Access, AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, accessat,
    fstat, futimens, open, openat, renameat, statat, unlinkat,
};
use rustix::process::geteuid;
use tracing::{debug, warn};

use crate::cache_error::CacheError;
use crate::entries_in_use::{EntriesInUse, EntryInUse};
use crate::{Artefact, ArtefactKey};

/// The size of all entries together. Above it, entries that nobody has used [`LATELY`] are removed, the least recently
/// used first. The code of a small guest is some hundred KiB, that of the largest seen 40 MiB.
const LARGEST_CACHE: u64 = 1 << 30;

/// Above so many times that size, those that were used lately go too. A host of thousands of components needs all of
/// theirs at each start.
const LATELY_USED: u64 = 8;

/// A host that serves has used its entries at its start.
const LATELY: Duration = Duration::from_secs(24 * 3600);

/// No artefact is larger: the child that makes it has far less memory.
const LARGEST_ENTRY: u64 = 4 << 30;

/// It is looked at as a whole once in this part of that size.
const SWEEPS: u64 = 64;

/// If a file has been under construction for this long, its writer has gone.
const STALE: Duration = Duration::from_secs(3600);

/// Names to try for a new file. Files of killed hosts block their names until they are [`STALE`].
const NAMES_TRIED: usize = 1000;

/// The end of an entry's name, after the digits of its key.
const ENTRY: &str = ".code";

/// Digits of a key.
const DIGITS: usize = 64;

/// The beginning of a new file's name. A process number and a counter follow.
const NEW: &str = ".new-";

/// A directory of compiled code that belongs to us or to root, and that no other user may write to.
#[derive(Debug)]
pub struct ArtefactCache {
    path: PathBuf,
    /// The directory at that path, or the one that was there at the last look.
    directory: Mutex<Arc<OwnedFd>>,
    largest: u64,
    largest_entry: u64,
    /// The counter in the names of new files.
    number: AtomicU64,
    /// Bytes that were stored since the last sweep.
    unswept: AtomicU64,
    in_use: EntriesInUse,
}

impl ArtefactCache {
    /// Opens the directory, and creates it if it is missing. Does not check the directories above it: a user
    /// who may rename those is trusted. Blocks.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub fn open(path: &Path) -> Result<Self, CacheError> {
        let directory = Mutex::new(Arc::new(Self::open_directory(path)?));
        Ok(Self {
            path: path.to_owned(),
            directory,
            largest: LARGEST_CACHE,
            largest_entry: LARGEST_ENTRY,
            number: AtomicU64::new(0),
            // The first one that is stored sweeps.
            unswept: AtomicU64::new(LARGEST_CACHE),
            in_use: EntriesInUse::default(),
        })
    }

    /// The same cache, for a process that can hold no entry of more than `most` bytes.
    #[must_use]
    pub fn holding(self, most: u64) -> Self {
        Self { largest_entry: most.min(self.largest_entry), ..self }
    }

    fn open_directory(path: &Path) -> Result<OwnedFd, CacheError> {
        let unopened = |why: io::Error| CacheError::Unopened { path: path.to_owned(), why };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unopened)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = open(path, flags, Mode::empty())
            .and_then(|directory| Ok((fstat(&directory)?, directory)));
        let (stat, directory) = opened.map_err(|why| unopened(why.into()))?;
        if !is_ours(&stat) {
            let (owner, user) = (stat.st_uid, geteuid().as_raw());
            return Err(CacheError::Foreign { path: path.to_owned(), owner, user });
        }
        if others_write(&stat) {
            return Err(CacheError::Open { path: path.to_owned(), mode: stat.st_mode & 0o7777 });
        }
        Ok(directory)
    }

    fn directory(&self) -> MutexGuard<'_, Arc<OwnedFd>> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the directory's permissions do not allow new entries, if they do not. Existing entries are used
    /// all the same.
    #[must_use]
    pub fn read_only(&self) -> Option<String> {
        let may_write = accessat(&**self.directory(), c".", Access::WRITE_OK, AtFlags::EACCESS);
        let why = io::Error::from(may_write.err()?);
        Some(format!("{} cannot be written: {why}", self.path.display()))
    }

    /// Has this cache remove no entry of this key for as long as the result lives: it is to be read again. Others that use
    /// the directory may remove it.
    #[must_use]
    pub fn use_entry(&self, key: &ArtefactKey) -> EntryInUse {
        self.in_use.add(entry(key))
    }

    /// The entry of this key, if it is whole. Blocks.
    #[must_use]
    pub fn get(&self, key: &ArtefactKey) -> Option<Artefact> {
        let name = entry(key);
        let mut file = match self.open_entry(&name) {
            Ok(file) => file,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return None,
            Err(why) => {
                let path = self.path.display();
                warn!(%path, name, %why, "code cache: an entry cannot be read; it is compiled anew");
                return None;
            }
        };
        let mut bytes = Vec::new();
        let read = file.read_to_end(&mut bytes).map_err(|why| why.to_string());
        match read.and_then(|_| Artefact::check(key, bytes).map_err(|why| why.to_string())) {
            Ok(artefact) => {
                // Used entries stay. On a read-only file system they stay anyway.
                let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
                let used = Timestamps { last_access: now, last_modification: now };
                futimens(&file, &used).ok();
                Some(artefact)
            }
            Err(why) => {
                let path = self.path.display();
                warn!(%path, name, why, "code cache: an entry is damaged; it is compiled anew");
                None
            }
        }
    }

    fn open_entry(&self, name: &str) -> io::Result<File> {
        // Not blocking, because opening a fifo of that name would wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&*self.directory().clone(), name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let wrong = match (is_file, is_ours(&stat), others_write(&stat)) {
            (false, ..) => "it is no file",
            (_, false, _) => "it belongs to another user",
            (.., true) => "others may write to it",
            _ if size > self.largest_entry => "it is too large",
            _ => return Ok(file.into()),
        };
        Err(io::Error::other(wrong))
    }

    /// Stores an entry for the next start, and logs a failure. Whether it is stored. Blocks.
    pub fn put(&self, key: &ArtefactKey, artefact: &Artefact) -> bool {
        let kept = self.keep(&entry(key), artefact.bytes());
        if let Err(why) = &kept {
            let path = self.path.display();
            warn!(
                %path,
                %why,
                "code cache: compiled code cannot be kept; the next start compiles again"
            );
        }
        let size = artefact.bytes().len() as u64;
        let unswept = self.unswept.fetch_add(size, Ordering::Relaxed).saturating_add(size);
        // A look at all entries, of which there may be thousands.
        if unswept >= self.largest / SWEEPS {
            self.unswept.store(0, Ordering::Relaxed);
            if let Err(why) = self.sweep() {
                debug!(%why, "code cache: old entries stay");
            }
        }
        kept.is_ok()
    }

    /// Writes it. Tries again if the reason of a failure can be removed.
    fn keep(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let why = match self.write(name, bytes) {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        let mended = match why.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                self.make_room(name, bytes.len() as u64)?
            }
            // It has been removed. An operator who wants the room back still wants a cache.
            io::ErrorKind::NotFound => {
                let anew = Self::open_directory(&self.path).map_err(io::Error::other)?;
                *self.directory() = Arc::new(anew);
                true
            }
            _ => false,
        };
        if mended { self.write(name, bytes) } else { Err(why) }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let directory = self.directory().clone();
        let (new, mut file) = self.create_new(&directory)?;
        // A power failure may damage the entry, which the checksum shows. So nothing waits for the disk.
        let written = file
            .write_all(bytes)
            .and_then(|()| Ok(renameat(&*directory, &*new, &*directory, name)?));
        if written.is_err() {
            unlinkat(&*directory, &*new, AtFlags::empty()).ok();
        }
        written
    }

    /// Creates a file that no other writer uses, and returns its name too. A name that is taken may belong to
    /// a file under construction: by a second cache of this process, or by a host with the same process
    /// number in another container.
    fn create_new(&self, directory: &OwnedFd) -> io::Result<(String, File)> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        for _ in 0..NAMES_TRIED {
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let new = format!("{NEW}{}-{number}", process::id());
            match openat(directory, &*new, flags, Mode::from(0o600)) {
                Ok(file) => return Ok((new, file.into())),
                Err(rustix::io::Errno::EXIST) => {}
                Err(why) => return Err(why.into()),
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many files are being written"))
    }

    /// Removes entries that are too old or too much. Leaves files alone whose names are not ours.
    fn sweep(&self) -> io::Result<()> {
        let directory = self.directory().clone();
        let (entries, stale) = look(&directory)?;
        for name in stale {
            unlinkat(&*directory, name, AtFlags::empty()).ok();
        }
        let mut total = 0_u64;
        for Entry { size, name, unused } in entries {
            total = total.saturating_add(size);
            let most = if unused < LATELY { self.largest * LATELY_USED } else { self.largest };
            if total > most && !self.in_use.has(&name) {
                debug!(name, "code cache: an old entry goes");
                unlinkat(&*directory, name, AtFlags::empty()).ok();
            }
        }
        Ok(())
    }

    /// Removes the least recently used entries until `bytes` more are free, for the entry with the name `of`.
    /// Returns whether that succeeds; if it cannot, it removes none.
    fn make_room(&self, of: &str, bytes: u64) -> io::Result<bool> {
        let directory = self.directory().clone();
        let (mut entries, _) = look(&directory)?;
        entries.retain(|entry| entry.name != of && !self.in_use.has(&entry.name));
        if entries.iter().map(|entry| entry.size).sum::<u64>() < bytes {
            return Ok(false);
        }
        let mut freed = 0;
        while freed < bytes
            && let Some(Entry { size, name, .. }) = entries.pop()
        {
            debug!(name, "code cache: an old entry makes room");
            unlinkat(&*directory, name, AtFlags::empty())?;
            freed += size;
        }
        Ok(true)
    }
}

/// An entry in a directory. The most recently used sorts first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    unused: Duration,
    size: u64,
    name: String,
}

/// The entries of a directory, and the names of files whose writers have gone.
fn look(directory: &OwnedFd) -> io::Result<(Vec<Entry>, Vec<String>)> {
    let now = SystemTime::now();
    let (mut entries, mut stale) = (Vec::new(), Vec::new());
    for found in Dir::read_from(directory)? {
        let found = found?;
        let Ok(name) = found.file_name().to_str() else { continue };
        if !is_entry(name) && !is_new(name) {
            continue;
        }
        // Another host may have removed it meanwhile.
        let Ok(stat) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let unused = now.duration_since(modified(&stat)).unwrap_or_default();
        let (name, size) = (name.to_owned(), u64::try_from(stat.st_size).unwrap_or(0));
        if is_entry(&name) {
            entries.push(Entry { unused, size, name });
        } else if unused > STALE {
            stale.push(name);
        }
    }
    entries.sort();
    Ok((entries, stale))
}

fn is_entry(name: &str) -> bool {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.strip_suffix(ENTRY).is_some_and(|key| key.len() == DIGITS && key.bytes().all(digit))
}

fn is_new(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = name.strip_prefix(NEW).and_then(|numbers| numbers.split_once('-'));
    numbers.is_some_and(|(process, own)| number(process) && number(own))
}

fn entry(key: &ArtefactKey) -> String {
    format!("{key}{ENTRY}")
}

/// Whether the file belongs to us, or to root, who may do everything anyway.
fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == geteuid().as_raw() || stat.st_uid == 0
}

/// Whether the group or others may write. With an access control list the group's bits are its mask, so they
/// also show who may write by the list.
fn others_write(stat: &Stat) -> bool {
    stat.st_mode & 0o022 != 0
}

fn modified(stat: &Stat) -> SystemTime {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
