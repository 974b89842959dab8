//! The files of `deploy/`, with a test's addresses in place of those that they show.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, process};

/// The path of a file of `deploy/`.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

/// The text of a file of `deploy/`.
///
/// # Panics
/// When there is no such file.
pub fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("deploy/{name}: {e}"))
}

/// `config` with `new` in place of `old`, which it must have.
#[track_caller]
pub fn swapped(config: &str, old: &str, new: &str) -> String {
    assert!(config.contains(old), "no {old:?} in it:\n{config}");
    config.replace(old, new)
}

/// `config` with the lines that begin like this no comments any more.
#[track_caller]
pub fn switched_on(config: &str, begins: &[&str]) -> String {
    begins
        .iter()
        .fold(config.to_owned(), |config, begin| swapped(&config, &format!("# {begin}"), begin))
}

/// `config` without the lines that begin like this.
#[track_caller]
pub fn switched_off(config: &str, begins: &[&str]) -> String {
    let is_off = |line: &str| begins.iter().any(|begin| line.trim_start().starts_with(begin));
    let lines = config.split_inclusive('\n');
    let rest: String = lines.filter(|line| !is_off(line)).collect();
    assert_ne!(rest, config, "none of {begins:?} in it");
    rest
}

/// What the manifest of a host must say, by the comment of `config` behind the line with `after`.
#[track_caller]
pub fn manifest_in(config: &str, after: &str) -> String {
    let (_, rest) = config.split_once(after).unwrap_or_else(|| panic!("no {after:?} in it"));
    let comment = rest.lines().skip(1).map_while(|line| line.trim_start().strip_prefix('#'));
    comment
        .take_while(|line| line.is_empty() || line.starts_with("     "))
        .map(|line| format!("{}\n", line.trim_start()))
        .collect()
}

/// The listener that `config` asks of a host for TLS that passes through.
#[track_caller]
pub fn listener_in(config: &str) -> String {
    let manifest = manifest_in(config, "Each host has for it:");
    let (_, listener) = manifest.split_once("[[listener]]").expect("a listener");
    format!("[[listener]]{listener}")
}

static NETWORKS: AtomicU32 = AtomicU32::new(1);

/// Addresses of the loopback that no other test has, and ports that nobody has: three hosts, and a proxy.
#[derive(Clone, Debug)]
pub struct Network {
    base: u32,
    /// Port 8080 of the files.
    pub http: u16,
    /// Port 8081.
    pub health: u16,
    /// Port 8443.
    pub tls: u16,
    /// Port 443 of the proxy.
    pub secure: u16,
}

/// Who connects to a host from this machine does so from here.
const PROXY: &str = "127.0.0.1";

impl Network {
    /// One of its own.
    pub fn new() -> Self {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let base = 0x7f00_0000 | ((process::id() & 0xffff) << 8) | ((number * 16) & 0xff);
        // All at once, so that they differ. On every address, since the hosts have one each.
        let listen = |()| TcpListener::bind("0.0.0.0:0").expect("a port is free");
        let held = [(), (), (), ()].map(listen);
        let [http, health, tls, secure] =
            held.each_ref().map(|it| it.local_addr().expect("it is bound").port());
        Self { base, http, health, tls, secure }
    }

    fn ip(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.base + number)
    }

    /// The address of a host: 0, 1 or 2. A Kubernetes of a test has a few more.
    pub fn host(&self, number: usize) -> Ipv4Addr {
        self.ip(1 + u32::try_from(number).expect("few hosts"))
    }

    /// Where a client is that is no proxy.
    pub fn client(&self) -> Ipv4Addr {
        self.ip(15)
    }

    /// An address of the proxy.
    pub fn proxy(&self, port: u16) -> SocketAddr {
        (self.ip(14), port).into()
    }

    /// What a proxy's file says, with these addresses.
    pub fn proxy_text(&self, config: &str) -> String {
        let config = (0..3).fold(config.to_owned(), |config, number| {
            config.replace(&format!("10.0.0.1{}", number + 1), &self.host(number).to_string())
        });
        [("8080", self.http), ("8081", self.health), ("8443", self.tls)]
            .iter()
            .fold(config, |config, (old, new)| config.replace(old, &new.to_string()))
    }

    /// What the manifest of a host says, with the addresses of this host.
    pub fn host_text(&self, manifest: &str, number: usize) -> String {
        let ours = manifest.replace("0.0.0.0", &self.host(number).to_string());
        self.proxy_text(&ours.replace("10.0.0.5", PROXY))
    }
}
