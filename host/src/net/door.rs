//! Closing the door without losing what is in the queue.
//!
//! A close of a listening socket resets every connection that the kernel has completed and nobody
//! has accepted yet. So first nothing new is let in, then the queue is emptied, then it is closed.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use socket2::{SockFilter, SockRef, Socket};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::handshakes;

/// A handshake whose last packet is on its way needs one round trip; more is a lost packet.
const HANDSHAKES_AT_MOST: Duration = Duration::from_secs(1);

/// Between two looks at handshakes under way.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Drops every packet with SYN and without ACK, that is every new handshake; whoever sends it asks
/// again a second later and is refused then. The filter sees the TCP header; its flags are byte 13.
/// Connections accepted from the socket inherit the filter and never receive such a packet.
fn drop_new_handshakes() -> [SockFilter; 5] {
    let statement = |code: u32, k: u32| jump(code, k, 0, 0);
    [
        statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 13),
        statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, SYN | ACK),
        jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, SYN, 0, 1),
        statement(libc::BPF_RET | libc::BPF_K, 0),
        statement(libc::BPF_RET | libc::BPF_K, u32::MAX),
    ]
}

const SYN: u32 = 0x02;
const ACK: u32 = 0x10;

fn jump(code: u32, k: u32, jt: u8, jf: u8) -> SockFilter {
    SockFilter::new(u16::try_from(code).unwrap_or_default(), jt, jf, k)
}

/// Lets nobody new into a TCP listener, hands over everybody who is already on the way, and
/// returns when the queue is empty. The caller closes the socket.
///
/// Handshakes that do not finish within a second are given up. A queue that cannot be emptied,
/// because the process is out of descriptors, is waited for: the caller bounds that.
pub(super) async fn empty_tcp(listener: &Socket, mut admit: impl FnMut(Socket)) {
    let filtered = SockRef::from(listener).attach_filter(&drop_new_handshakes());
    if let Err(why) = filtered {
        warn!(%why, "no filter on the listener: connections arriving in this instant may be reset");
    }
    let address = listener.local_addr().ok().and_then(|address| address.as_socket());
    let deadline = Instant::now() + HANDSHAKES_AT_MOST;
    loop {
        // A SYN that passed the filter in the instant in which it came has been dealt with by then.
        sleep(LOOK_AGAIN).await;
        let under_way = handshakes::under_way(address).await;
        let queue = take_all(listener, &mut admit);
        let given_up = Instant::now() >= deadline;
        if queue == Queue::Emptied && (under_way == 0 || given_up) {
            debug!(under_way, "the queue is empty");
            return;
        }
    }
}

/// The same for a Unix listener, whose path has been removed by the caller. After the shutdown the
/// kernel refuses whoever had already found the path, and still hands out who is queued.
pub(super) async fn empty_unix(listener: &Socket, mut admit: impl FnMut(Socket)) {
    if let Err(why) = listener.shutdown(Shutdown::Read) {
        warn!(%why, "the listener cannot be shut down: connections of this instant may be reset");
    }
    while take_all(listener, &mut admit) == Queue::OutOfReach {
        sleep(LOOK_AGAIN).await;
    }
}

/// What became of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    Emptied,
    /// Somebody is in it, but the process has no descriptor or the kernel no memory left.
    OutOfReach,
}

/// Errors in one go, before others get their turn.
const FAILED_AT_MOST: usize = 64;

/// Accepts until the queue is empty, past everything that the reactor may not have said yet.
fn take_all(listener: &Socket, admit: &mut impl FnMut(Socket)) -> Queue {
    let mut failed = 0;
    loop {
        match listener.accept() {
            Ok((socket, _)) => admit(socket),
            Err(why) if is_exhaustion(&why) => return Queue::OutOfReach,
            // A Unix listener that was shut down says EINVAL when its queue is empty.
            Err(why)
                if matches!(
                    why.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput
                ) =>
            {
                return Queue::Emptied;
            }
            Err(why) => {
                debug!(%why, "a connection was gone before it was accepted");
                failed += 1;
                if failed > FAILED_AT_MOST {
                    return Queue::OutOfReach;
                }
            }
        }
    }
}

/// The process or the machine is out of something that every connection needs (accept(2)).
pub(super) fn is_exhaustion(why: &io::Error) -> bool {
    matches!(why.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_descriptors_is_told_from_a_vanished_peer() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert!(is_exhaustion(&io::Error::from_raw_os_error(errno)));
        }
        for errno in [libc::ECONNABORTED, libc::EPERM, libc::ENETDOWN, libc::EHOSTUNREACH] {
            assert!(!is_exhaustion(&io::Error::from_raw_os_error(errno)));
        }
    }
}
