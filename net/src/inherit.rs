//! Listening sockets that were handed in.

use std::io;
use std::os::fd::OwnedFd;

use host_system::unix_socket::OwnedPath;
use socket2::{Domain, Socket, Type};
use thiserror::Error;

use super::listener::{ListenAddress, Listener};
use super::origin::SocketOrigin;

/// From whom a listening socket is handed in.
#[derive(Debug)]
pub enum Giver {
    /// systemd, or whoever speaks its protocol (sd_listen_fds(3)).
    ServiceManager,
    /// A host that this one is to take over from, and that holds the socket until then.
    Predecessor {
        /// Who has made it.
        origin: SocketOrigin,
        /// The file of the lock on the path of a Unix socket that the predecessor has bound.
        lock: Option<OwnedFd>,
    },
}

/// Why a socket that was handed in cannot be listened on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InheritError {
    /// It is of another kind.
    #[error("the socket that was handed in for {address} is not {expected}")]
    WrongKind {
        /// The address that it was handed in for.
        address: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The kernel refuses something.
    #[error("the socket that was handed in for {address} cannot be used")]
    Refused {
        /// The address that it was handed in for.
        address: String,
        /// What the kernel says.
        #[source]
        why: io::Error,
    },
}

/// Listens on a socket that somebody else has bound and listens on already, in place of `address`. Where it really is
/// the socket itself knows.
///
/// # Errors
/// When it is no listening stream socket of the address's family, or there is nothing at the path that it is handed on
/// with.
pub fn inherit(
    socket: OwnedFd,
    address: &ListenAddress<'_>,
    giver: Giver,
) -> Result<Listener, InheritError> {
    let refused = |why| InheritError::Refused { address: address.to_string(), why };
    let wrong = |expected| InheritError::WrongKind { address: address.to_string(), expected };
    let socket = Socket::from(socket);
    if socket.r#type().ok() != Some(Type::STREAM) || !socket.is_listener().map_err(refused)? {
        return Err(wrong("a stream socket that listens"));
    }
    let is_unix = socket.domain().map_err(refused)? == Domain::UNIX;
    match (address, is_unix) {
        (ListenAddress::Tcp(_), true) => return Err(wrong("a TCP socket")),
        (ListenAddress::Unix(_), false) => return Err(wrong("a Unix socket")),
        _ => {}
    }
    socket.set_nonblocking(true).map_err(refused)?;
    let (origin, lock, is_shared) = match giver {
        Giver::ServiceManager => (SocketOrigin::Inherited, None, false),
        Giver::Predecessor { origin, lock } => (origin, lock, true),
    };
    let path = match address {
        ListenAddress::Unix(path) if origin == SocketOrigin::Bound => {
            Some(OwnedPath::inherit(path, lock).map_err(refused)?)
        }
        _ => None,
    };
    Ok(Listener::inherited(socket, path, (origin, is_shared)))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::path::Path;

    use super::*;

    const HERE: &str = "127.0.0.1:0";

    fn tcp() -> ListenAddress<'static> {
        ListenAddress::Tcp(HERE.parse().unwrap())
    }

    #[test]
    fn what_is_no_such_listener_is_refused() {
        let unbound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        for (socket, address, expected) in [
            (UdpSocket::bind(HERE).unwrap().into(), tcp(), "a stream socket that listens"),
            (unbound.into(), tcp(), "a stream socket that listens"),
            (
                OwnedFd::from(TcpListener::bind(HERE).unwrap()),
                ListenAddress::Unix(Path::new("/tmp/a.sock")),
                "a Unix socket",
            ),
        ] {
            let why = inherit(socket, &address, Giver::ServiceManager).unwrap_err().to_string();
            assert!(why.ends_with(&format!("is not {expected}")), "{why}");
            assert!(why.contains(&address.to_string()), "{why}");
        }
    }

    #[test]
    fn a_socket_that_was_handed_in_says_itself_where_it_is() {
        let socket = TcpListener::bind(HERE).unwrap();
        let really = socket.local_addr().unwrap().to_string();
        let listener = inherit(socket.into(), &tcp(), Giver::ServiceManager).unwrap();
        assert_eq!(listener.address(), really);
    }
}
