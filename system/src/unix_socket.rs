//! Unix sockets with a path: taken over from the dead, never from the living, and removed only as
//! long as the path is ours.
//!
//! Whether somebody listens at a path, a connect tells; a socket that is bound and does not listen yet
//! looks dead. So whoever has bound `PATH` holds a lock on `PATH.lock` beside it, which the kernel
//! takes from a process that dies. The file goes with the path; one that a dead process left is used.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

/// Why a path cannot be bound.
#[derive(Debug, Error)]
pub enum PathError {
    /// Another process listens there, or is about to.
    #[error("another process is listening there, or has bound it and is about to")]
    Taken,
    /// There is a file that is not a socket.
    #[error("there is a file that is not a socket")]
    NotASocket,
    /// The kernel refuses.
    #[error(transparent)]
    Refused(#[from] io::Error),
}

/// The path of a Unix socket that we made, and which file that is: a successor may have put its
/// own there. Dropping it removes the path, if it is still ours.
#[derive(Debug)]
pub struct OwnedPath {
    path: PathBuf,
    file: FileId,
    lock: Option<Lock>,
    /// Neither path nor lock may be touched: another process has both.
    is_others: Arc<AtomicBool>,
}

/// Which file it is. The inode alone does not say: its number is used again at once.
#[derive(Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl FileId {
    fn read(path: &Path) -> io::Result<Self> {
        let meta = fs::symlink_metadata(path)?;
        Ok(Self { device: meta.dev(), inode: meta.ino(), born: meta.created().ok() })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.release();
    }
}

impl OwnedPath {
    /// The path of a socket that another process has bound, with the file of its lock, the very one that it holds. It is
    /// that process's until [`Self::own`] is called.
    ///
    /// # Errors
    /// When there is nothing at the path.
    pub fn inherit(path: &Path, lock: Option<OwnedFd>) -> io::Result<Self> {
        let file = FileId::read(path)?;
        let is_others = Arc::new(AtomicBool::new(true));
        let lock = lock.map(|file| Lock {
            path: Lock::path_of(path),
            file: file.into(),
            is_others: is_others.clone(),
        });
        Ok(Self { path: path.to_owned(), file, lock, is_others })
    }

    /// Another process has the path from now on: dropping this leaves it.
    pub fn disown(&self) {
        self.is_others.store(true, Ordering::Relaxed);
    }

    /// The path is ours from now on.
    pub fn own(&self) {
        self.is_others.store(false, Ordering::Relaxed);
    }

    /// Another handle of the file of the lock, for who is to have the path next.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn share_lock(&self) -> io::Result<Option<OwnedFd>> {
        self.lock.as_ref().map(|lock| Ok(lock.file.try_clone()?.into())).transpose()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the path, if it is still ours, and what kept others from it. Doing so twice is
    /// harmless.
    pub fn remove(&self) {
        if self.is_others.load(Ordering::Relaxed) {
            return;
        }
        let ours = FileId::read(&self.path).is_ok_and(|file| file == self.file);
        if ours {
            let gone_already = fs::remove_file(&self.path);
            drop(gone_already);
        }
        if let Some(lock) = &self.lock {
            lock.release();
        }
    }
}

/// The right to a path until it is released, or the last process that shares it has ended.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    file: File,
    is_others: Arc<AtomicBool>,
}

/// For its owner alone: whoever may open it may keep others from the path.
const LOCK_MODE: u32 = 0o600;

/// Whoever has the lock and no path is about to bind it, or has just removed it: within this time there
/// is a path, or no lock.
const LOST_PATH_LOOKS: usize = 20;
const LOST_PATH_PAUSE: Duration = Duration::from_millis(5);

/// Looks at a lock file that its owner removes at the same time; each is one owner more.
const LOCK_TRIES: usize = 100;

impl Lock {
    /// Takes the lock of the socket at `path`; none if another has it.
    fn take(socket: &Path) -> io::Result<Option<Self>> {
        let path = Self::path_of(socket);
        for _ in 0..LOCK_TRIES {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(LOCK_MODE)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(why) => return Err(why.into()),
            }
            let lock = Self { path: path.clone(), file, is_others: Arc::default() };
            // Its owner may have removed it after we had opened it.
            if lock.is_in_place() {
                return Ok(Some(lock));
            }
        }
        Ok(None)
    }

    fn path_of(socket: &Path) -> PathBuf {
        let mut path = OsString::from(socket);
        path.push(".lock");
        PathBuf::from(path)
    }

    fn is_in_place(&self) -> bool {
        let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
        let there = fs::symlink_metadata(&self.path).map(id);
        matches!((there, self.file.metadata().map(id)), (Ok(there), Ok(ours)) if there == ours)
    }

    /// Lets go of it. Its file is removed while it is still ours, so that nobody else's is; one with
    /// something in it was never ours.
    fn release(&self) {
        if self.is_others.load(Ordering::Relaxed) {
            return;
        }
        if self.file.metadata().is_ok_and(|meta| meta.len() == 0) && self.is_in_place() {
            let gone_already = fs::remove_file(&self.path);
            drop(gone_already);
        }
        flock(&self.file, FlockOperation::Unlock).ok();
    }
}

impl Drop for OwnedPath {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Binds `path` without listening there yet. The file of a process that has died is replaced. The
/// socket does not block.
///
/// `mode` is that of the file from its first moment on, so that nobody gets in while it is being
/// made; without one the process's umask decides.
pub fn bind(path: &Path, mode: Option<Mode>) -> Result<(Socket, OwnedPath), PathError> {
    let lock = claim(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if let Some(mode) = mode {
        // Linux makes the file with the mode of the socket (unix(7)).
        rustix::fs::fchmod(&socket, mode).map_err(io::Error::from)?;
    }
    match socket.bind(&SockAddr::unix(path)?) {
        Err(why) if why.kind() == io::ErrorKind::AddrInUse => return Err(PathError::Taken),
        bound => bound?,
    }
    let file = FileId::read(path)?;
    let is_others = lock.as_ref().map(|lock| lock.is_others.clone()).unwrap_or_default();
    Ok((socket, OwnedPath { path: path.to_owned(), file, lock, is_others }))
}

/// Makes `path` free to bind, and gives the lock on it. There is none where whoever has it has lost its
/// path, because somebody removed that: it cannot be reached any more.
fn claim(path: &Path) -> Result<Option<Lock>, PathError> {
    for _ in 0..LOST_PATH_LOOKS {
        if let Some(lock) = Lock::take(path).map_err(|why| at_lock(path, &why))? {
            clear_stale(path)?;
            return Ok(Some(lock));
        }
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.file_type().is_socket() => return Err(PathError::Taken),
            Ok(_) => return Err(PathError::NotASocket),
            Err(_) => thread::sleep(LOST_PATH_PAUSE),
        }
    }
    Ok(None)
}

/// The lock is ours to explain: nobody has asked for it.
fn at_lock(path: &Path, why: &io::Error) -> PathError {
    let text = format!("its lock {}.lock cannot be taken: {why}", path.display());
    PathError::Refused(io::Error::new(why.kind(), text))
}

/// Whether somebody listens at `path`. Does not wait for a process that is stopped or busy.
pub fn is_alive(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        // Its queue is full: it lives.
        Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(why) => Err(why),
    }
}

/// Removes a socket file that nobody listens on any more.
fn clear_stale(path: &Path) -> Result<(), PathError> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(PathError::NotASocket);
    }
    match is_alive(path) {
        Ok(false) => Ok(fs::remove_file(path)?),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(true) | Err(_) => Err(PathError::Taken),
    }
}

#[cfg(test)]
#[path = "unix_socket_tests.rs"]
mod tests;
