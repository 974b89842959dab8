//! Handshakes under way: asked of the kernel through sock_diag(7), whose answer holds only the
//! sockets asked for. /proc/net/tcp tells the same, but walks every socket of the machine.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

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

/// How many handshakes with `address` have begun and not finished. A listener of IPv6 may have
/// peers of IPv4, so both are asked for. None, when the kernel does not tell.
pub(super) async fn under_way(address: Option<SocketAddr>) -> usize {
    let Some(address) = address else { return 0 };
    let families: &[i32] = match address {
        SocketAddr::V4(_) => &[libc::AF_INET],
        SocketAddr::V6(_) => &[libc::AF_INET, libc::AF_INET6],
    };
    let count = move || -> io::Result<usize> {
        families.iter().map(|family| count(*family, address.port(), State::SynReceived)).sum()
    };
    let told = match aside(count) {
        Ok(told) => timeout(PATIENCE, told).await,
        Err(why) => {
            debug!(%why, "no thread to ask the kernel of handshakes");
            return 0;
        }
    };
    match told {
        Ok(Ok(Ok(count))) => count,
        Ok(Ok(Err(why))) => {
            debug!(%why, "the kernel does not tell of handshakes");
            0
        }
        Ok(Err(_)) | Err(_) => 0,
    }
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

/// A state of a TCP socket, as the kernel numbers them (include/net/tcp_states.h).
#[derive(Clone, Copy)]
enum State {
    #[cfg(test)]
    Established = 1,
    SynReceived = 3,
}

fn count(family: i32, port: u16, state: State) -> io::Result<usize> {
    let socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::DGRAM,
        Some(Protocol::from(libc::NETLINK_SOCK_DIAG)),
    )?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&question(family, port, state))?;
    let mut found = 0;
    let mut answer = vec![0; 64 * 1024];
    loop {
        let length = (&socket).read(&mut answer)?;
        let mut rest = answer.get(..length).unwrap_or_default();
        while let Some((kind, after)) = next_message(rest) {
            match kind {
                SOCK_DIAG_BY_FAMILY => found += 1,
                MESSAGE_DONE => return Ok(found),
                MESSAGE_ERROR => return Err(io::Error::other("sock_diag refuses the question")),
                _ => {}
            }
            rest = after;
        }
    }
}

/// A `nlmsghdr` and an `inet_diag_req_v2`: all TCP sockets of this family, local port and state.
fn question(family: i32, port: u16, state: State) -> Vec<u8> {
    const LENGTH: u32 = 72;
    let mut question = Vec::new();
    question.extend(LENGTH.to_ne_bytes());
    question.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    question.extend(REQUEST_AND_DUMP.to_ne_bytes());
    question.extend([0; 8]);
    let protocol = u8::try_from(libc::IPPROTO_TCP).unwrap_or_default();
    question.extend([u8::try_from(family).unwrap_or_default(), protocol, 0, 0]);
    question.extend((1_u32 << state as u32).to_ne_bytes());
    question.extend(port.to_be_bytes());
    question.resize(LENGTH as usize, 0);
    question
}

/// Kind of the first message, and what follows it.
fn next_message(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    if length < HEADER {
        return None;
    }
    Some((kind, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_kernel_tells_of_sockets_by_port_and_state() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let count = |state| count(libc::AF_INET, port, state).unwrap();
        assert_eq!(count(State::Established), 0);
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        assert_eq!(count(State::Established), 1);
        assert_eq!(count(State::SynReceived), 0);
        drop((peer, ours));
    }
}
