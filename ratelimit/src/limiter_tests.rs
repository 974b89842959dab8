use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use super::super::MOST_KEYS;
use super::*;

/// A clock that stands until it is moved.
#[derive(Clone, Debug, Default)]
struct StandingClock(Arc<AtomicU64>);

impl StandingClock {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_nanos().try_into().unwrap(), Ordering::SeqCst);
    }
}

impl Clock for StandingClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

fn burst(of: u32, refilled_in: Duration) -> Burst {
    Burst { of: of.try_into().unwrap(), refilled_in }
}

fn limiter(burst: Burst) -> (KeyedLimiter<StandingClock>, StandingClock) {
    let clock = StandingClock::default();
    (KeyedLimiter::with_clock(burst, clock.clone()), clock)
}

/// How many of so many are let through.
fn admitted(limiter: &KeyedLimiter<StandingClock>, key: RateKey<'_>, of: u32) -> u32 {
    (0..of).map(|_| u32::from(limiter.check(key).is_ok())).sum()
}

/// How many of what 64 threads ask for is let through, if each asks so often for the key that `key_of` gives it.
fn admitted_of_64(
    limiter: &KeyedLimiter<StandingClock>,
    each: u32,
    key_of: impl Fn(u32) -> RateKey<'static> + Sync,
) -> u32 {
    let all_are_here = Barrier::new(64);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..64)
            .map(|client| {
                let (all_are_here, key) = (&all_are_here, key_of(client));
                scope.spawn(move || {
                    all_are_here.wait();
                    admitted(limiter, key, each)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

#[test]
fn exactly_the_burst_of_one_key_is_let_through_to_64_clients() {
    let (limiter, clock) = limiter(burst(200, Duration::from_secs(2)));
    let one_key = |_| RateKey::V4(7);
    assert_eq!(admitted_of_64(&limiter, 100, one_key), 200);
    // 100 of them come back each second.
    for (after, let_through) in [(10, 1), (9, 0), (1, 1), (1_000, 100), (60_000, 200)] {
        clock.advance(Duration::from_millis(after));
        assert_eq!(admitted_of_64(&limiter, 10, one_key), let_through, "after {after} ms");
    }
}

#[test]
fn each_of_64_clients_has_a_burst_of_its_own() {
    let (limiter, _clock) = limiter(burst(10, Duration::from_secs(3600)));
    assert_eq!(admitted_of_64(&limiter, 100, RateKey::V4), 640);
    assert_eq!(limiter.held(), 64);
}

#[test]
fn what_is_left_and_when_there_is_more_is_exact() {
    let (limiter, clock) = limiter(burst(3, Duration::from_secs(3)));
    let check = || limiter.check(RateKey::Text(b"a"));
    for left in [2, 1, 0] {
        assert_eq!(check(), Ok(Allowed { left }));
    }
    let wait = |millis| Err(Exceeded { wait: Duration::from_millis(millis) });
    assert_eq!(check(), wait(1000));
    clock.advance(Duration::from_millis(400));
    assert_eq!(check(), wait(600));
    clock.advance(Duration::from_millis(600));
    assert_eq!(check(), Ok(Allowed { left: 0 }));
    clock.advance(Duration::from_secs(2));
    assert_eq!(check(), Ok(Allowed { left: 1 }));
}

#[test]
fn no_burst_overflows() {
    for (of, refilled_in) in
        [(u32::MAX, Duration::MAX), (1, Duration::MAX), (u32::MAX, Duration::ZERO)]
    {
        let (limiter, clock) = limiter(burst(of, refilled_in));
        assert_eq!(limiter.check(RateKey::Absent), Ok(Allowed { left: of - 1 }));
        clock.advance(LONGEST);
        assert!(limiter.check(RateKey::Absent).is_ok());
    }
}

/// So many keys, one after the other, each with one request. Gives how many are let through.
fn spray(limiter: &KeyedLimiter<StandingClock>, keys: std::ops::Range<usize>) -> usize {
    keys.filter(|key| limiter.check(RateKey::V6(*key as u64)).is_ok()).count()
}

const MANY: usize = 100_000;

#[test]
fn a_hundred_thousand_keys_are_held_each_by_itself() {
    let (limiter, _clock) = limiter(burst(1, Duration::from_secs(3600)));
    assert_eq!(spray(&limiter, 0..MANY), MANY);
    assert_eq!(limiter.held(), MANY);
    assert_eq!(spray(&limiter, 0..MANY), 0, "each has had its one");
}

/// With a table that lets a key in by forgetting another, who makes up keys has as much let through as they like, and
/// those that are forgotten too.
#[test]
fn made_up_keys_beyond_the_most_neither_switch_the_limit_off_nor_take_from_known_keys() {
    let (limiter, clock) = limiter(burst(4, Duration::from_secs(4)));
    let (known, spent) = (RateKey::V4(1), RateKey::V4(2));
    assert_eq!(admitted(&limiter, known, 1), 1);
    assert_eq!(admitted(&limiter, spent, 9), 4);
    let flood = 3 * MOST_KEYS;
    let through = spray(&limiter, 0..flood);
    assert!(limiter.held() <= MOST_KEYS);
    // Each that is held, and a burst for each of the 64 parts of the table.
    assert_eq!(through, limiter.held() - 2 + 64 * 4);
    assert_eq!(admitted(&limiter, spent, 9), 0, "it is not forgotten");
    assert_eq!(admitted(&limiter, known, 9), 3, "nothing was taken from it");
    // What is shared fills up as any other burst does.
    let newcomers = |first: usize| spray(&limiter, first..first + MANY);
    assert_eq!(newcomers(flood), 0);
    clock.advance(Duration::from_millis(999));
    assert_eq!(newcomers(flood + MANY), 0);
    clock.advance(Duration::from_millis(1));
    assert!(newcomers(flood + 2 * MANY) > 64, "by now keys have made room");
}

#[test]
fn keys_with_their_whole_burst_make_room_and_nothing_else_does() {
    let (limiter, clock) = limiter(burst(2, Duration::from_secs(2)));
    let all = MOST_KEYS;
    spray(&limiter, 0..2 * all);
    let full = limiter.held();
    assert_eq!(full, MOST_KEYS);
    assert_eq!(admitted(&limiter, RateKey::V6(0), 5), 1);
    clock.advance(Duration::from_secs(1));
    spray(&limiter, 4 * all..4 * all + MANY);
    assert!(limiter.held() <= MANY + 1, "{}", limiter.held());
    assert_eq!(admitted(&limiter, RateKey::V6(0), 5), 1, "it had one left to come, and stayed");
}
