//! Listening sockets: bound early so that a taken port is found before anything is compiled,
//! listening late so that nobody waits for a process that may not come up.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host_forwarded::TrustedProxies;
use host_system::unix_socket::{self, OwnedPath, PathError};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tracing::{debug, warn};

use super::handshakes;
use super::listener_drain::{self, Bolt, HANDSHAKES_AT_MOST};
use super::origin::SocketOrigin;
use super::proxy_protocol::ExpectedHeader;
use super::tls::TlsConfigs;

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
    /// Of a Unix socket whose path is ours.
    pub(super) path: Option<OwnedPath>,
    pub(super) origin: SocketOrigin,
    /// Whether another host may hold it too: the one to take over from.
    pub(super) is_shared: bool,
    /// Of one that has no path.
    claim: Option<Claim>,
    /// None where peers speak in plain text.
    pub(super) tls: Option<TlsConfigs>,
    /// None where connections begin without a header of the PROXY protocol.
    pub(super) header: Option<Arc<ExpectedHeader>>,
}

/// The address of a socket that does not listen yet, held against others by a second one that does,
/// through a door that is shut: to peers the address looks closed, and who binds it finds it taken.
#[derive(Debug)]
struct Claim {
    /// None where the door cannot be shut in such a way.
    held: Option<Socket>,
    /// How it can be shut, as the stop will find it.
    bolt: Bolt,
    /// Whether the kernel tells of handshakes.
    handshakes: bool,
}

/// Binds an address without listening on it yet.
///
/// # Errors
/// When the address is taken or the kernel refuses it.
pub fn bind(address: &ListenAddress<'_>) -> Result<Listener, BindError> {
    match *address {
        ListenAddress::Tcp(tcp) => {
            bind_tcp(tcp).map_err(|why| BindError::Refused { address: address.to_string(), why })
        }
        ListenAddress::Unix(path) => bind_unix(path),
    }
}

/// Where to listen.
#[derive(Clone, Copy, Debug)]
pub enum ListenAddress<'a> {
    /// A TCP address; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(&'a Path),
}

impl fmt::Display for ListenAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listener {
    fn new(socket: Socket, path: Option<OwnedPath>, claim: Option<Claim>) -> Self {
        let (origin, is_shared) = (SocketOrigin::Bound, false);
        Self { socket, path, origin, is_shared, claim, tls: None, header: None }
    }

    /// One that listens already, made by somebody else.
    pub(super) fn inherited(
        socket: Socket,
        path: Option<OwnedPath>,
        (origin, is_shared): (SocketOrigin, bool),
    ) -> Self {
        Self { origin, is_shared, ..Self::new(socket, path, None) }
    }

    /// Has peers speak TLS. Each handshake takes what `configs` holds when it begins; a change touches no connection
    /// that there is.
    #[must_use]
    pub fn with_tls(mut self, configs: TlsConfigs) -> Self {
        self.tls = Some(configs);
        self
    }

    /// Has each connection begin with a header of the PROXY protocol, from one of these proxies.
    #[must_use]
    pub fn with_proxy_protocol(mut self, trusted: Arc<TrustedProxies>) -> Self {
        self.header = Some(Arc::new(ExpectedHeader::from(trusted)));
        self
    }

    /// Begins to listen: from now on the kernel completes handshakes for us.
    ///
    /// # Errors
    /// When somebody else has begun to listen on the address since it was bound.
    pub fn listen(&mut self) -> Result<(), BindError> {
        if self.is_shared || self.origin == SocketOrigin::Inherited {
            // Somebody does already, and has chosen how many may wait.
            return Ok(());
        }
        if let Some(claim) = &mut self.claim {
            claim.held = None;
        }
        self.socket
            .listen(BACKLOG)
            .map_err(|why| BindError::Refused { address: self.address(), why })
    }

    /// The address as the ready line prints it.
    #[must_use]
    pub fn address(&self) -> String {
        let Ok(address) = self.socket.local_addr() else { return "?".into() };
        let path = self.path.as_ref().map(OwnedPath::path).or_else(|| address.as_pathname());
        match (path, address.as_socket()) {
            (Some(path), _) => ListenAddress::Unix(path).to_string(),
            (None, Some(address)) => address.to_string(),
            (None, None) => "?".into(),
        }
    }
}

/// Says what the kernel refuses of that by which a stop loses nobody, and what follows from it: at the
/// start, where something can be done about it.
pub fn warn_of_refusals(listeners: &[Listener]) {
    let claims =
        || listeners.iter().filter_map(|listener| Some((listener, listener.claim.as_ref()?)));
    let open: Vec<_> = claims().filter(|(_, claim)| claim.bolt == Bolt::Nothing).collect();
    if !open.is_empty() {
        let addr =
            open.iter().map(|(listener, _)| listener.address()).collect::<Vec<_>>().join(" ");
        warn!(
            addr,
            "a stop cannot keep newcomers out of this address while it empties its queue: who \
             connects in the instant of the close may be reset, and the last line counts that as \
             dropped; give the host CAP_NET_RAW or CAP_NET_ADMIN, or Linux 5.7 and an address without \
             a device in it"
        );
    }
    if claims().any(|(_, claim)| !claim.handshakes) {
        warn!(
            "the kernel does not tell of handshakes under way: a stop waits {HANDSHAKES_AT_MOST:?} for \
             those that there may be; allow AF_NETLINK (systemd: RestrictAddressFamilies=) or \
             /proc/self/net"
        );
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<Listener> {
    let socket = bound(address)?;
    let address = socket.local_addr()?.as_socket().unwrap_or(address);
    let claim = claim(address)?;
    Ok(Listener::new(socket, None, Some(claim)))
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` is every address, also where net.ipv6.bindv6only says otherwise.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Two sockets that do not listen may share an address; the second to listen would fail, after all has
/// been compiled. So whoever has bound an address claims it by listening on another socket; and that
/// one finds out what the stop will be allowed.
///
/// # Errors
/// When somebody else has claimed the address, or one that it is part of.
fn claim(address: SocketAddr) -> io::Result<Claim> {
    let socket = bound(address)?;
    let bolt = listener_drain::shut(&socket);
    let held = if bolt == Bolt::Device {
        socket.listen(1)?;
        Some(socket)
    } else {
        None
    };
    let handshakes = handshakes::can_look(address);
    debug!(%address, bolt = bolt.name(), handshakes, "what a stop will be allowed");
    Ok(Claim { held, bolt, handshakes })
}

fn bind_unix(path: &Path) -> Result<Listener, BindError> {
    let (socket, owned) = unix_socket::bind(path, None).map_err(|why| match why {
        PathError::Taken => BindError::UnixTaken(path.to_owned()),
        PathError::NotASocket => BindError::NotASocket(path.to_owned()),
        PathError::Refused(why) => {
            BindError::Refused { address: ListenAddress::Unix(path).to_string(), why }
        }
    })?;
    Ok(Listener::new(socket, Some(owned), None))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    /// A folder of this test's own.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("host-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_unix_socket_of_a_dead_process_is_taken_over_and_reached() {
        let folder = folder("stale");
        let path = folder.join("a.sock");
        // As after a kill -9: the socket is closed, its path stays.
        drop(UnixListener::bind(&path).unwrap());
        UnixStream::connect(&path).unwrap_err();
        let mut ours = bind(&ListenAddress::Unix(&path)).unwrap();
        ours.listen().unwrap();
        let mut peer = UnixStream::connect(&path).unwrap();
        let (mut accepted, _) = ours.socket.accept().unwrap();
        accepted.write_all(b"us").unwrap();
        let mut said = [0; 2];
        peer.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"us");
        drop(ours);
        assert!(!path.exists());
        fs::remove_dir_all(&folder).unwrap();
    }

    /// Neither one of ours, which holds the lock, nor one of another program, which knows of no lock.
    #[test]
    fn a_unix_socket_of_a_living_process_is_left_to_it() {
        let folder = folder("live");
        let path = folder.join("a.sock");
        let refused = || {
            let bound = bind(&ListenAddress::Unix(&path));
            assert!(matches!(bound, Err(BindError::UnixTaken(_))), "{bound:?}");
        };
        let mut ours = bind(&ListenAddress::Unix(&path)).unwrap();
        refused();
        ours.listen().unwrap();
        refused();
        UnixStream::connect(&path).unwrap();
        drop(ours);
        let foreign = UnixListener::bind(&path).unwrap();
        refused();
        UnixStream::connect(&path).unwrap();
        foreign.accept().unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_not_taken_for_one() {
        let folder = folder("file");
        let path = folder.join("a.sock");
        fs::write(&path, "not a socket").unwrap();
        let bound = bind(&ListenAddress::Unix(&path));
        assert!(matches!(bound, Err(BindError::NotASocket(_))), "{bound:?}");
        assert_eq!(fs::read(&path).unwrap(), b"not a socket");
        fs::remove_dir_all(&folder).unwrap();
    }

    /// Two hosts start at the same time on one address, or one is given an address twice: the second was
    /// refused only when it began to listen, after it had compiled for seconds.
    #[test]
    fn an_address_is_taken_from_the_moment_it_is_bound() {
        for (first, second) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "0.0.0.0"),
            ("0.0.0.0", "127.0.0.1"),
            ("0.0.0.0", "[::]"),
            ("[::]", "127.0.0.1"),
            ("[::]", "[::1]"),
            ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ] {
            let at =
                |ip: &str, port: u16| ListenAddress::Tcp(format!("{ip}:{port}").parse().unwrap());
            let mut listener = bind(&at(first, 0)).unwrap();
            let address = listener.socket.local_addr().unwrap().as_socket().unwrap();
            let refused = |what: &str| {
                let Err(BindError::Refused { why, .. }) = bind(&at(second, address.port())) else {
                    panic!("{second} is bound beside {first}, {what}")
                };
                assert_eq!(why.kind(), io::ErrorKind::AddrInUse, "{second} beside {first}");
            };
            refused("bound");
            // Nobody is kept waiting for a process that may not come up.
            let why = TcpStream::connect(address).unwrap_err();
            assert_eq!(why.kind(), io::ErrorKind::ConnectionRefused);
            listener.listen().unwrap();
            TcpStream::connect(address).unwrap();
            refused("listening");
        }
    }

    #[test]
    fn addresses_that_do_not_overlap_are_bound_side_by_side() {
        let first = bind(&ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        let port = first.socket.local_addr().unwrap().as_socket().unwrap().port();
        // Somebody else may have one of these; both at once would be a miracle.
        let beside = ["127.0.0.2", "[::1]"].map(|ip| format!("{ip}:{port}").parse().unwrap());
        assert!(beside.iter().any(|address| bind(&ListenAddress::Tcp(*address)).is_ok()));
    }
}
