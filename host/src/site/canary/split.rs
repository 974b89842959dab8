//! Which of two generations an exchange runs on.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use host_manifest::{Stickiness, TrafficShare};
use host_shards::{OwnLines, Sharded};
use http::HeaderMap;

/// Draws for each exchange whether it runs on the candidate.
///
/// The draws of a thread are the fractions of the multiples of the golden ratio: of any `n` exchanges in a row the
/// candidate gets its share to within four, and no rhythm of clients falls in with it, as it would if every twentieth
/// exchange were the candidate's. Threads have nothing in common.
#[derive(Debug)]
pub(in crate::site) struct TrafficSplit {
    /// Draws below this are the candidate's; [`u64::MAX`] for all.
    share: AtomicU64,
    sticky: Stickiness,
    turns: Sharded<OwnLines<AtomicU64>>,
    /// Keyed, so that no client can choose its draw.
    hasher: RandomState,
}

/// What another exchange of the same client has too.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// A random number of its connection.
    pub connection: u64,
    /// Headers of the request.
    pub headers: &'a HeaderMap,
}

/// What was drawn for an exchange. It holds while the exchange waits, and is looked at when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw(u64);

/// The golden ratio's fraction, of 2^64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A thread begins with exchanges of the current generation: there must be something to compare with.
const FIRST: u64 = 1 << 59;

impl TrafficSplit {
    /// The candidate gets nothing yet.
    pub(super) fn new(sticky: Stickiness) -> Self {
        let mut start = FIRST;
        let turns = Sharded::new(|| {
            // Apart, so that threads do not come to the candidate together.
            let turn = OwnLines(AtomicU64::new(start));
            start = start.wrapping_add(2 * FIRST);
            turn
        });
        Self { share: AtomicU64::new(0), sticky, turns, hasher: RandomState::new() }
    }

    /// The candidate gets this share of what begins from now on.
    pub(super) fn set(&self, share: TrafficShare) {
        self.share.store(bound(share), Ordering::Relaxed);
    }

    /// Draws for an exchange.
    pub(in crate::site) fn draw(&self, visitor: &Visitor<'_>) -> Draw {
        let value = match &self.sticky {
            Stickiness::Off => None,
            Stickiness::Connection => Some(visitor.connection),
            Stickiness::Header(name) => {
                visitor.headers.get(name).map(|value| self.hasher.hash_one(value.as_bytes()))
            }
        };
        Draw(value.unwrap_or_else(|| self.turns.mine().fetch_add(GOLDEN, Ordering::Relaxed)))
    }

    /// Whether an exchange with this draw runs on the candidate.
    pub(in crate::site) fn is_candidates(&self, Draw(value): Draw) -> bool {
        let share = self.share.load(Ordering::Relaxed);
        value < share || share == u64::MAX
    }
}

impl Draw {
    /// That of an exchange which came when there was no candidate.
    pub(in crate::site) const NONE: Self = Self(u64::MAX - 1);
}

/// Below which draws this share lies.
fn bound(share: TrafficShare) -> u64 {
    if share == TrafficShare::ALL {
        return u64::MAX;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of less than 1 of 2^64"
    )]
    let bound = (share.part() * 2_f64.powi(64)) as u64;
    bound
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn share(text: &str) -> TrafficShare {
        text.parse().unwrap()
    }

    fn draws(split: &TrafficSplit, headers: &HeaderMap) -> Draw {
        split.draw(&Visitor { connection: 7, headers })
    }

    #[test]
    fn the_candidate_gets_its_share_whatever_the_rhythm_of_clients() {
        let none = HeaderMap::new();
        for text in ["0.1%", "1%", "5%", "12.5%", "33.33%", "50%"] {
            let split = TrafficSplit::new(Stickiness::Off);
            split.set(share(text));
            // A client that asks for twenty pages in turn.
            let mut pages = [0_u32; 20];
            let mut got = 0;
            for number in 0..20_000_u32 {
                let hit = split.is_candidates(draws(&split, &none));
                got += u32::from(hit);
                pages[(number % 20) as usize] += u32::from(hit);
                let wanted = f64::from(number + 1) * share(text).part();
                assert!((f64::from(got) - wanted).abs() < 4.0, "{text}: {got} of {number}");
            }
            let wanted = 1000.0 * share(text).part();
            for page in pages {
                assert!(
                    (f64::from(page) - wanted).abs() < 3.0 + wanted / 10.0,
                    "{text}: {pages:?}"
                );
            }
        }
    }

    #[test]
    fn a_share_goes_from_nothing_to_all() {
        let (split, none) = (TrafficSplit::new(Stickiness::Off), HeaderMap::new());
        let hits = || (0..1000).filter(|_| split.is_candidates(draws(&split, &none))).count();
        assert_eq!(hits(), 0);
        split.set(TrafficShare::ALL);
        assert_eq!(hits(), 1000);
        assert!(split.is_candidates(Draw::NONE));
        split.set(share("50%"));
        assert!(!split.is_candidates(Draw::NONE), "what came before there was a candidate");
        split.set(TrafficShare::NONE);
        assert_eq!(hits(), 0);
    }

    #[test]
    fn a_visitor_that_has_come_to_the_candidate_stays_while_the_share_grows() {
        let split = TrafficSplit::new(Stickiness::Header("x-user".parse().unwrap()));
        let users: Vec<HeaderMap> = (0..1000)
            .map(|user| {
                let mut headers = HeaderMap::new();
                headers.insert("x-user", HeaderValue::from(user));
                headers
            })
            .collect();
        let mut before = vec![false; users.len()];
        for text in ["1%", "5%", "10%", "20%", "40%"] {
            split.set(share(text));
            let now: Vec<bool> =
                users.iter().map(|user| split.is_candidates(draws(&split, user))).collect();
            assert!(before.iter().zip(&now).all(|(before, now)| *now || !before), "{text}");
            before = now;
        }
        let got = before.iter().filter(|hit| **hit).count();
        assert!((300..500).contains(&got), "{got} of 1000 users at 40%");
        // A request without the header is drawn by itself.
        let none = HeaderMap::new();
        assert_ne!(draws(&split, &none), draws(&split, &none));
        let split = TrafficSplit::new(Stickiness::Connection);
        assert_eq!(draws(&split, &none), Draw(7));
    }
}
