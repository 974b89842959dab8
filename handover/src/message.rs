//! What the two hosts say to each other.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The number of what is said here. Two hosts that have different ones do not hand over: fields that one does not know
/// are left out by the other, so it grows only where that is not enough.
pub const PROTOCOL: u32 = 1;

/// One message.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "say", content = "with", rename_all = "kebab-case")]
pub enum HandoverMessage {
    /// The successor runs. Its launcher says so, with a descriptor of its process (`pidfd_open(2)`): the launcher has not
    /// waited for its end yet, so that the number is no other one's.
    Started {
        /// The number of its process.
        pid: u32,
    },
    /// The successor cannot be started. Its launcher says so.
    Unstarted {
        /// What the kernel says.
        why: String,
    },
    /// Who speaks. Both begin with it.
    Hello(Hello),
    /// The listeners, with the descriptors of each one's socket and, where it has one, its lock. A list that does not
    /// fit is sent in parts, the last of which is empty.
    Listeners(Vec<ListenerFacts>),
    /// The successor serves all that it is to serve. It uses the listeners at these places of the list.
    Ready {
        /// Places in the list of listeners, from 0.
        uses: Vec<usize>,
    },
    /// The successor will not come up.
    No {
        /// Why, in the words of its last line.
        why: String,
    },
    /// From now on the successor accepts.
    Yours {
        /// The keys of TLS tickets; empty if there are none.
        tickets: Vec<u8>,
    },
    /// The successor accepts.
    Accepting,
    /// Idle connections, one descriptor each.
    Connections(Vec<ConnectionFacts>),
    /// All connections that were idle have been sent.
    Done,
    /// The successor has all of them, and goes on whatever becomes of the first one.
    Taken {
        /// How many connections it has been given.
        connections: u64,
        /// Messages with connections, by their number from 0, for which it had no descriptors: they stay with the first one.
        #[serde(default)]
        lost: Vec<usize>,
    },
    /// There is no way back: the first host drains, and the service manager knows the successor. Connections that become
    /// idle meanwhile follow.
    Settled,
    /// The first host was asked to stop while it handed over, so the service is to stop. Neither ends before the other one is
    /// done: a service manager may take either's end for that of the service.
    Stop,
    /// The first host, which was asked to stop, serves nobody any more, and hands on nothing more. It waits for the
    /// successor's end.
    Drained,
}

impl HandoverMessage {
    /// What errors call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Unstarted { .. } => "unstarted",
            Self::Hello(_) => "hello",
            Self::Listeners(_) => "listeners",
            Self::Ready { .. } => "ready",
            Self::No { .. } => "no",
            Self::Yours { .. } => "yours",
            Self::Accepting => "accepting",
            Self::Connections(_) => "connections",
            Self::Done => "done",
            Self::Taken { .. } => "taken",
            Self::Settled => "settled",
            Self::Stop => "stop",
            Self::Drained => "drained",
        }
    }
}

/// Who speaks.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the speaker.
    pub protocol: u32,
    /// The version of its program.
    pub version: String,
    /// The number of its process.
    pub pid: u32,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerKind {
    /// Requests for guests.
    Guests,
    /// Health and metrics.
    Health,
    /// The dashboard.
    Dashboard,
    /// `host ctl`.
    Control,
}

/// Who has made a listening socket.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerOrigin {
    /// A host.
    Bound,
    /// A service manager, which goes on holding it.
    Inherited,
}

/// A listener, without its descriptors.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct ListenerFacts {
    /// What it is for.
    pub kind: ListenerKind,
    /// Its address as it is configured: a successor that is configured with the same one takes it.
    pub address: String,
    /// Who has made it.
    pub origin: ListenerOrigin,
    /// Whether the descriptor of the lock on its path comes behind that of its socket.
    pub has_lock: bool,
    /// Its path, where it is a Unix socket.
    #[serde(default)]
    pub path: Option<PathBuf>,
}

/// An idle connection, without its descriptor.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct ConnectionFacts {
    /// The place of its listener in the list.
    pub listener: usize,
    /// The address of its peer; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The proxy that has named that peer.
    #[serde(default)]
    pub proxy: Option<SocketAddr>,
    /// Whether the peer has come to that proxy by TLS.
    #[serde(default)]
    pub is_secured_by_proxy: bool,
    /// Requests that it has brought.
    pub served: u64,
    /// What was read of it and says nothing yet.
    #[serde(default)]
    pub ahead: Vec<u8>,
}
