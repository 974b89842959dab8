//! Unix sockets with a path: taken over from the dead, never from the living, and removed only as
//! long as the path is ours.
//!
//! Whether somebody listens at a path, a connect tells; a socket that is bound and does not listen yet
//! looks dead. So whoever has bound `PATH` holds a lock on `PATH.lock` beside it, which the kernel
//! takes from a process that dies. The file goes with the path; one that a dead process left is used.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
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
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the path, if it is still ours, and what kept others from it. Doing so twice is
    /// harmless.
    pub fn remove(&self) {
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

/// The right to a path for as long as this lives.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    file: File,
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
        let mut path = OsString::from(socket);
        path.push(".lock");
        let path = PathBuf::from(path);
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
            let lock = Self { path: path.clone(), file };
            // Its owner may have removed it after we had opened it.
            if lock.is_in_place() {
                return Ok(Some(lock));
            }
        }
        Ok(None)
    }

    fn is_in_place(&self) -> bool {
        let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
        let there = fs::symlink_metadata(&self.path).map(id);
        matches!((there, self.file.metadata().map(id)), (Ok(there), Ok(ours)) if there == ours)
    }

    /// Lets go of it. Its file is removed while it is still ours, so that nobody else's is; one with
    /// something in it was never ours.
    fn release(&self) {
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
    Ok((socket, OwnedPath { path: path.to_owned(), file, lock }))
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
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_socket_has_its_mode_from_the_first_moment() {
        let path = std::env::temp_dir().join(format!("host-mode-{}.sock", std::process::id()));
        let (_socket, owned) = bind(&path, Some(Mode::RUSR | Mode::WUSR)).unwrap();
        let mode = fs::metadata(owned.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    /// A folder of one test's own, removed with what is in it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("host-unix-{name}-{}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn names(&self) -> Vec<String> {
            let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
            let names =
                fs::read_dir(&self.0).unwrap().map(|entry| name(entry).into_string().unwrap());
            names.collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    /// The first host had bound its path and still compiled; the second took it for dead, removed it,
    /// and both said that they were ready.
    #[test]
    fn a_path_that_is_bound_and_does_not_listen_yet_is_taken() {
        let folder = Folder::new("bound");
        let path = folder.0.join("a.sock");
        let (socket, owned) = bind(&path, None).unwrap();
        assert!(matches!(bind(&path, None), Err(PathError::Taken)));
        socket.listen(1).unwrap();
        assert!(matches!(bind(&path, None), Err(PathError::Taken)));
        drop((socket, owned));
        assert!(folder.names().is_empty(), "{:?}", folder.names());
        bind(&path, None).unwrap();
    }

    /// As after a kill -9: the kernel has closed the socket and let go of the lock.
    #[test]
    fn what_a_dead_process_left_is_taken_over() {
        let folder = Folder::new("dead");
        let path = folder.0.join("a.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        fs::write(folder.0.join("a.sock.lock"), "").unwrap();
        let (_socket, successor) = bind(&path, None).unwrap();
        assert!(matches!(bind(&path, None), Err(PathError::Taken)));
        drop(successor);
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }

    /// Somebody has removed the path of a process that lives: it cannot be reached any more, and who
    /// comes next may have the path.
    #[test]
    fn a_path_that_was_removed_is_free_and_stays_its_successors() {
        let folder = Folder::new("removed");
        let path = folder.0.join("a.sock");
        let (_old, owned) = bind(&path, None).unwrap();
        fs::remove_file(&path).unwrap();
        let (_new, successor) = bind(&path, None).unwrap();
        assert!(matches!(bind(&path, None), Err(PathError::Taken)));
        drop(owned);
        assert_eq!(folder.names(), ["a.sock"]);
        drop(successor);
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }

    #[test]
    fn what_is_no_lock_of_ours_is_left_alone() {
        let folder = Folder::new("foreign");
        let path = folder.0.join("a.sock");
        let lock = folder.0.join("a.sock.lock");
        fs::write(&lock, "mine").unwrap();
        drop(bind(&path, None).unwrap());
        assert_eq!(fs::read(&lock).unwrap(), b"mine");
        fs::remove_file(&lock).unwrap();
        std::os::unix::fs::symlink("/dev/null", &lock).unwrap();
        assert!(matches!(bind(&path, None), Err(PathError::Refused(_))));
        assert_eq!(folder.names(), ["a.sock.lock"]);
    }

    #[test]
    fn a_path_with_something_else_at_it_is_refused_and_left() {
        let folder = Folder::new("file");
        let path = folder.0.join("a.sock");
        fs::write(&path, "mine").unwrap();
        assert!(matches!(bind(&path, None), Err(PathError::NotASocket)));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(folder.names(), ["a.sock"], "no lock is left of an attempt");
    }

    /// Many start at once over the socket of a dead process: one gets it.
    #[test]
    fn of_many_who_take_over_a_dead_path_one_has_it() {
        let folder = Folder::new("race");
        let path = folder.0.join("a.sock");
        for _ in 0..20 {
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            let start = std::sync::Barrier::new(4);
            let bound: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            bind(&path, None).ok()
                        })
                    })
                    .collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(bound.len(), 1);
            drop(bound);
            assert!(folder.names().is_empty(), "{:?}", folder.names());
        }
    }
}
