//! Unix sockets with a path: taken over from the dead, never from the living, and removed only as
//! long as the path is ours.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::Mode;
use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

/// Why a path cannot be bound.
#[derive(Debug, Error)]
pub(crate) enum PathError {
    /// Another process listens there.
    #[error("another process is listening there")]
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
pub(crate) struct OwnedPath {
    path: PathBuf,
    file: FileId,
}

/// Which file it is. The inode alone does not say: its number is used again at once.
#[derive(Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl FileId {
    fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::symlink_metadata(path)?;
        Ok(Self { device: meta.dev(), inode: meta.ino(), born: meta.created().ok() })
    }
}

impl OwnedPath {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the path, if it is still ours. Doing so twice is harmless.
    pub(crate) fn remove(&self) {
        let ours = FileId::of(&self.path).is_ok_and(|file| file == self.file);
        if ours {
            let gone_already = fs::remove_file(&self.path);
            drop(gone_already);
        }
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
pub(crate) fn bind(path: &Path, mode: Option<Mode>) -> Result<(Socket, OwnedPath), PathError> {
    clear_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if let Some(mode) = mode {
        // Linux makes the file with the mode of the socket (unix(7)).
        rustix::fs::fchmod(&socket, mode).map_err(io::Error::from)?;
    }
    socket.bind(&SockAddr::unix(path)?)?;
    let file = FileId::of(path)?;
    Ok((socket, OwnedPath { path: path.to_owned(), file }))
}

/// Whether somebody listens at `path`. Does not wait for a process that is stopped or busy.
pub(crate) fn is_alive(path: &Path) -> io::Result<bool> {
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
}
