//! The socket between the two hosts.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recv,
    recvmsg, sendmsg, socketpair,
};
use thiserror::Error;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::message::HandoverMessage;

/// Descriptors that the kernel passes on with one packet (SCM_MAX_FD, unix(7)).
pub const MOST_DESCRIPTORS: usize = 253;

/// Room for one message. What a packet may have is bounded by the kernel's buffer for sending, which has 208 KiB where
/// nobody has changed it (net.core.wmem_default).
const LARGEST: usize = 256 * 1024;

/// A message that the other one does not take within this time will not be taken.
const SEND_WITHIN: Duration = Duration::from_secs(10);

/// Why the other one is not understood.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// It has ended, or closed the channel.
    #[error("it has ended")]
    Closed,
    /// It says nothing, or takes nothing.
    #[error("it says nothing for {within:?}, where {expected} is expected")]
    Late {
        /// How long was waited.
        within: Duration,
        /// What for.
        expected: &'static str,
    },
    /// It says something else.
    #[error("it says {said} where {expected} is expected")]
    Unexpected {
        /// What it says.
        said: String,
        /// What was expected.
        expected: &'static str,
    },
    /// What it says cannot be read.
    #[error("what it says cannot be read: {0}")]
    Malformed(String),
    /// The kernel refuses; with `EMFILE` what comes with one message, for which there is no descriptor left.
    #[error("the channel fails: {0}")]
    Failed(#[from] io::Error),
}

impl ChannelError {
    /// The other one has `said` this, where something else was `expected`.
    #[must_use]
    pub fn unexpected(said: &HandoverMessage, expected: &'static str) -> Self {
        Self::Unexpected { said: said.name().to_owned(), expected }
    }

    /// Whether what came found no descriptor here, and more can come.
    #[must_use]
    pub fn is_of_one_message(&self) -> bool {
        match self {
            Self::Failed(why) => Errno::from_io_error(why) == Some(Errno::MFILE),
            Self::Malformed(_) | Self::Unexpected { .. } => true,
            Self::Closed | Self::Late { .. } => false,
        }
    }
}

/// One end of the channel. Dropping it tells the other end so.
#[derive(Debug)]
pub struct Channel {
    /// tokio has no type for such sockets, and this one asks nothing that only streams have.
    socket: UnixStream,
}

impl Channel {
    /// A channel: our end, in the runtime that this is called in, and the one for the successor.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self::new(ours)?, theirs))
    }

    /// An end that was handed in, in the runtime that this is called in.
    ///
    /// # Errors
    /// When it is no end of such a channel.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        let kind = rustix::net::sockopt::socket_type(&socket)?;
        if kind != SocketType::SEQPACKET {
            return Err(io::Error::other("it is no socket of type SEQPACKET"));
        }
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket: UnixStream::from_std(socket.into())? })
    }

    /// Takes it out of its runtime.
    ///
    /// # Errors
    /// When the reactor does not let go of it.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        Ok(self.socket.into_std()?.into())
    }

    /// Ends it: the other one finds it closed.
    pub fn close(&self) {
        // One that has ended already is closed.
        rustix::net::shutdown(self.socket.as_fd(), Shutdown::Both).ok();
    }

    /// Whether the other one is seen to have ended, and everything that it said was heard.
    pub fn is_closed(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let mut text = [0; 1];
        match recv(self.socket.as_fd(), &mut text[..], flags) {
            Ok((_, length)) => length == 0,
            Err(why) => has_ended(&why.into()),
        }
    }

    /// Says something. Cancel-safe: it is said whole or not at all.
    ///
    /// # Errors
    /// When the other one has ended, or does not listen.
    pub async fn send(
        &self,
        message: &HandoverMessage,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let text =
            serde_json::to_vec(message).map_err(|why| ChannelError::Malformed(why.to_string()))?;
        let sent = self.socket.async_io(Interest::WRITABLE, || {
            Ok(send_now(self.socket.as_fd(), &text, descriptors)?)
        });
        match timeout(SEND_WITHIN, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) if has_ended(&why) => Err(ChannelError::Closed),
            Ok(Err(why)) => Err(why.into()),
            Err(_) => {
                Err(ChannelError::Late { within: SEND_WITHIN, expected: "room for a message" })
            }
        }
    }

    /// Hears what is said next, and what comes with it. `expected` is what an error says that it should have been.
    /// Cancel-safe.
    ///
    /// # Errors
    /// When the other one has ended, says nothing within the time, or nothing that can be read.
    pub async fn receive(
        &self,
        expected: &'static str,
        within: Duration,
    ) -> Result<(HandoverMessage, Vec<OwnedFd>), ChannelError> {
        match timeout(within, self.receive_next()).await {
            Ok(received) => received,
            Err(_) => Err(ChannelError::Late { within, expected }),
        }
    }

    /// The same, without a bound: for who waits beside something that has one. Cancel-safe.
    ///
    /// # Errors
    /// When the other one has ended, or says nothing that can be read.
    pub async fn receive_next(&self) -> Result<(HandoverMessage, Vec<OwnedFd>), ChannelError> {
        let mut text = vec![0; LARGEST];
        let received = self
            .socket
            .async_io(Interest::READABLE, || Ok(receive_now(self.socket.as_fd(), &mut text)?))
            .await;
        let (length, descriptors) = match received {
            Ok((0, _)) => return Err(ChannelError::Closed),
            Err(why) if has_ended(&why) => return Err(ChannelError::Closed),
            received => received?,
        };
        let message = serde_json::from_slice(&text[..length])
            .map_err(|why| ChannelError::Malformed(why.to_string()))?;
        Ok((message, descriptors))
    }
}

fn has_ended(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Says something without a wait: what is said first finds room.
pub(super) fn say(
    socket: BorrowedFd<'_>,
    message: &HandoverMessage,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    Ok(send_now(socket, &serde_json::to_vec(message)?, descriptors)?)
}

fn send_now(
    socket: BorrowedFd<'_>,
    text: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    sendmsg(socket, &[IoSlice::new(text)], &mut beside, SendFlags::NOSIGNAL).map(drop)
}

fn receive_now(socket: BorrowedFd<'_>, text: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(text)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        // What came with it is closed, and the next message can be heard.
        return Err(Errno::MFILE);
    }
    Ok((received.bytes, descriptors))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream as StdUnixStream;

    use super::*;
    use crate::message::{ConnectionFacts, Hello};

    fn pair() -> (Channel, Channel) {
        let (ours, theirs) = Channel::pair().unwrap();
        (ours, Channel::new(theirs).unwrap())
    }

    const WITHIN: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn messages_come_one_by_one_with_their_descriptors() {
        let (old, new) = pair();
        let hello = HandoverMessage::Hello(Hello { protocol: 1, version: "1.2.3".into(), pid: 7 });
        let facts = ConnectionFacts {
            listener: 0,
            peer: Some("127.0.0.1:9".parse().unwrap()),
            proxy: None,
            is_secured_by_proxy: false,
            served: 3,
            ahead: b"PRI".to_vec(),
        };
        let (mut here, there) = StdUnixStream::pair().unwrap();
        old.send(&hello, &[]).await.unwrap();
        let connections = HandoverMessage::Connections(vec![facts; MOST_DESCRIPTORS]);
        old.send(&connections, &[there.as_fd(); MOST_DESCRIPTORS]).await.unwrap();
        drop((there, old));
        assert_eq!(new.receive("hello", WITHIN).await.unwrap().0, hello);
        let (said, descriptors) = new.receive("connections", WITHIN).await.unwrap();
        assert_eq!((said, descriptors.len()), (connections, MOST_DESCRIPTORS));
        let last = descriptors.into_iter().next_back().unwrap();
        StdUnixStream::from(last).write_all(b"ok").unwrap();
        let mut heard = Vec::new();
        here.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"ok", "all other handles are closed");
        let ended = new.receive("done", WITHIN).await;
        assert!(matches!(ended, Err(ChannelError::Closed)), "{ended:?}");
    }

    #[tokio::test]
    async fn the_end_of_the_other_is_seen_behind_what_it_said() {
        let (old, new) = pair();
        assert!(!new.is_closed(), "it says nothing yet");
        old.send(&HandoverMessage::Done, &[]).await.unwrap();
        drop(old);
        assert!(!new.is_closed(), "it has said something");
        new.receive("done", WITHIN).await.unwrap();
        assert!(new.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_not_waited_for() {
        let (old, new) = pair();
        let late = new.receive("listeners", WITHIN).await.unwrap_err().to_string();
        assert_eq!(late, "it says nothing for 10s, where listeners is expected");
        // Nor who hears nothing: the kernel keeps so many packets and no more.
        let done = HandoverMessage::Done;
        let late = loop {
            if let Err(why) = old.send(&done, &[]).await {
                break why;
            }
        };
        assert!(matches!(late, ChannelError::Late { .. }), "{late:?}");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_told() {
        let (old, new) = pair();
        send_now(old.socket.as_fd(), b"{\"say\":\"what\"}", &[]).unwrap();
        let why = new.receive("hello", WITHIN).await.unwrap_err().to_string();
        assert!(why.contains("unknown variant `what`"), "{why}");
    }

    #[tokio::test]
    async fn another_socket_is_no_channel() {
        let (stream, _other) = StdUnixStream::pair().unwrap();
        Channel::new(stream.into()).unwrap_err();
    }
}
