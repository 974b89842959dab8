//! Who gets a place, who waits and where, on the paused clock.

use super::super::registry::{Activity, ConnectionEntry, Standing};
use super::*;
use futures_util::FutureExt as _;
use host_lifecycle::Guard;

fn idle_from_now(tracker: &Tracker) -> (Arc<ConnectionEntry>, Guard) {
    let entry = ConnectionEntry::new(None, "test".into());
    let moved = Instant::now();
    entry.set_place(true);
    entry.publish(Standing { doing: Activity::Idle, moved, served: 1, in_flight: 0 });
    (entry.clone(), tracker.guard(entry))
}

async fn taken(room: &Arc<Room>, phase: &PhaseWatch) -> Place {
    room.turn_now().place(phase).await.unwrap().expect("it is not draining")
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
            assert_eq!(room.turn_now().place(&phase).await.unwrap_err(), NoRoom);
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
    assert_eq!(room.turn_now().place(&phase).await.unwrap_err(), NoRoom);
    assert_eq!(began.elapsed(), WAIT_AT_MOST);
    let waits = room.waiting.clone().try_acquire_many_owned(128).unwrap();
    assert_eq!(room.turn_now().place(&phase).await.unwrap_err(), NoRoom);
    assert_eq!(began.elapsed(), WAIT_AT_MOST, "not waited again");
    drop(waits);
    set(Phase::Draining);
    assert!(room.turn_now().place(&phase).await.unwrap().is_none(), "a drain serves everybody");
}

/// They were taken out of the kernel's queue and refused, while places came free.
#[tokio::test(start_paused = true)]
async fn who_comes_waits_in_the_kernel_while_those_before_it_get_places() {
    let (tracker, (_set, phase)) = (Tracker::awaited(), PhaseWatch::with_setter());
    let room = Room::new(1, tracker);
    let place = taken(&room, &phase).await;
    let mut waiting = Vec::new();
    for _ in 0..WAITING_AT_MOST {
        let turn = room.turn().now_or_never().expect("so many may wait here");
        let phase = phase.clone();
        waiting.push(tokio::spawn(async move { turn.place(&phase).await }));
    }
    let mut next = std::pin::pin!(room.turn());
    assert!(next.as_mut().now_or_never().is_none(), "the others wait in the kernel");
    drop(place);
    let first = waiting.remove(0).await.unwrap().expect("it was its turn");
    let turn = next.await;
    assert!(matches!(turn.may_wait, MayWait::Waits { .. }), "one may wait in its stead");
    // Nobody leaves any more: those that have waited are refused, and who comes is told at once.
    for one in waiting {
        assert_eq!(one.await.unwrap().unwrap_err(), NoRoom);
    }
    let others = room.waiting.clone().try_acquire_many_owned(127).unwrap();
    let told = room.turn().now_or_never().expect("it is taken out to be told");
    assert_eq!(told.place(&phase).now_or_never().unwrap().unwrap_err(), NoRoom);
    drop((first, others));
    turn.place(&phase).await.expect("there is room");
    assert!(!*room.is_stuck.borrow());
}

#[tokio::test(start_paused = true)]
async fn places_are_wanted_while_somebody_waits_for_one() {
    let (tracker, (_set, phase)) = (Tracker::awaited(), PhaseWatch::with_setter());
    let room = Room::new(1, tracker);
    let place = taken(&room, &phase).await;
    assert!(!room.is_wanted(), "who is in may stay");
    let mut waits = std::pin::pin!(room.turn_now().place(&phase));
    assert!(waits.as_mut().now_or_never().is_none() && room.is_wanted());
    drop(place);
    let place = waits.await.unwrap();
    assert!(!room.is_wanted());
    drop(place);
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

/// Two listeners each took one for the only place that was free. Of those who came, the first two were refused at once,
/// and 126 behind them waited.
#[tokio::test(start_paused = true)]
async fn who_came_when_there_was_a_place_waits_where_another_was_quicker() {
    let (tracker, (set, phase)) = (Tracker::awaited(), PhaseWatch::with_setter());
    let room = Room::new(1, tracker);
    let first = room.turn().await;
    assert!(matches!(first.may_wait, MayWait::Displaced { .. }));
    let quicker = room.turn().await;
    assert!(matches!(quicker.may_wait, MayWait::Waits { .. }), "the place is promised already");
    let place = quicker.place(&phase).await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..WAITING_AT_MOST {
        waiting.push(room.turn().await);
    }
    let mut first = Box::pin(first.place(&phase));
    assert!(first.as_mut().now_or_never().is_none(), "it waits");
    drop(place);
    let place = first.await.unwrap().expect("its turn");
    assert_eq!(room.coming.load(Ordering::Relaxed), 0);
    // Whoever is taken out of the kernel's queue behind a closed door is served, however many wait.
    assert_eq!(room.turn_now().place(&phase).await.unwrap_err(), NoRoom);
    set(Phase::Draining);
    assert!(room.turn_now().place(&phase).await.unwrap().is_none());
    drop((place, waiting));
}
