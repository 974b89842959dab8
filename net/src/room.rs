//! Room for connections. At their limit, the one that has been idle longest makes room for who comes. Where none is
//! idle, clients are told to leave with their answers, and who comes waits in the queue of the kernel. Where no room is
//! made, they are refused.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use host_lifecycle::{InFlight, Phase, PhaseWatch, Tracker};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, interval, sleep_until};
use tracing::{info, warn};

use super::registry;
use super::tls::HalfOpen;

/// A newcomer waits this long for a place, and is refused then: longer than an idle connection needs to
/// leave, and short enough for its peer to try elsewhere.
const WAIT_AT_MOST: Duration = Duration::from_secs(2);

/// Who was asked to make room and has begun a request instead stays. So another one is asked, but not
/// before a peer of HTTP/2 that answers no PING has been left: that would turn out more than come.
const ASK_AGAIN: Duration = Duration::from_millis(1100);

/// Newcomers that wait at once. Each holds a descriptor beyond the limit.
const WAITING_AT_MOST: usize = 128;

/// Connections that have been left and only wait for their peer's FIN, and do not count any more.
const LEAVING_AT_MOST: usize = 128;

/// Peers that are told over TLS at once that there is no room: each of them costs a handshake.
const TOLD_OVER_TLS: usize = 32;

/// How many are looked up in one go: looking walks all connections.
const IDLE_ONES: usize = 64;

/// The places that connections of all listeners share.
#[derive(Debug)]
pub struct Room {
    places: Arc<Semaphore>,
    limit: usize,
    waiting: Arc<Semaphore>,
    leaving: Arc<Semaphore>,
    telling: Semaphore,
    half_open: HalfOpen,
    connections: Tracker,
    /// Who makes room next. Only looked at when there is none.
    idle: Mutex<VecDeque<(InFlight, Instant)>>,
    /// Newcomers that wait for a place.
    wanted: Arc<AtomicUsize>,
    /// Turns for which there was a place and that have not come to it yet.
    coming: Arc<AtomicUsize>,
    is_full: AtomicBool,
    /// Whether the last newcomer that waited has waited in vain.
    is_stuck: watch::Sender<bool>,
    asked: AtomicU64,
    refused: AtomicU64,
}

/// The turn of one newcomer to ask for a place. Dropping it lets the next one ask.
#[derive(Debug)]
pub(super) struct Turn {
    room: Arc<Room>,
    may_wait: MayWait,
}

/// Whether a newcomer may wait where there is no place.
#[derive(Debug)]
enum MayWait {
    /// There was one for it when it came, and somebody was quicker.
    Displaced { _coming: Counted },
    /// As one of those who wait.
    Waits { _permit: OwnedSemaphorePermit },
    /// Only if fewer wait than may.
    IfFewWait,
}

impl MayWait {
    fn waits(permit: OwnedSemaphorePermit) -> Self {
        Self::Waits { _permit: permit }
    }
}

/// One of so many, as long as this lives.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

/// The place of one connection. Dropping it gives the place to another one.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    _permit: OwnedSemaphorePermit,
}

/// There was no place in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Room {
    /// Room for `limit` of the `connections`.
    #[must_use]
    pub fn new(limit: usize, connections: Tracker) -> Arc<Self> {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Arc::new(Self {
            places: semaphore(limit.min(Semaphore::MAX_PERMITS)),
            limit,
            waiting: semaphore(WAITING_AT_MOST),
            leaving: semaphore(LEAVING_AT_MOST),
            telling: Semaphore::new(TOLD_OVER_TLS),
            // So a flood of handshakes turns out no connection that has been served, as long as those are no more.
            half_open: HalfOpen::new(limit / 2),
            connections,
            idle: Mutex::default(),
            wanted: Arc::default(),
            coming: Arc::default(),
            is_full: AtomicBool::new(false),
            is_stuck: watch::Sender::new(false),
            asked: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Waits until a newcomer may be taken from the kernel's queue: while others wait here for a place, and get one,
    /// those behind them wait there. Cancel-safe.
    pub(super) async fn turn(self: &Arc<Self>) -> Turn {
        if let Some(coming) = self.comes_to_a_place() {
            return Turn { room: self.clone(), may_wait: MayWait::Displaced { _coming: coming } };
        }
        let mut stuck = self.is_stuck.subscribe();
        let waits = tokio::select! {
            biased;
            waits = self.waiting.clone().acquire_owned() => waits.ok(),
            // Who comes has to be told. The sender is ours.
            _ = stuck.wait_for(|stuck| *stuck) => None,
        };
        let may_wait = waits.map_or(MayWait::IfFewWait, MayWait::waits);
        Turn { room: self.clone(), may_wait }
    }

    /// None where as many come already as there are places: whoever is next comes as one who waits.
    fn comes_to_a_place(&self) -> Option<Counted> {
        let coming = Counted::new(&self.coming);
        let all = self.coming.load(Ordering::Relaxed);
        (all <= self.places.available_permits()).then_some(coming)
    }

    /// The turn of one that is here, whoever waits.
    pub(super) fn turn_now(self: &Arc<Self>) -> Turn {
        Turn { room: self.clone(), may_wait: MayWait::IfFewWait }
    }

    /// A place for one that is served already, if there is one.
    pub(super) fn place_now(self: &Arc<Self>) -> Option<Place> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        Some(self.give(permit))
    }

    /// Whether anybody waits for a place: whoever is answered now had better leave.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) > 0
    }

    /// Handshakes under way: as many as half of the connections.
    pub(super) fn half_open(&self) -> &HalfOpen {
        &self.half_open
    }

    /// A turn to tell a peer over TLS that there is no room; none where too many are told so.
    pub(super) fn tells_over_tls(&self) -> Option<SemaphorePermit<'_>> {
        self.telling.try_acquire().ok()
    }

    fn give(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        if self.is_full.load(Ordering::Relaxed) {
            self.is_stuck.send_if_modified(std::mem::take);
        }
        Place { room: self.clone(), _permit: permit }
    }

    /// Asks who has been idle longest, and still is.
    fn ask_for_room(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // What is left of an earlier look may all be busy by now.
        if !self.asks_one_of(&mut idle) {
            idle.extend(registry::idle_longest(&self.connections, IDLE_ONES));
            self.asks_one_of(&mut idle);
        }
    }

    /// Asks the first who still is idle. Gives whether there was one.
    fn asks_one_of(&self, idle: &mut VecDeque<(InFlight, Instant)>) -> bool {
        while let Some((one, since)) = idle.pop_front() {
            if let Some(entry) = registry::entry(&one)
                && entry.idle_since() == Some(since)
            {
                entry.ask_for_room();
                self.asked.fetch_add(1, Ordering::Relaxed);
                return true;
            }
        }
        false
    }

    /// There was no place for who has waited all its time.
    fn refuse_late(&self) -> NoRoom {
        self.is_stuck.send_replace(true);
        self.refuse()
    }

    fn refuse(&self) -> NoRoom {
        self.refused.fetch_add(1, Ordering::Relaxed);
        NoRoom
    }

    /// Said once, until there is room again.
    fn is_full(&self) {
        if !self.is_full.swap(true, Ordering::Relaxed) {
            let limit = self.limit;
            warn!(
                limit,
                "as many connections as there may be (max-connections): who has been idle longest \
                 makes room for who comes"
            );
        }
    }

    /// An eighth of the places is free again.
    fn has_room(&self) {
        if self.is_full.load(Ordering::Relaxed)
            && self.places.available_permits() >= self.limit.div_ceil(8)
            && self.is_full.swap(false, Ordering::Relaxed)
        {
            let made_room = self.asked.swap(0, Ordering::Relaxed);
            let refused = self.refused.swap(0, Ordering::Relaxed);
            info!(made_room, refused, "there is room for connections again");
        }
    }
}

impl Turn {
    /// A place for a connection; none during a drain, when everybody who is in is served.
    ///
    /// # Errors
    /// When there is none in time.
    pub(super) async fn place(self, phase: &PhaseWatch) -> Result<Option<Place>, NoRoom> {
        let Self { room, may_wait } = self;
        if let Ok(permit) = room.places.clone().try_acquire_owned() {
            room.has_room();
            return Ok(Some(room.give(permit)));
        }
        if phase.now() >= Phase::Draining {
            return Ok(None);
        }
        let _wanted = Counted::new(&room.wanted);
        room.is_full();
        let until = Instant::now() + WAIT_AT_MOST;
        let may_wait = match may_wait {
            MayWait::IfFewWait => room.waiting.clone().try_acquire_owned().ok().map(MayWait::waits),
            may_wait => Some(may_wait),
        };
        let Some(_may_wait) = may_wait else { return Err(room.refuse()) };
        let ask = async {
            let mut again = interval(ASK_AGAIN);
            loop {
                again.tick().await;
                room.ask_for_room();
            }
        };
        tokio::select! {
            biased;
            () = phase.reached(Phase::Draining) => Ok(None),
            permit = room.places.clone().acquire_owned() => match permit {
                Ok(permit) => Ok(Some(room.give(permit))),
                Err(_) => Err(room.refuse()),
            },
            () = sleep_until(until) => Err(room.refuse_late()),
            () = ask => Err(room.refuse()),
        }
    }
}

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Place {
    /// The connection is over but for its peer's FIN. It does not count any more, unless too many wait
    /// for that. What this gives is held until then.
    pub(super) fn leave(self) -> Leaving {
        match self.room.leaving.clone().try_acquire_owned() {
            Ok(permit) => Leaving::Beside { _permit: permit },
            Err(_) => Leaving::InPlace { _place: self },
        }
    }
}

/// What a connection holds while it waits for its peer's FIN.
#[derive(Debug)]
pub(super) enum Leaving {
    Beside { _permit: OwnedSemaphorePermit },
    InPlace { _place: Place },
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;
