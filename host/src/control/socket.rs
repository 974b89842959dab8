//! Where the control socket is, and which users may open it.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use host_lifecycle::{AcceptGate, ListenerGate};
use rustix::fs::Mode;
use socket2::Socket;
use thiserror::Error;
use tokio::net::UnixListener;
use tracing::{info, warn};

use host_system::unix_socket::{self, OwnedPath, PathError};

/// Operators that the kernel holds for us while as many as may be are served.
const BACKLOG: i32 = 128;

/// For its owner alone, and root.
const PRIVATE_SOCKET: Mode = Mode::RUSR.union(Mode::WUSR);
const PRIVATE_DIRECTORY: u32 = 0o700;

/// Which control socket is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketChoice {
    /// None.
    Off,
    /// In the default directory, where `host ctl` finds it. One that cannot be had is no reason not
    /// to serve.
    Default,
    /// At this path and no other.
    Path(PathBuf),
}

/// Why there is no control socket at the path that was asked for.
#[derive(Debug, Error)]
#[error("cannot open the control socket {}", .path.display())]
pub struct SocketError {
    path: PathBuf,
    #[source]
    why: io::Error,
}

/// A control socket. It does not block. Dropping it closes it and removes its path, if it is still ours.
#[derive(Debug)]
pub struct ControlSocket {
    pub(super) socket: Arc<Socket>,
    pub(super) path: Arc<OwnedPath>,
    pub(super) gate: ListenerGate,
    /// It was given, and listens already.
    listens: bool,
}

impl ControlSocket {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.path.path()
    }

    /// Begins to listen, at once where nobody else accepts; else when this process does: who looks for hosts that are
    /// running finds one of two. The listener that this gives is one of the runtime in which it is waited for, and is made
    /// last: a Unix socket that does not listen looks closed to a reactor, for ever.
    ///
    /// # Errors
    /// When the kernel refuses to listen.
    pub(super) fn begins(
        &self,
    ) -> io::Result<impl Future<Output = io::Result<UnixListener>> + Send + 'static> {
        let (socket, path) = (self.socket.try_clone()?, self.path.clone());
        let mut gate = self.gate.watch();
        let mut waits = !self.listens;
        if waits && self.gate.is_open() {
            socket.listen(BACKLOG)?;
            waits = false;
        }
        Ok(async move {
            gate.until(true).await;
            path.own();
            if waits {
                socket.listen(BACKLOG)?;
            }
            UnixListener::from_std(socket.into())
        })
    }
}

/// The control socket that is wanted, and what is there of it already.
#[derive(Debug)]
pub struct ControlOpening {
    choice: SocketChoice,
    given: Option<(OwnedFd, Option<OwnedFd>)>,
    gate: ListenerGate,
}

impl From<SocketChoice> for ControlOpening {
    /// One that is to be bound, and that nobody else has.
    fn from(choice: SocketChoice) -> Self {
        let gate = AcceptGate::new(true).of_listener(false);
        Self { choice, given: None, gate }
    }
}

impl ControlOpening {
    /// The socket that is `given`, with the lock on its path, is used, or else one is bound. Behind `gate` another host
    /// may accept.
    #[must_use]
    pub fn new(
        choice: SocketChoice,
        given: Option<(OwnedFd, Option<OwnedFd>)>,
        gate: ListenerGate,
    ) -> Self {
        Self { choice, given, gate }
    }
}

/// Opens the socket that is wanted, if one can be had.
///
/// # Errors
/// When one was asked for by its path and cannot be had.
pub fn open(opening: impl Into<ControlOpening>) -> Result<Option<ControlSocket>, SocketError> {
    let ControlOpening { choice, given, gate } = opening.into();
    let opened = match choice {
        SocketChoice::Off => None,
        SocketChoice::Path(path) => {
            let opened = match given {
                Some((socket, lock)) => take_over(&path, socket, lock),
                None => bind(&path),
            };
            Some(opened.map_err(|why| SocketError { path, why })?)
        }
        SocketChoice::Default => open_default(),
    };
    Ok(opened.map(|OpenedSocket { socket, path, listens }| ControlSocket {
        socket: Arc::new(socket),
        path: Arc::new(path),
        gate,
        listens,
    }))
}

/// A socket at a path.
struct OpenedSocket {
    socket: Socket,
    path: OwnedPath,
    listens: bool,
}

fn take_over(path: &Path, socket: OwnedFd, lock: Option<OwnedFd>) -> io::Result<OpenedSocket> {
    let socket = Socket::from(socket);
    socket.set_nonblocking(true)?;
    Ok(OpenedSocket { socket, path: OwnedPath::inherit(path, lock)?, listens: true })
}

fn open_default() -> Option<OpenedSocket> {
    let Some(directory) = default_directory() else {
        info!("no control socket: XDG_RUNTIME_DIR is not set; --control PATH gives one");
        return None;
    };
    let path = path_of(&directory, process::id());
    match make_private(&directory).and_then(|()| bind(&path)) {
        Ok(socket) => Some(socket),
        Err(why) => {
            let path = path.display();
            warn!(%why, "no control socket at {path}; --control PATH puts it elsewhere");
            None
        }
    }
}

/// The directory of this user's control sockets, one per host: `$XDG_RUNTIME_DIR/host`, and for root
/// without it `/run/host`.
#[must_use]
pub fn default_directory() -> Option<PathBuf> {
    directory(env::var_os("XDG_RUNTIME_DIR"), rustix::process::geteuid().is_root())
}

fn directory(runtime: Option<OsString>, root: bool) -> Option<PathBuf> {
    // The specification of base directories says to ignore relative ones.
    let runtime = runtime.map(PathBuf::from).filter(|path| path.is_absolute());
    runtime.or_else(|| root.then(|| "/run".into())).map(|base| base.join("host"))
}

/// The socket of the host with this process number.
#[must_use]
pub fn path_of(directory: &Path, pid: u32) -> PathBuf {
    directory.join(format!("{pid}.sock"))
}

/// Makes the directory, and refuses one in which others could put a socket of theirs.
fn make_private(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(PRIVATE_DIRECTORY).create(directory) {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => return Err(why),
        Ok(()) | Err(_) => {}
    }
    let meta = fs::symlink_metadata(directory)?;
    if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() {
        let why = format!("{} is no directory of this user's", directory.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    if meta.mode() & 0o777 != PRIVATE_DIRECTORY {
        fs::set_permissions(directory, Permissions::from_mode(PRIVATE_DIRECTORY))?;
    }
    Ok(())
}

fn bind(path: &Path) -> io::Result<OpenedSocket> {
    let (socket, path) =
        unix_socket::bind(path, Some(PRIVATE_SOCKET)).map_err(|why| match why {
            PathError::Refused(why) => why,
            PathError::Taken | PathError::NotASocket => io::Error::other(why.to_string()),
        })?;
    Ok(OpenedSocket { socket, path, listens: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of one test's own, removed with what is in it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = env::temp_dir().join(format!("host-control-{name}-{}", process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn the_default_directory_is_the_users_and_for_root_that_of_the_system() {
        let given = |text: &str| Some(OsString::from(text));
        assert_eq!(directory(given("/run/user/7"), false), Some("/run/user/7/host".into()));
        assert_eq!(directory(given("/run/user/0"), true), Some("/run/user/0/host".into()));
        assert_eq!(directory(None, true), Some("/run/host".into()));
        assert_eq!(directory(None, false), None);
        assert_eq!(directory(given("relative"), false), None);
        assert_eq!(directory(given(""), false), None);
    }

    #[test]
    fn socket_and_directory_are_for_their_owner_alone() {
        let folder = Folder::new("private");
        let directory = folder.0.join("host");
        make_private(&directory).unwrap();
        assert_eq!(mode(&directory), 0o700);
        let socket = bind(&path_of(&directory, 7)).unwrap();
        assert_eq!(mode(socket.path.path()), 0o600);
    }

    #[test]
    fn a_directory_that_others_could_use_is_closed_to_them() {
        let folder = Folder::new("open");
        fs::set_permissions(&folder.0, Permissions::from_mode(0o777)).unwrap();
        make_private(&folder.0).unwrap();
        assert_eq!(mode(&folder.0), 0o700);
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_refused() {
        let folder = Folder::new("link");
        let link = folder.0.join("host");
        std::os::unix::fs::symlink(&folder.0, &link).unwrap();
        let why = make_private(&link).unwrap_err();
        assert_eq!(why.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_path_of_a_dead_host_is_taken_over_and_others_are_not() {
        let folder = Folder::new("path");
        let path = folder.0.join("a.sock");
        let choice = SocketChoice::Path(path.clone());
        let first = open(choice.clone()).unwrap().unwrap();
        let taken = open(choice.clone()).unwrap_err();
        assert!(std::error::Error::source(&taken).unwrap().to_string().contains("another process"));
        drop(first);
        // As after a kill -9: the socket is closed, its path stays.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let second = open(choice.clone()).unwrap().unwrap();
        drop(second);
        assert!(!path.exists());
        fs::write(&path, "mine").unwrap();
        assert!(open(choice).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }
}
