//! What the kernel holds of a listener that nobody has accepted: handshakes under way, and its queue.
//!
//! Asked through sock_diag(7), whose answer holds only the sockets asked for. Where that is not allowed
//! (`RestrictAddressFamilies=` without `AF_NETLINK`), `/proc/self/net/tcp` tells the same, but walks
//! every socket of the machine.

use std::fs;
use std::io::{self, Read as _};
use std::iter::Sum;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Add;
use std::thread;
use std::time::Duration;

use host_system::descriptors;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::debug;

/// The kernel answers at once; this only bounds what must not hang.
const PATIENCE: Duration = Duration::from_millis(500);

/// netlink(7) and sock_diag(7).
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_AND_DUMP: u16 = 0x301;
const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;
const HEADER: usize = 16;

/// States of a TCP socket, as the kernel numbers them (include/net/tcp_states.h).
const SYN_RECEIVED: u8 = 3;
const LISTEN: u8 = 10;

/// What a question is for, as bits.
const HANDSHAKES: u32 = 1 << SYN_RECEIVED;
const LISTENERS: u32 = 1 << LISTEN;

/// What is there at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Handshakes that have begun and not finished.
    pub(super) under_way: usize,
    /// Connections that are complete and wait to be accepted.
    pub(super) queued: usize,
}

impl Look {
    /// Who would be reset if the listener were closed now.
    pub(super) fn all(self) -> usize {
        self.under_way + self.queued
    }
}

impl Add for Look {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let Self { under_way, queued } = other;
        Self { under_way: self.under_way + under_way, queued: self.queued + queued }
    }
}

impl Sum for Look {
    fn sum<I: Iterator<Item = Self>>(looks: I) -> Self {
        looks.fold(Self::default(), Add::add)
    }
}

/// What there is for the listener at `address`; nothing when the kernel does not tell.
pub(super) async fn look(address: SocketAddr) -> Option<Look> {
    match aside(move || look_now(address)) {
        Ok(told) => timeout(PATIENCE, told).await.ok()?.ok()?,
        // It takes a moment of this worker, and loses nobody.
        Err(_) => look_now(address),
    }
}

/// The same, on this thread: takes up to some tens of milliseconds, where all sockets are walked.
fn look_now(address: SocketAddr) -> Option<Look> {
    look_for(LISTENERS | HANDSHAKES, address)
}

/// Whether the kernel tells. Asks for the listener alone: a question for handshakes has the kernel walk its table
/// of all connections, which takes half a millisecond where it is empty.
pub(super) fn can_look(address: SocketAddr) -> bool {
    look_for(LISTENERS, address).is_some()
}

fn look_for(states: u32, address: SocketAddr) -> Option<Look> {
    let ways: [fn(u32, SocketAddr) -> io::Result<Look>; 2] =
        [by_sock_diag, |_, address| by_proc(address)];
    ways.into_iter().find_map(|way| match descriptors::asking(|| way(states, address)) {
        Ok(look) => Some(look),
        Err(why) => {
            debug!(%why, "the kernel does not tell of handshakes");
            None
        }
    })
}

/// Runs what blocks on a thread of its own. Guests can fill the pool of the runtime, and a stop that
/// waited for room in it lost who was in the queue of the listener.
fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (send, done) = oneshot::channel();
    // Nobody waits any more if it takes too long.
    let work = move || drop(send.send(work()));
    thread::Builder::new().name("handshakes".to_owned()).spawn(work)?;
    Ok(done)
}

/// A socket that is of interest.
#[derive(Clone, Copy, Debug)]
struct Entry {
    local: SocketAddr,
    state: u8,
    /// Of one that listens: the length of its queue.
    queue: u32,
}

impl Entry {
    /// What it is to the listener at `address`.
    fn seen_from(&self, address: SocketAddr) -> Look {
        let (local, here) = (self.local.ip().to_canonical(), address.ip().to_canonical());
        let port = self.local.port() == address.port();
        match self.state {
            SYN_RECEIVED if port && (here.is_unspecified() || local == here) => {
                Look { under_way: 1, queued: 0 }
            }
            LISTEN if port && local == here => {
                Look { under_way: 0, queued: usize::try_from(self.queue).unwrap_or(usize::MAX) }
            }
            _ => Look::default(),
        }
    }
}

/// A listener of IPv6 may have peers of IPv4.
fn families(address: SocketAddr) -> &'static [i32] {
    match address {
        SocketAddr::V4(_) => &[libc::AF_INET],
        SocketAddr::V6(_) => &[libc::AF_INET, libc::AF_INET6],
    }
}

fn by_sock_diag(states: u32, address: SocketAddr) -> io::Result<Look> {
    let entries = families(address).iter().map(|family| dump(*family, states, address.port()));
    let entries: Vec<Vec<Entry>> = entries.collect::<io::Result<_>>()?;
    Ok(entries.iter().flatten().map(|entry| entry.seen_from(address)).sum())
}

fn dump(family: i32, states: u32, port: u16) -> io::Result<Vec<Entry>> {
    let socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::DGRAM,
        Some(Protocol::from(libc::NETLINK_SOCK_DIAG)),
    )?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&question(family, states, port))?;
    let mut found = Vec::new();
    let mut answer = vec![0; 64 * 1024];
    loop {
        let length = (&socket).read(&mut answer)?;
        let mut rest = answer.get(..length).unwrap_or_default();
        while let Some((kind, body, after)) = next_message(rest) {
            match kind {
                SOCK_DIAG_BY_FAMILY => found.extend(entry(body)),
                MESSAGE_DONE => return Ok(found),
                MESSAGE_ERROR => return Err(io::Error::other("sock_diag refuses the question")),
                _ => {}
            }
            rest = after;
        }
    }
}

/// A `nlmsghdr` and an `inet_diag_req_v2`: all TCP sockets of this family and local port in one of these states.
fn question(family: i32, states: u32, port: u16) -> Vec<u8> {
    const LENGTH: u32 = 72;
    let mut question = Vec::new();
    question.extend(LENGTH.to_ne_bytes());
    question.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    question.extend(REQUEST_AND_DUMP.to_ne_bytes());
    question.extend([0; 8]);
    let protocol = u8::try_from(libc::IPPROTO_TCP).unwrap_or_default();
    question.extend([u8::try_from(family).unwrap_or_default(), protocol, 0, 0]);
    question.extend(states.to_ne_bytes());
    question.extend(port.to_be_bytes());
    question.resize(LENGTH as usize, 0);
    question
}

/// Kind of the first message, its body, and what follows it.
fn next_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// An `inet_diag_msg`.
fn entry(message: &[u8]) -> Option<Entry> {
    let port = u16::from_be_bytes(message.get(4..6)?.try_into().ok()?);
    let ip = match i32::from(*message.first()?) {
        libc::AF_INET => IpAddr::from(<[u8; 4]>::try_from(message.get(8..12)?).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(message.get(8..24)?).ok()?),
    };
    let queue = u32::from_ne_bytes(message.get(56..60)?.try_into().ok()?);
    Some(Entry { local: (ip, port).into(), state: *message.get(1)?, queue })
}

fn by_proc(address: SocketAddr) -> io::Result<Look> {
    let mut look = Look::default();
    for family in families(address) {
        let v4 = *family == libc::AF_INET;
        let text =
            fs::read_to_string(if v4 { "/proc/self/net/tcp" } else { "/proc/self/net/tcp6" })?;
        look = look + text.lines().filter_map(line).map(|entry| entry.seen_from(address)).sum();
    }
    Ok(look)
}

/// A line of `/proc/net/tcp` (proc(5)): addresses are words of 32 bits in the order of the machine.
fn line(line: &str) -> Option<Entry> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    let state = u8::from_str_radix(fields.nth(1)?, 16).ok()?;
    let (_, queue) = fields.next()?.split_once(':')?;
    let words: Vec<u32> = ip
        .as_bytes()
        .chunks(8)
        .map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok())
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip: IpAddr = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(ip) => Ipv4Addr::from(ip).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).into(),
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Entry { local: (ip, port).into(), state, queue: u32::from_str_radix(queue, 16).ok()? })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use socket2::SockFilter;

    use super::*;

    /// A handshake that is half done: this end does not hear the answer to its SYN.
    fn half_done(with: SocketAddr) -> Socket {
        let socket = Socket::new(Domain::for_address(with), Type::STREAM, None).unwrap();
        socket.attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(&with.into()).unwrap_err();
        socket
    }

    /// Both ways of asking see the same, whichever of them is allowed. A filter on the peer takes a
    /// right, so that who runs this without it sees no handshake.
    #[test]
    fn the_kernel_tells_of_handshakes_and_queues_by_either_way() {
        for at in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let listener = TcpListener::bind(at).unwrap();
            let address = listener.local_addr().unwrap();
            let with = |ip: IpAddr| SocketAddr::new(ip, address.port());
            let peer = match address.ip() {
                IpAddr::V4(_) => with(Ipv4Addr::LOCALHOST.into()),
                IpAddr::V6(_) => with(Ipv6Addr::LOCALHOST.into()),
            };
            let ways: [fn(SocketAddr) -> io::Result<Look>; 2] =
                [|address| by_sock_diag(LISTENERS | HANDSHAKES, address), by_proc];
            for way in ways {
                assert_eq!(way(address).unwrap(), Look::default(), "{at}");
            }
            let queued = [TcpStream::connect(peer).unwrap(), TcpStream::connect(peer).unwrap()];
            let right = rustix::process::geteuid().is_root();
            let deaf = right.then(|| half_done(peer));
            let old =
                (right && at == "[::]:0").then(|| half_done(with(Ipv4Addr::LOCALHOST.into())));
            let under_way = deaf.iter().chain(&old).count();
            for way in ways {
                assert_eq!(way(address).unwrap(), Look { under_way, queued: 2 }, "{at}");
            }
            // A start asks this.
            let told = by_sock_diag(LISTENERS, address).unwrap();
            assert_eq!(told, Look { under_way: 0, queued: 2 }, "{at}");
            drop((queued, deaf, old));
        }
    }

    /// Another listener has the same port on another address: what waits there is not ours.
    #[test]
    fn what_is_there_for_another_address_does_not_count() {
        let ours = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ours.local_addr().unwrap();
        let Ok(other) = TcpListener::bind(("127.0.0.2", address.port())) else { return };
        let peer = TcpStream::connect(other.local_addr().unwrap()).unwrap();
        for look in [look_now, |address| by_proc(address).ok()] {
            assert_eq!(look(address).unwrap(), Look::default());
            assert_eq!(look(other.local_addr().unwrap()).unwrap().queued, 1);
        }
        drop(peer);
    }
}
