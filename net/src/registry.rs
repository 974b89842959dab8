//! The registry's entry of a connection, and what is read off it: who is here and what it is doing.
//!
//! A connection says after each of its turns what it is doing; the registry only reads that. The one thing
//! that goes the other way is the wish that a connection may make room.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use host_lifecycle::{InFlight, Tracker};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The first request of a connection may still be on its way for so long.
const FRESH: Duration = Duration::from_secs(1);

/// What the registry knows of a connection, from accept on. Made by the acceptor, shared by the
/// connection's task and its guard; whoever lists the registry may keep it for a moment longer.
#[derive(Debug)]
pub(super) struct ConnectionEntry {
    /// None where peers have no address: a Unix socket.
    peer: Option<SocketAddr>,
    /// What a proxy has said in its place.
    named: OnceLock<Option<SocketAddr>>,
    listener: Arc<str>,
    accepted: Instant,
    protocol: AtomicU8,
    /// The version of TLS, once its handshake is done.
    tls: OnceLock<&'static str>,
    doing: AtomicU8,
    served: AtomicU64,
    in_flight: AtomicUsize,
    /// Milliseconds after `accepted`.
    moved: AtomicU64,
    /// Whether it has one of the places of [`super::Room`], and so could give it away.
    has_place: AtomicBool,
    /// It was asked to make room, and has neither declined nor done anything since: once is enough.
    asked: AtomicBool,
    /// Another process goes on with it, and it only waits to be sent there.
    gone: AtomicBool,
    call: Notify,
}

/// What a connection is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// A newcomer wants its place.
    MakeRoom,
    /// Another process goes on with it, once it is idle.
    GoOver,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionProtocol {
    /// Its first bytes have not said yet.
    #[default]
    Unknown,
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// The TLS handshake is not done yet.
    Handshake,
    /// Kept alive; nothing has begun and nothing is owed.
    Idle,
    /// A request's head or body is arriving, or the first one is waited for.
    #[default]
    Reading,
    /// An exchange is in flight, and its request is here.
    Serving,
    /// Bytes of an answer are ready, and the peer takes none.
    Writing,
}

/// What a connection says of itself after a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) doing: Activity,
    /// When a byte last went either way.
    pub(super) moved: Instant,
    pub(super) served: u64,
    pub(super) in_flight: usize,
}

/// One connection at the moment of looking.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Its number in the registry, which the log uses too.
    pub id: u64,
    /// The peer's address; `unix` where peers have none.
    pub peer: String,
    /// The address on which it was accepted, as the ready line prints it.
    pub listener: String,
    /// What it speaks.
    pub protocol: ConnectionProtocol,
    /// The version of TLS below that; none over a plain connection.
    pub tls: Option<&'static str>,
    /// What it is doing.
    pub doing: Activity,
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
pub fn connections(tracker: &Tracker) -> Vec<ConnectionInfo> {
    let now = Instant::now();
    let info = |one: &InFlight| entry(one).map(|entry| entry.info(one.id, now));
    tracker.list().iter().filter_map(info).collect()
}

/// The idle connections that are registered in `tracker`, the one that has been idle longest first, `most`
/// at most.
pub(super) fn idle_longest(tracker: &Tracker, most: usize) -> Vec<(InFlight, Instant)> {
    let mut idle: Vec<_> = tracker
        .list()
        .into_iter()
        .filter_map(|one| {
            let since = entry(&one)?.idle_since()?;
            Some((one, since))
        })
        .collect();
    idle.sort_by_key(|(_, since)| *since);
    idle.truncate(most);
    idle
}

/// None for what is no connection of ours.
pub(super) fn entry(one: &InFlight) -> Option<&ConnectionEntry> {
    let name: &dyn Any = &*one.name;
    name.downcast_ref()
}

impl ConnectionEntry {
    /// A connection from `peer` that was accepted on `listener`.
    pub(super) fn new(peer: Option<SocketAddr>, listener: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            peer,
            named: OnceLock::new(),
            listener,
            accepted: Instant::now(),
            protocol: AtomicU8::new(ConnectionProtocol::default() as u8),
            tls: OnceLock::new(),
            doing: AtomicU8::new(Activity::default() as u8),
            served: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            moved: AtomicU64::new(0),
            has_place: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            call: Notify::new(),
        })
    }

    /// Takes note of whether it has a place among the connections.
    pub(super) fn set_place(&self, has_place: bool) {
        self.has_place.store(has_place, Ordering::Relaxed);
    }

    /// Takes note of what the first bytes said.
    pub(super) fn speaks(&self, protocol: ConnectionProtocol) {
        self.protocol.store(protocol as u8, Ordering::Relaxed);
    }

    /// Takes note of whether the TLS handshake is under way.
    pub(super) fn shakes_hands(&self, yes: bool) {
        let doing = if yes { Activity::Handshake } else { Activity::Reading };
        self.doing.store(doing as u8, Ordering::Relaxed);
    }

    /// Takes note of the version of TLS.
    pub(super) fn set_tls(&self, version: &'static str) {
        // It is said once.
        self.tls.set(version).ok();
    }

    /// Takes note of what the connection is doing.
    pub(super) fn publish(&self, standing: Standing) {
        let moved = standing.moved.saturating_duration_since(self.accepted).as_millis();
        self.moved.store(u64::try_from(moved).unwrap_or(u64::MAX), Ordering::Relaxed);
        let served = self.served.swap(standing.served, Ordering::Relaxed);
        if served != standing.served || standing.doing != Activity::Idle {
            self.declines();
        }
        self.in_flight.store(standing.in_flight, Ordering::Relaxed);
        self.doing.store(standing.doing as u8, Ordering::Relaxed);
    }

    /// The address on which it was accepted.
    pub(super) fn listener(&self) -> Arc<str> {
        self.listener.clone()
    }

    /// Exchanges that have begun on it.
    pub(super) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Since when the connection has been idle, if it is and has a place to give away for which it was not
    /// asked yet: kept alive, or silent since it was accepted.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_silent =
            self.protocol() == ConnectionProtocol::Unknown && self.accepted.elapsed() > FRESH;
        let is_idle = is_silent || self.doing() == Activity::Idle;
        let is_asked = self.asked.load(Ordering::Relaxed);
        (self.has_place.load(Ordering::Relaxed) && is_idle && !is_asked).then(|| self.moved())
    }

    /// Asks the connection to make room, unless a request has begun on it.
    pub(super) fn ask_for_room(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.call.notify_one();
    }

    /// Tells the connection that another process goes on with it.
    pub(super) fn tell_to_go_over(&self) {
        self.call.notify_one();
    }

    /// The connection stays: it may be asked again.
    pub(super) fn declines(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    /// Takes note of whether it only waits to be sent to another process.
    pub(super) fn set_gone(&self, gone: bool) {
        self.gone.store(gone, Ordering::Relaxed);
    }

    /// Whether it is one that could go over, and has not. TLS keeps it here.
    pub(super) fn is_to_go_over(&self) -> bool {
        self.doing() == Activity::Idle
            && self.protocol() == ConnectionProtocol::Http1
            && self.tls.get().is_none()
            && !self.gone.load(Ordering::Relaxed)
    }

    /// Waits until somebody asks this connection to make room. Cancel-safe.
    pub(super) async fn room_wanted(&self) {
        while self.called().await != Call::MakeRoom {}
    }

    /// Waits until somebody calls this connection for something. Cancel-safe.
    pub(super) async fn called(&self) -> Call {
        self.call.notified().await;
        if self.asked.load(Ordering::Relaxed) { Call::MakeRoom } else { Call::GoOver }
    }

    fn doing(&self) -> Activity {
        let doing = self.doing.load(Ordering::Relaxed);
        use Activity::{Handshake, Idle, Reading, Serving, Writing};
        [Handshake, Idle, Reading, Serving, Writing]
            .into_iter()
            .find(|one| *one as u8 == doing)
            .unwrap_or_default()
    }

    fn protocol(&self) -> ConnectionProtocol {
        let protocol = self.protocol.load(Ordering::Relaxed);
        [ConnectionProtocol::Unknown, ConnectionProtocol::Http1, ConnectionProtocol::Http2]
            .into_iter()
            .find(|one| *one as u8 == protocol)
            .unwrap_or_default()
    }

    fn moved(&self) -> Instant {
        self.accepted + Duration::from_millis(self.moved.load(Ordering::Relaxed))
    }

    fn info(&self, id: u64, now: Instant) -> ConnectionInfo {
        ConnectionInfo {
            id,
            peer: self.peer(),
            listener: self.listener.to_string(),
            protocol: self.protocol(),
            tls: self.tls.get().copied(),
            doing: self.doing(),
            age: now.saturating_duration_since(self.accepted),
            idle: now.saturating_duration_since(self.moved()),
            served: self.served(),
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }

    /// A proxy has said that its client has this address.
    pub(super) fn set_address(&self, address: Option<SocketAddr>) {
        // It says so once.
        self.named.set(address).ok();
    }

    /// The peer's address; none on a Unix socket.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.named.get().copied().unwrap_or(self.peer)
    }

    fn peer(&self) -> String {
        self.address().map_or_else(|| "unix".into(), |peer| peer.to_string())
    }
}

impl fmt::Display for ConnectionEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection from {} on {}", self.peer(), self.listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(doing: Activity, moved: Instant) -> Standing {
        Standing { doing, moved, served: 3, in_flight: 1 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_listed_as_it_last_said() {
        let tracker = Tracker::awaited();
        let entry = ConnectionEntry::new(None, "unix:/a.sock".into());
        let _guard = tracker.guard(entry.clone());
        let all = connections(&tracker);
        assert_eq!(
            (all[0].protocol, all[0].doing),
            (ConnectionProtocol::Unknown, Activity::Reading)
        );
        entry.speaks(ConnectionProtocol::Http2);
        for doing in [Activity::Idle, Activity::Reading, Activity::Serving, Activity::Writing] {
            entry.publish(standing(doing, Instant::now()));
            let one = &connections(&tracker)[0];
            assert_eq!((one.protocol, one.doing), (ConnectionProtocol::Http2, doing));
            assert_eq!((one.served, one.in_flight, one.idle), (3, 1, Duration::ZERO));
        }
    }

    #[tokio::test]
    async fn what_is_no_connection_is_not_listed() {
        let tracker = Tracker::awaited();
        let _guard = tracker.guard(Arc::new("something else"));
        assert!(connections(&tracker).is_empty());
        assert!(idle_longest(&tracker, 1).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_has_been_idle_longest_comes_first_and_who_is_at_work_not_at_all() {
        let tracker = Tracker::awaited();
        let registered = |doing, after: u64| {
            let entry = ConnectionEntry::new(None, after.to_string().into());
            entry.speaks(ConnectionProtocol::Http1);
            entry.set_place(true);
            entry.publish(standing(doing, entry.accepted + Duration::from_secs(after)));
            tracker.guard(entry)
        };
        let _guards = [
            registered(Activity::Idle, 3),
            registered(Activity::Serving, 1),
            registered(Activity::Idle, 2),
            registered(Activity::Idle, 4),
        ];
        let named: Vec<_> = idle_longest(&tracker, 2)
            .iter()
            .map(|(one, _)| entry(one).unwrap().listener.to_string())
            .collect();
        assert_eq!(named, ["2", "3"]);
    }

    #[test]
    fn the_name_of_a_connection_tells_peer_and_listener() {
        let entry = ConnectionEntry::new(Some(([127, 0, 0, 1], 9).into()), "127.0.0.1:80".into());
        assert_eq!(entry.to_string(), "connection from 127.0.0.1:9 on 127.0.0.1:80");
    }
}
