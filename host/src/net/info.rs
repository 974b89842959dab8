//! The registry's entry of a connection, and what is read off it: who is here and what it is doing.
//!
//! Written once per connection; what changes with every request is read from its flow, so the
//! registry costs a request nothing.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::flow::{Flow, Reading};
use crate::lifecycle::{InFlight, Tracker};

/// What the registry knows of a connection, from accept on. Made by the acceptor, shared by the
/// connection's task and its guard; whoever lists the registry may keep it for a moment longer.
#[derive(Debug)]
pub(super) struct Info {
    /// None where peers have no address: a Unix socket.
    peer: Option<SocketAddr>,
    listener: Arc<str>,
    opened: OnceLock<(Protocol, Arc<Flow>)>,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Its first bytes have not said yet.
    Unknown,
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Kept alive; nothing has begun and nothing is owed.
    Idle,
    /// A request's head or body is arriving, or the first one is waited for.
    Reading,
    /// An exchange is in flight, and its request is here.
    Serving,
    /// Bytes of an answer are ready, and the peer takes none.
    Writing,
}

/// One connection at the moment of looking.
#[derive(Clone, Debug)]
pub struct ConnectionState {
    /// Its number in the registry, which the log uses too.
    pub id: u64,
    /// The peer's address; `unix` where peers have none.
    pub peer: String,
    /// The address on which it was accepted, as the ready line prints it.
    pub listener: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// What it is doing.
    pub doing: Doing,
    /// Since accept.
    pub age: Duration,
    /// Since a byte last went either way.
    pub idle: Duration,
    /// Exchanges that have begun on it.
    pub served: u64,
    /// Exchanges whose answer has not been handed over whole.
    pub in_flight: usize,
}

/// The connections that are registered in `tracker`, oldest first.
#[must_use]
pub fn connections(tracker: &Tracker) -> Vec<ConnectionState> {
    let now = Instant::now();
    tracker.list().iter().filter_map(|one| state(one, now)).collect()
}

/// None for what is no connection of ours.
fn state(one: &InFlight, now: Instant) -> Option<ConnectionState> {
    let name: &dyn Any = &*one.name;
    let info = name.downcast_ref::<Info>()?;
    let age = now.saturating_duration_since(one.since);
    let unknown = ConnectionState {
        id: one.id,
        peer: info.peer(),
        listener: info.listener.to_string(),
        protocol: Protocol::Unknown,
        doing: Doing::Reading,
        age,
        idle: age,
        served: 0,
        in_flight: 0,
    };
    let Some((protocol, flow)) = info.opened.get() else { return Some(unknown) };
    let in_flight = flow.active();
    let state = flow.state();
    Some(ConnectionState {
        protocol: *protocol,
        doing: state.doing(in_flight),
        idle: now.saturating_duration_since(state.moved),
        served: state.served,
        in_flight,
        ..unknown
    })
}

impl super::flow::State {
    /// What the connection is doing with `active` exchanges in flight.
    fn doing(&self, active: usize) -> Doing {
        let arriving = match self.reading {
            Reading::Head { .. } => self.half_head_since().is_some() || !self.ahead.is_empty(),
            Reading::Body { left } => left > 0,
            Reading::Chunked { .. } => true,
            Reading::Free => false,
        };
        // An HTTP/2 answer that is handed over whole, and for which the peer gives no window.
        let held_up = active == 0 && self.open_streams() > 0;
        if self.write_blocked.is_some() || held_up {
            Doing::Writing
        } else if arriving {
            Doing::Reading
        } else if active > 0 {
            Doing::Serving
        } else {
            Doing::Idle
        }
    }
}

impl Info {
    /// A connection from `peer` that was accepted on `listener`.
    pub(super) fn new(peer: Option<SocketAddr>, listener: Arc<str>) -> Arc<Self> {
        Arc::new(Self { peer, listener, opened: OnceLock::new() })
    }

    /// Takes note of what the first bytes said. A second time changes nothing.
    pub(super) fn opened(&self, protocol: Protocol, flow: &Arc<Flow>) {
        self.opened.get_or_init(|| (protocol, flow.clone()));
    }

    fn peer(&self) -> String {
        self.peer.map_or_else(|| "unix".into(), |peer| peer.to_string())
    }
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection from {} on {}", self.peer(), self.listener)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    fn look(tracker: &Tracker) -> (Protocol, Doing, u64, usize) {
        let all = connections(tracker);
        let one = &all[0];
        (one.protocol, one.doing, one.served, one.in_flight)
    }

    #[tokio::test]
    async fn a_connection_is_seen_from_accept_to_each_of_its_states() {
        let tracker = Tracker::awaited();
        let info = Info::new(None, "unix:/a.sock".into());
        let _guard = tracker.enter(info.clone());
        assert_eq!(look(&tracker), (Protocol::Unknown, Doing::Reading, 0, 0));
        let flow = Flow::new(Reading::fresh_head(), BytesMut::new(), Instant::now());
        info.opened(Protocol::Http1, &flow);
        assert_eq!(look(&tracker), (Protocol::Http1, Doing::Idle, 0, 0));
        flow.state().ahead.extend_from_slice(b"GE");
        assert_eq!(look(&tracker), (Protocol::Http1, Doing::Reading, 0, 0));
        flow.state().ahead.clear();
        let active = flow.begin(Reading::Body { left: 1 });
        assert_eq!(look(&tracker), (Protocol::Http1, Doing::Reading, 1, 1));
        flow.state().reading = Reading::Body { left: 0 };
        assert_eq!(look(&tracker), (Protocol::Http1, Doing::Serving, 1, 1));
        flow.state().write_blocked = Some(Instant::now());
        assert_eq!(look(&tracker), (Protocol::Http1, Doing::Writing, 1, 1));
        flow.state().write_blocked = None;
        drop(active);
        assert_eq!(look(&tracker), (Protocol::Http1, Doing::Idle, 1, 0));
    }

    #[tokio::test]
    async fn what_is_no_connection_is_not_listed() {
        let tracker = Tracker::awaited();
        let _guard = tracker.enter(Arc::new("something else"));
        assert!(connections(&tracker).is_empty());
    }

    #[test]
    fn the_name_of_a_connection_tells_peer_and_listener() {
        let info = Info::new(Some(([127, 0, 0, 1], 9).into()), "127.0.0.1:80".into());
        assert_eq!(info.to_string(), "connection from 127.0.0.1:9 on 127.0.0.1:80");
    }
}
