//! Closing the door without losing what is in the queue.
//!
//! A close of a listening socket resets every connection that the kernel has completed and nobody
//! has accepted yet. So first nothing new is let in, then the queue is emptied, then it is closed.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use host_system::descriptors;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockFilter, Socket};
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::handshakes::{self, Look};

/// A handshake whose last packet is on its way needs one round trip. One that has lost its SYN-ACK is
/// helped by the kernel, which sends it again after a second; more is a peer that does not answer.
pub(super) const HANDSHAKES_AT_MOST: Duration = Duration::from_millis(1200);

/// Between two looks at handshakes under way.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The same behind that time, when only a queue that cannot be reached is waited for.
const LOOK_SELDOM: Duration = Duration::from_millis(20);

/// How newcomers are kept out of a listener that is still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bolt {
    /// It is bound to a network device that there is not. Newcomers are refused at once.
    Device,
    /// A filter drops their first packet. They try again a second later.
    Filter,
    /// Nothing that the kernel lets this user do: who comes in the instant of the close is reset.
    Nothing,
}

impl Bolt {
    /// What the log calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Filter => "filter",
            Self::Nothing => "nothing",
        }
    }
}

/// Keeps newcomers out from now on; whoever is in the queue, in a handshake or accepted is not
/// touched. Connections that are accepted later are bound to no device; they have the filter, and
/// never get such a packet.
///
/// The device takes no right, and the kernel does not look whether there is one of this number. It is
/// refused where the socket is bound to a device already (a link-local address) without the right to
/// change that, and before Linux 5.7. The filter takes CAP_NET_ADMIN on kernels of 2026.
pub(super) fn shut(listener: &Socket) -> Bolt {
    // Nothing gives a device this number: they are handed out from 1.
    const NO_DEVICE: Option<NonZeroU32> = NonZeroU32::new(i32::MAX.unsigned_abs());
    let by_device = listener.bind_device_by_index_v4(NO_DEVICE);
    let Err(why) = by_device else { return Bolt::Device };
    debug!(%why, "the listener cannot be bound to a device");
    let by_filter = listener.attach_filter(&drop_new_handshakes());
    let Err(why) = by_filter else { return Bolt::Filter };
    debug!(%why, "the listener cannot have a filter");
    Bolt::Nothing
}

/// Drops every packet with SYN and without ACK, that is every new handshake; whoever sends it asks
/// again a second later and is refused then. The filter sees the TCP header; its flags are byte 13.
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
/// returns when the queue is empty. The caller closes the socket at once. Gives how many peers may be
/// reset by that, who could think that they are connected.
///
/// Handshakes that do not finish in time are given up. A queue that cannot be emptied, because the
/// process is out of descriptors, is waited for: the caller bounds that.
pub(super) async fn empty_tcp(listener: &Socket, admit: impl FnMut(Socket)) -> usize {
    let bolt = shut(listener);
    debug!(bolt = bolt.name(), "the door is shut");
    empty_behind(bolt, listener, admit).await
}

async fn empty_behind(bolt: Bolt, listener: &Socket, mut admit: impl FnMut(Socket)) -> usize {
    let address = address(listener);
    let deadline = Instant::now() + HANDSHAKES_AT_MOST;
    let mut given_up = false;
    let mut came = 0;
    loop {
        // A SYN that passed the bolt in the instant in which it came has been dealt with by then.
        sleep(if given_up { LOOK_SELDOM } else { LOOK_AGAIN }).await;
        let look = match address {
            Some(address) => handshakes::look(address).await,
            None => None,
        };
        let queue = take_all(listener, &mut |socket| {
            came += 1;
            admit(socket);
        });
        given_up = Instant::now() >= deadline;
        // A kernel that does not tell is given the whole time.
        let under_way = look.map(|look| look.under_way);
        if queue == Queue::Emptied && (under_way == Some(0) || given_up) {
            debug!(under_way, "the queue is empty");
            // Who comes just behind the others is not seen any more: one stands for them.
            let may_follow = usize::from(bolt == Bolt::Nothing && came > 0);
            return under_way.unwrap_or_default().max(may_follow);
        }
    }
}

/// How many peers are reset if a listener whose queue is out of reach is closed now. One stands for those of
/// whom nothing can be known.
pub(super) async fn left_in(listener: &Socket) -> usize {
    let look = match address(listener) {
        Some(address) => handshakes::look(address).await,
        None => None,
    };
    look.map_or_else(|| turned_out(listener), Look::all)
}

/// The same where the kernel does not tell: takes out who can be taken out, which resets them.
fn turned_out(listener: &Socket) -> usize {
    let mut out = 0;
    let queue = take_all(listener, &mut |_| out += 1);
    out + usize::from(queue == Queue::OutOfReach)
}

fn address(listener: &Socket) -> Option<SocketAddr> {
    listener.local_addr().ok().and_then(|address| address.as_socket())
}

/// The same for a Unix listener, whose path has been removed by the caller. After the shutdown the
/// kernel refuses whoever had already found the path, and still hands out who is queued.
pub(super) async fn empty_unix(listener: &Socket, mut admit: impl FnMut(Socket)) {
    if let Err(why) = listener.shutdown(Shutdown::Read) {
        debug!(%why, "the listener cannot be shut down");
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
            // It is said of an empty queue too.
            Err(why) if is_exhaustion(&why) && is_empty(listener) => return Queue::Emptied,
            Err(why) if is_exhaustion(&why) => {
                if !descriptors::give_for_accepting() {
                    return Queue::OutOfReach;
                }
            }
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

/// Whether nobody is in the queue, found out without a descriptor. Of a Unix listener that was shut down the
/// kernel does not say so.
fn is_empty(listener: &Socket) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&at_once)) == Ok(0)
}

/// The process or the machine is out of something that every connection needs (accept(2)).
pub(super) fn is_exhaustion(why: &io::Error) -> bool {
    matches!(why.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

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

    fn listener(at: &str) -> (Socket, SocketAddr) {
        let listener = TcpListener::bind(at).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        (listener.into(), address)
    }

    /// The device of no name is a side effect of the kernel and no promise. Whoever is in the queue
    /// when it is set is accepted, and whoever comes then is refused at once, not reset later.
    #[test]
    fn a_door_that_is_shut_and_open_refuses_newcomers_and_hands_over_the_queue() {
        for at in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let (listener, address) = listener(at);
            let localhost: IpAddr = match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            let connect = || TcpStream::connect((localhost, address.port()));
            let before: Vec<TcpStream> = (0..8).map(|_| connect().unwrap()).collect();
            assert_eq!(shut(&listener), Bolt::Device, "{at}");
            for _ in 0..8 {
                assert_eq!(connect().unwrap_err().kind(), io::ErrorKind::ConnectionRefused, "{at}");
            }
            let mut admitted = Vec::new();
            assert_eq!(take_all(&listener, &mut |peer| admitted.push(peer)), Queue::Emptied);
            assert_eq!(admitted.len(), before.len(), "{at}");
            let device = |peer: &Socket| peer.device().unwrap();
            assert!(admitted.iter().all(|peer| device(peer).is_none()), "bound to a device: {at}");
        }
    }

    /// Where nothing keeps newcomers out, whoever comes between the last look and the close is reset.
    #[tokio::test]
    async fn what_a_door_that_cannot_be_shut_may_lose_is_counted() {
        for (bolt, peers, lost) in
            [(Bolt::Nothing, 3, 1), (Bolt::Nothing, 0, 0), (Bolt::Device, 3, 0)]
        {
            let (listener, address) = listener("127.0.0.1:0");
            let peers: Vec<_> = (0..peers).map(|_| TcpStream::connect(address).unwrap()).collect();
            let mut admitted = Vec::new();
            let told = empty_behind(bolt, &listener, |peer| admitted.push(peer)).await;
            assert_eq!((told, admitted.len()), (lost, peers.len()), "{bolt:?}");
        }
    }

    #[tokio::test]
    async fn a_queue_that_is_left_behind_is_counted() {
        let (listener, address) = listener("127.0.0.1:0");
        let peers: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert_eq!(left_in(&listener).await, peers.len());
        // Where the kernel does not tell, they are counted on their way out.
        assert_eq!(turned_out(&listener), peers.len());
        assert_eq!(left_in(&listener).await, 0);
    }

    /// Out of descriptors, accept(2) says so of an empty queue too: a stop waited for it to the last.
    #[test]
    fn a_queue_is_looked_into_without_a_descriptor() {
        let (listener, address) = listener("127.0.0.1:0");
        assert!(is_empty(&listener));
        let peer = TcpStream::connect(address).unwrap();
        assert!(!is_empty(&listener));
        assert_eq!(take_all(&listener, &mut drop), Queue::Emptied);
        assert!(is_empty(&listener));
        drop(peer);
    }
}
