//! Listening sockets: bound early so that a taken port is found before anything is compiled,
//! listening late so that nobody waits for a process that may not come up.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use thiserror::Error;

/// Connections that the kernel holds for us; capped by net.core.somaxconn (4096 by default).
const BACKLOG: i32 = 4096;

/// Why an address cannot be listened on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The kernel refuses the address.
    #[error("cannot listen on {address}")]
    Refused {
        /// The address as it was asked for.
        address: String,
        /// What the kernel says.
        #[source]
        why: io::Error,
    },
    /// Another process listens on the Unix socket.
    #[error("cannot listen on unix:{}: another process is listening there", .0.display())]
    UnixTaken(PathBuf),
    /// There is a file at the Unix socket's path that is not a socket.
    #[error("cannot listen on unix:{}: there is a file that is not a socket", .0.display())]
    NotASocket(PathBuf),
}

/// A bound socket. Dropping it closes it, and removes the path of a Unix socket.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: Socket,
    pub(super) path: Option<OwnedPath>,
}

/// The path of a Unix socket that we made, and which file that is: a successor may have put its
/// own there.
#[derive(Debug)]
pub(super) struct OwnedPath {
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

/// Binds an address without listening on it yet.
///
/// # Errors
/// When the address is taken or the kernel refuses it.
pub fn bind(address: &Address<'_>) -> Result<Listener, BindError> {
    match *address {
        Address::Tcp(address) => bind_tcp(address)
            .map_err(|why| BindError::Refused { address: address.to_string(), why }),
        Address::Unix(path) => bind_unix(path),
    }
}

/// Where to listen.
#[derive(Clone, Copy, Debug)]
pub enum Address<'a> {
    /// A TCP address; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(&'a Path),
}

impl Listener {
    /// Begins to listen: from now on the kernel completes handshakes for us.
    ///
    /// # Errors
    /// When somebody else has begun to listen on the address since it was bound.
    pub fn listen(&self) -> Result<(), BindError> {
        self.socket
            .listen(BACKLOG)
            .map_err(|why| BindError::Refused { address: self.address(), why })
    }

    /// The address as the ready line prints it.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.path {
            Some(owned) => format!("unix:{}", owned.path.display()),
            None => self
                .socket
                .local_addr()
                .ok()
                .and_then(|address| address.as_socket())
                .map_or_else(|| "?".into(), |address| address.to_string()),
        }
    }
}

impl Drop for OwnedPath {
    fn drop(&mut self) {
        self.remove();
    }
}

impl OwnedPath {
    /// Removes the path, if it is still ours. Doing so twice is harmless.
    pub(super) fn remove(&self) {
        let ours = FileId::of(&self.path).is_ok_and(|file| file == self.file);
        if ours {
            let gone_already = fs::remove_file(&self.path);
            drop(gone_already);
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(Listener { socket, path: None })
}

fn bind_unix(path: &Path) -> Result<Listener, BindError> {
    let refused = |why| BindError::Refused { address: format!("unix:{}", path.display()), why };
    clear_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(refused)?;
    socket.set_nonblocking(true).map_err(refused)?;
    socket.bind(&SockAddr::unix(path).map_err(refused)?).map_err(refused)?;
    let file = FileId::of(path).map_err(refused)?;
    let owned = OwnedPath { path: path.to_owned(), file };
    Ok(Listener { socket, path: Some(owned) })
}

/// Removes a socket file that nobody listens on any more.
fn clear_stale(path: &Path) -> Result<(), BindError> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match StdUnixStream::connect(path) {
        Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|why| BindError::Refused { address: format!("unix:{}", path.display()), why }),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) | Err(_) => Err(BindError::UnixTaken(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_unix_socket_is_taken_over_and_a_live_one_is_not() {
        let directory = std::env::temp_dir().join(format!("host-listen-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("a.sock");
        let first = bind(&Address::Unix(&path)).unwrap();
        first.listen().unwrap();
        assert!(matches!(bind(&Address::Unix(&path)), Err(BindError::UnixTaken(_))));
        // As after a kill -9: the socket is closed, its path stays.
        let Listener { socket, path: first_path } = first;
        drop(socket);
        let second = bind(&Address::Unix(&path)).unwrap();
        drop(first_path);
        assert!(path.exists(), "a predecessor may not remove its successor's path");
        drop(second);
        assert!(!path.exists());
        fs::write(&path, "not a socket").unwrap();
        assert!(matches!(bind(&Address::Unix(&path)), Err(BindError::NotASocket(_))));
        fs::remove_dir_all(&directory).unwrap();
    }
}
