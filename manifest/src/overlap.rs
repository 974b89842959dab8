//! Places to listen at that cannot be had at once. The kernel would say so too, but only of a place
//! that is taken, as if another process had it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::parse::same_path;
use crate::{ListenAddr, ListenConfig, ListenerConfig};

/// Two of them, each with what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    one: String,
    other: String,
    twice: bool,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { one, other, twice } = self;
        if *twice {
            return write!(
                f,
                "{one} and {other} are the same: leave one of them out, or change it"
            );
        }
        write!(
            f,
            "{one} and {other} cannot be listened at both: one is part of the other ([::] takes every \
             address of IPv6 and of IPv4, 0.0.0.0 every one of IPv4); leave one of them out, or change \
             its port"
        )
    }
}

impl ListenAddr {
    /// Whether this one and `other` cannot be listened at both. Looks at no file.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => overlap(one, other),
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (Self::Tcp(_), Self::Unix(_)) | (Self::Unix(_), Self::Tcp(_)) => false,
        }
    }
}

impl ListenConfig {
    /// The first two places of one process that cannot be had at once, if there are any: where it
    /// listens, where it answers health and shows the dashboard, and the control socket at `control`. Follows links.
    #[must_use]
    pub fn overlap(&self, control: Option<&Path>) -> Option<Overlap> {
        let place = |it: &ListenerConfig| (it.kind(), it.address.clone());
        let mut places: Vec<(&str, ListenAddr)> = self.listeners.iter().map(place).collect();
        places.extend(self.health.map(|health| ("health-addr", ListenAddr::Tcp(health))));
        let dashboard = self.dashboard.map(ListenAddr::Tcp);
        places.extend(dashboard.map(|address| ("dashboard-addr", address)));
        places.extend(control.map(|path| ("control", ListenAddr::Unix(PathBuf::from(path)))));
        let pairs = places
            .iter()
            .enumerate()
            .flat_map(|(n, one)| places.iter().skip(n + 1).map(move |other| (one, other)));
        for ((name, one), (other_name, other)) in pairs {
            let paths = match (one, other) {
                (ListenAddr::Unix(one), ListenAddr::Unix(other)) => same_path(one, other),
                _ => false,
            };
            if paths || one.overlaps(other) {
                let twice = paths || one == other;
                let (one, other) = (format!("{name} {one}"), format!("{other_name} {other}"));
                return Some(Overlap { one, other, twice });
            }
        }
        None
    }
}

fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    // Port 0 stands for a free one.
    one.port() == other.port() && one.port() != 0 && {
        let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
        let all = |ip: IpAddr, of: IpAddr| match ip {
            // A socket of IPv6 at `::` takes peers of IPv4 too.
            IpAddr::V6(ip) => ip.is_unspecified(),
            IpAddr::V4(ip) => ip == Ipv4Addr::UNSPECIFIED && of.is_ipv4(),
        };
        (a == b && same_scope(one, other)) || all(a, b) || all(b, a)
    }
}

/// A link-local address is another one on each device.
fn same_scope(one: &SocketAddr, other: &SocketAddr) -> bool {
    match (one, other) {
        (SocketAddr::V6(one), SocketAddr::V6(other)) => one.scope_id() == other.scope_id(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrustedProxies;

    fn listen(addresses: &[&str], health: Option<&str>) -> ListenConfig {
        let listener = |one: &&str| ListenerConfig::plain(one.parse().unwrap());
        let listeners = addresses.iter().map(listener).collect();
        let health = health.map(|one| one.parse().unwrap());
        ListenConfig {
            listeners,
            control: None,
            health,
            dashboard: None,
            trusted_proxies: TrustedProxies::default(),
        }
    }

    #[test]
    fn addresses_overlap_as_the_kernel_takes_them() {
        for (one, other, overlap) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::]:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("0.0.0.0:80", "[::]:81", false),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "[fe80::1%2]:80", true),
            ("[::1]:80", "127.0.0.1:80", false),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("[::ffff:0.0.0.0]:80", "127.0.0.1:80", true),
            ("[fe80::1%2]:80", "[fe80::1%3]:80", false),
            ("[fe80::1%2]:80", "[fe80::1%2]:80", true),
            ("unix:/a.sock", "unix:/a.sock", true),
            ("unix:/a.sock", "unix:/b.sock", false),
            ("unix:/a.sock", "127.0.0.1:80", false),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                assert_eq!(
                    listen(&[one, other], None).overlap(None).is_some(),
                    overlap,
                    "{one} {other}"
                );
            }
        }
    }

    #[test]
    fn both_are_named() {
        let listen = listen(&["127.0.0.1:80", "0.0.0.0:81"], Some("127.0.0.1:81"));
        let text = listen.overlap(None).unwrap().to_string();
        assert!(text.contains("addr 0.0.0.0:81 and health-addr 127.0.0.1:81"), "{text}");
    }

    #[test]
    fn a_path_is_the_same_however_it_is_written() {
        let listen = listen(&["unix:/tmp/a.sock"], None);
        for control in
            ["/tmp/a.sock", "/tmp/./a.sock", "/tmp/../tmp/a.sock", "/proc/self/root/tmp/a.sock"]
        {
            let overlap = listen.overlap(Some(Path::new(control)));
            let text = overlap.unwrap_or_else(|| panic!("{control}")).to_string();
            assert!(text.contains(&format!("control unix:{control}")), "{text}");
        }
        assert_eq!(listen.overlap(Some(Path::new("/tmp/b.sock"))), None);
    }
}
