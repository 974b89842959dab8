//! What was pulled, kept on a disk by its digest: `sha256/HEX`.
//!
//! Nothing in it is believed: what is read is counted (SHA-256) each time, and what is damaged is removed and counts as
//! missing. Files are written beside and renamed, so several processes may use one directory at once.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::{Builder, NamedTempFile};
use thiserror::Error;

use crate::digest::ContentDigest;

/// Only its owner reads what a registry gives to those it knows.
const MODE: u32 = 0o700;

/// How files are called that are being written. One that is older than a write takes was left by a crash.
const NEW: &str = ".new-";
const LONGEST_WRITE: Duration = Duration::from_secs(60 * 60);

/// A directory of content by its digest. Blocks while it reads and writes.
#[derive(Clone, Debug)]
pub struct ContentStore {
    files: PathBuf,
    largest: u64,
}

/// The directory cannot be used.
#[derive(Debug, Error)]
#[error("the store {} cannot be used: {why}", .path.display())]
pub struct StoreFailure {
    /// The file or directory.
    pub path: PathBuf,
    /// What the system says.
    #[source]
    pub why: io::Error,
}

/// What a look at the size of a store has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Files that were removed.
    pub removed: usize,
    /// Bytes that are there now.
    pub bytes: u64,
}

struct Kept {
    path: PathBuf,
    digest: ContentDigest,
    size: u64,
    used: SystemTime,
}

impl ContentStore {
    /// Opens a directory, and makes it if it is not there. It is to have no more than `largest` bytes.
    ///
    /// # Errors
    /// If it cannot be made, or is no directory of ours.
    pub fn open(directory: &Path, largest: u64) -> Result<Self, StoreFailure> {
        let files = directory.join("sha256");
        DirBuilder::new()
            .recursive(true)
            .mode(MODE)
            .create(&files)
            .map_err(|why| failed(&files, why))?;
        for made in [directory, files.as_path()] {
            let found = fs::metadata(made).map_err(|why| failed(made, why))?;
            // Made by somebody else with other rights; one that is another's fails here.
            if found.permissions().mode() & 0o777 != MODE {
                let mode = Permissions::from_mode(MODE);
                fs::set_permissions(made, mode).map_err(|why| failed(made, why))?;
            }
        }
        Ok(Self { files, largest })
    }

    /// The content with this digest, if it is here and right.
    ///
    /// # Errors
    /// If a file is there and cannot be read, or is damaged and cannot be removed.
    pub fn read(&self, digest: ContentDigest) -> Result<Option<Vec<u8>>, StoreFailure> {
        let path = self.path(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(failed(&path, why)),
        };
        let size = file.metadata().map_err(|why| failed(&path, why))?.len();
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        // No more than was there: somebody may be writing to it who should not.
        let read = (&mut file).take(size.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|why| failed(&path, why))?;
        if ContentDigest::of(&bytes) != digest {
            tracing::warn!(path = %path.display(), "a file of the store is damaged, and is removed");
            remove(&path)?;
            return Ok(None);
        }
        // The least recently used go first. On a disk that is only read nothing goes.
        if let Err(error) = file.set_modified(SystemTime::now()) {
            tracing::debug!(path = %path.display(), %error, "a use of a file of the store is not noted");
        }
        Ok(Some(bytes))
    }

    /// Puts content into the store, and then makes room: what is given as in use stays, and so does this.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(
        &self,
        bytes: &[u8],
        in_use: &BTreeSet<ContentDigest>,
    ) -> Result<ContentDigest, StoreFailure> {
        let digest = ContentDigest::of(bytes);
        let path = self.path(digest);
        let written = || -> io::Result<()> {
            let mut file = Builder::new().prefix(NEW).tempfile_in(&self.files)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            persist(file, &path)?;
            File::open(&self.files)?.sync_all()
        };
        written().map_err(|why| failed(&path, why))?;
        let mut kept = in_use.clone();
        kept.insert(digest);
        self.trim(&kept)?;
        Ok(digest)
    }

    /// Removes the least recently used until no more than the most is there, but never what is in use.
    ///
    /// # Errors
    /// If the directory cannot be read, or a file cannot be removed.
    pub fn trim(&self, in_use: &BTreeSet<ContentDigest>) -> Result<Trimmed, StoreFailure> {
        let mut all = self.all()?;
        all.sort_by_key(|kept| kept.used);
        let mut trimmed = Trimmed { removed: 0, bytes: all.iter().map(|kept| kept.size).sum() };
        for kept in all.iter().filter(|kept| !in_use.contains(&kept.digest)) {
            if trimmed.bytes <= self.largest {
                break;
            }
            remove(&kept.path)?;
            trimmed.removed += 1;
            trimmed.bytes = trimmed.bytes.saturating_sub(kept.size);
        }
        Ok(trimmed)
    }

    /// All files by digest. What a crash has left half written is removed.
    fn all(&self) -> Result<Vec<Kept>, StoreFailure> {
        let failed = |why| failed(&self.files, why);
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.files).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // Another process may have removed it meanwhile.
            let Ok(found) = entry.metadata() else { continue };
            let used = found.modified().map_err(failed)?;
            if name.starts_with(NEW) {
                if used.elapsed().is_ok_and(|age| age > LONGEST_WRITE) {
                    remove(&entry.path())?;
                }
            } else if let Ok(digest) = ContentDigest::from_hex(name) {
                all.push(Kept { path: entry.path(), digest, size: found.len(), used });
            }
        }
        Ok(all)
    }

    /// The file of the content with this digest, whether it is there or not.
    #[must_use]
    pub fn path(&self, digest: ContentDigest) -> PathBuf {
        self.files.join(digest.hex())
    }
}

fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Removes a file. One that is gone is removed.
fn remove(path: &Path) -> Result<(), StoreFailure> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(failed(path, why)),
        _ => Ok(()),
    }
}

fn failed(path: &Path, why: io::Error) -> StoreFailure {
    StoreFailure { path: path.to_owned(), why }
}
