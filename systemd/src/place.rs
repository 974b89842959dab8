//! Where a listening socket is.

use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use socket2::{SockAddr, Socket};

/// Where a listening socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketPlace {
    /// At a TCP address.
    Tcp(SocketAddr),
    /// At a path.
    Unix(PathBuf),
    /// Elsewhere: an abstract name, for example.
    Other(String),
}

impl SocketPlace {
    /// The place of this socket.
    pub(super) fn of(socket: &Socket) -> Self {
        let Ok(address) = socket.local_addr() else { return Self::Other("?".to_owned()) };
        if let Some(address) = address.as_socket() {
            return Self::Tcp(address);
        }
        match address.as_pathname() {
            Some(path) => Self::Unix(path.to_owned()),
            None => Self::Other(abstract_name(&address)),
        }
    }

    /// Whether a socket that is here is what a listener at `wanted` means. All of IPv4 is all of IPv6, port 0 is any
    /// port, and all addresses at port 0 are any address at all.
    #[must_use]
    pub fn is_meant_by(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Tcp(here), Self::Tcp(wanted)) => {
                let ip = is_meant(here.ip(), wanted.ip());
                match wanted.port() {
                    0 => ip || is_any(wanted.ip()),
                    port => ip && port == here.port(),
                }
            }
            (Self::Unix(here), Self::Unix(wanted)) => is_same_path(here, wanted),
            _ => false,
        }
    }

    /// Whether nothing else can be meant by it.
    pub(super) fn is_exact(&self) -> bool {
        !matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

impl fmt::Display for SocketPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Other(name) => f.write_str(name),
        }
    }
}

fn abstract_name(address: &SockAddr) -> String {
    match address.as_abstract_namespace() {
        Some(name) => format!("unix:@{}", String::from_utf8_lossy(name)),
        None => "?".to_owned(),
    }
}

fn is_any(ip: IpAddr) -> bool {
    ip.to_canonical().is_unspecified()
}

fn is_meant(here: IpAddr, wanted: IpAddr) -> bool {
    here.to_canonical() == wanted.to_canonical() || (is_any(here) && is_any(wanted))
}

/// `/var/run` is `/run`.
fn is_same_path(here: &Path, wanted: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    here == wanted || real(here).is_some_and(|here| real(wanted) == Some(here))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_by_an_address() {
        let tcp = |text: &str| SocketPlace::Tcp(text.parse().unwrap());
        for (here, wanted, is_meant) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.1:0", true),
            // ListenStream=80 is [::]:80.
            ("[::]:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "[::]:80", true),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            // One who reads 127.0.0.1 in the manifest would not think that the world may connect.
            ("[::]:80", "127.0.0.1:80", false),
            ("[::]:80", "127.0.0.1:0", false),
            ("127.0.0.1:80", "0.0.0.0:80", false),
            ("127.0.0.1:80", "0.0.0.0:0", true),
        ] {
            assert_eq!(tcp(here).is_meant_by(&tcp(wanted)), is_meant, "{here} for {wanted}");
        }
        let unix = SocketPlace::Unix("/run/a.sock".into());
        assert!(unix.is_meant_by(&unix) && !unix.is_meant_by(&tcp("0.0.0.0:0")));
        assert!(!unix.is_meant_by(&SocketPlace::Unix("/run/b.sock".into())));
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(SocketPlace::Unix(real).is_meant_by(&SocketPlace::Unix(link)));
    }
}
