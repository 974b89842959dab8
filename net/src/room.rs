//! Room for connections. At their limit, the one that has been idle longest makes room for who comes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use host_lifecycle::{InFlight, Phase, PhaseWatch, Tracker};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
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
    is_full: AtomicBool,
    asked: AtomicU64,
    refused: AtomicU64,
}

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
            is_full: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// A place for a connection; none during a drain, when everybody who is in is served.
    ///
    /// # Errors
    /// When there is none in time.
    pub(super) async fn place(
        self: &Arc<Self>,
        phase: &PhaseWatch,
    ) -> Result<Option<Place>, NoRoom> {
        if let Ok(permit) = self.places.clone().try_acquire_owned() {
            self.has_room();
            return Ok(Some(self.give(permit)));
        }
        self.is_full();
        let until = Instant::now() + WAIT_AT_MOST;
        let Ok(_waits) = self.waiting.try_acquire() else { return Err(self.refuse()) };
        let ask = async {
            let mut again = interval(ASK_AGAIN);
            loop {
                again.tick().await;
                self.ask_for_room();
            }
        };
        tokio::select! {
            biased;
            () = phase.reached(Phase::Draining) => Ok(None),
            permit = self.places.clone().acquire_owned() => match permit {
                Ok(permit) => Ok(Some(self.give(permit))),
                Err(_) => Err(self.refuse()),
            },
            () = sleep_until(until) => Err(self.refuse()),
            () = ask => Err(self.refuse()),
        }
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
mod tests {
    use super::super::registry::{Activity, ConnectionEntry, Standing};
    use super::*;
    use host_lifecycle::Guard;

    fn idle_from_now(tracker: &Tracker) -> (Arc<ConnectionEntry>, Guard) {
        let entry = ConnectionEntry::new(None, "test".into());
        let moved = Instant::now();
        entry.set_place(true);
        entry.publish(Standing { doing: Activity::Idle, moved, served: 1, in_flight: 0 });
        (entry.clone(), tracker.guard(entry))
    }

    async fn taken(room: &Arc<Room>, phase: &PhaseWatch) -> Place {
        room.place(phase).await.unwrap().expect("it is not draining")
    }

    /// 500 idle peers kept newcomers out for 75 s, and nothing was said of it.
    #[tokio::test(start_paused = true)]
    async fn who_comes_gets_the_place_of_who_was_idle_longest() {
        let (tracker, (_set, phase)) = (Tracker::awaited(), PhaseWatch::with_setter());
        let room = Room::new(2, tracker.clone());
        let (old, _old) = idle_from_now(&tracker);
        tokio::time::advance(Duration::from_secs(1)).await;
        let (young, _young) = idle_from_now(&tracker);
        let places = [taken(&room, &phase).await, taken(&room, &phase).await];
        let leaves = async move {
            old.room_wanted().await;
            drop(places);
        };
        let began = Instant::now();
        let (place, ()) = tokio::join!(taken(&room, &phase), leaves);
        assert_eq!(began.elapsed(), Duration::ZERO);
        let asked = tokio::time::timeout(Duration::from_secs(1), young.room_wanted()).await;
        assert!(asked.is_err(), "one is enough");
        drop(place);
    }

    /// A connection that was asked while it had something to do, and rightly stayed, was never asked again,
    /// however long it idled: newcomers got 503.
    #[tokio::test(start_paused = true)]
    async fn who_stayed_because_it_was_busy_is_asked_again_when_it_idles() {
        let (tracker, (_set, phase)) = (Tracker::awaited(), PhaseWatch::with_setter());
        let room = Room::new(1, tracker.clone());
        let (entry, _guard) = idle_from_now(&tracker);
        let place = taken(&room, &phase).await;
        let stays = async {
            entry.room_wanted().await;
            entry.declines();
            entry.room_wanted().await;
            // A request had begun, and was answered in the same turn.
            let (doing, moved) = (Activity::Idle, Instant::now());
            entry.publish(Standing { doing, moved, served: 2, in_flight: 0 });
            entry.room_wanted().await;
            drop(place);
        };
        let (refused, ()) = tokio::join!(
            async {
                assert_eq!(room.place(&phase).await.unwrap_err(), NoRoom);
                taken(&room, &phase).await
            },
            stays
        );
        drop(refused);
    }

    #[tokio::test(start_paused = true)]
    async fn without_anybody_idle_the_wait_is_bounded_and_so_is_their_number() {
        let (tracker, (set, phase)) = (Tracker::awaited(), PhaseWatch::with_setter());
        let room = Room::new(1, tracker);
        let _place = taken(&room, &phase).await;
        let began = Instant::now();
        assert_eq!(room.place(&phase).await.unwrap_err(), NoRoom);
        assert_eq!(began.elapsed(), WAIT_AT_MOST);
        let waits = room.waiting.clone().try_acquire_many_owned(128).unwrap();
        assert_eq!(room.place(&phase).await.unwrap_err(), NoRoom);
        assert_eq!(began.elapsed(), WAIT_AT_MOST, "not waited again");
        drop(waits);
        set(Phase::Draining);
        assert!(room.place(&phase).await.unwrap().is_none(), "a drain serves everybody");
    }

    #[tokio::test(start_paused = true)]
    async fn who_only_waits_for_the_end_of_its_peer_gives_its_place_away() {
        let (tracker, (_set, phase)) = (Tracker::awaited(), PhaseWatch::with_setter());
        let room = Room::new(1, tracker);
        let leaving = taken(&room, &phase).await.leave();
        let next = taken(&room, &phase).await;
        let others = room.leaving.clone().try_acquire_many_owned(127).unwrap();
        let held = next.leave();
        assert_eq!(room.places.available_permits(), 0, "too many: it keeps its place");
        drop((leaving, held, others));
        assert_eq!(room.places.available_permits(), 1);
    }
}
