//! Listening sockets: bound early so that a taken port is found before anything is compiled,
//! listening late so that nobody waits for a process that may not come up.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use crate::unix_socket::{self, OwnedPath, PathError};

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
            Some(owned) => format!("unix:{}", owned.path().display()),
            None => self
                .socket
                .local_addr()
                .ok()
                .and_then(|address| address.as_socket())
                .map_or_else(|| "?".into(), |address| address.to_string()),
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
    let (socket, owned) = unix_socket::bind(path, None).map_err(|why| match why {
        PathError::Taken => BindError::UnixTaken(path.to_owned()),
        PathError::NotASocket => BindError::NotASocket(path.to_owned()),
        PathError::Refused(why) => {
            BindError::Refused { address: format!("unix:{}", path.display()), why }
        }
    })?;
    Ok(Listener { socket, path: Some(owned) })
}

#[cfg(test)]
mod tests {
    use std::fs;

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
