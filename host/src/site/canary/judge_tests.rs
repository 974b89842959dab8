//! How often the judge is wrong, by dice that fall the same way each time.

use super::*;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    /// A number from 0 to 1.
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let word = u32::try_from((word ^ (word >> 31)) >> 32).unwrap();
        f64::from(word) / 4_294_967_296.0
    }
}

/// How a version behaves.
#[derive(Clone, Copy)]
struct Behaviour {
    /// The part of its requests that fail.
    fails: f64,
    /// The mean of its durations, which are exponential, in milliseconds.
    takes: f64,
}

impl Behaviour {
    const GOOD: Self = Self { fails: 0.0, takes: 10.0 };

    fn serve(self, dice: &mut Dice, traffic: &mut ComparedTraffic) {
        traffic.requests += 1;
        if dice.roll() < self.fails {
            traffic.errors += 1;
            return;
        }
        let millis = -self.takes * (1.0 - dice.roll()).ln();
        traffic.took.observe(Duration::from_secs_f64(millis / 1e3));
    }
}

fn rules(text: &str) -> AbortRules {
    text.parse().unwrap()
}

/// Requests of the new version until it is found worse, at this share of the traffic. None if it is not, in so many.
fn convicted(seed: u64, (new, old): (Behaviour, Behaviour), share: f64, most: u64) -> Option<u64> {
    let (rules, mut dice) = (rules("errors > 1%, p99 > 2x"), Dice(seed << 32));
    let (mut on_new, mut on_old) = (ComparedTraffic::default(), ComparedTraffic::default());
    while on_new.requests < most {
        if dice.roll() >= share {
            old.serve(&mut dice, &mut on_old);
            continue;
        }
        new.serve(&mut dice, &mut on_new);
        if matches!(judge(&rules, &on_new, &on_old, false), Verdict::Worse(_)) {
            return Some(on_new.requests);
        }
    }
    None
}

/// A look after each of 500 requests, for each of 400 pairs of equal versions: with a test for one look, a third of
/// them would be found different.
#[test]
fn a_version_that_is_no_worse_is_hardly_ever_found_worse() {
    for fails in [0.0, 0.005, 0.01, 0.05, 0.5, 1.0] {
        for share in [0.05, 0.4] {
            let same = Behaviour { fails, ..Behaviour::GOOD };
            let runs = 100;
            let wrong =
                (0..runs).filter(|seed| convicted(*seed, (same, same), share, 300).is_some());
            assert_eq!(wrong.count(), 0, "of {runs}, where both fail {fails} at {share}");
        }
    }
    let better =
        (Behaviour { fails: 0.1, ..Behaviour::GOOD }, Behaviour { fails: 0.3, takes: 30.0 });
    assert_eq!(convicted(1, better, 0.2, 1000), None, "it is better");
}

/// Prints how many requests it takes; `docs/swapping.md` has the medians.
#[test]
#[expect(clippy::print_stdout, reason = "the figures of a document")]
fn a_version_that_is_worse_is_found_the_sooner_the_worse_it_is() {
    for (share, fails, takes, most) in [
        (0.01, 1.0, 10.0, 3),
        (0.05, 1.0, 10.0, 5),
        (0.05, 0.5, 10.0, 12),
        (0.05, 0.2, 10.0, 60),
        (0.05, 0.1, 10.0, 150),
        (0.05, 0.05, 10.0, 400),
        (0.05, 0.0, 100.0, 120),
        (0.05, 0.0, 40.0, 400),
    ] {
        let worse = (Behaviour { fails, takes }, Behaviour::GOOD);
        let mut found: Vec<u64> =
            (0..21).map(|seed| convicted(seed, worse, share, 2000).unwrap_or(u64::MAX)).collect();
        found.sort_unstable();
        let (median, last) = (found[10], found[20]);
        println!(
            "{share}: fails {fails}, takes {takes} ms for 10: found after {median}, at most {last}"
        );
        assert!(median <= most, "fails {fails}, takes {takes}: after {median} requests");
        assert!(last < u64::MAX, "fails {fails}, takes {takes}: not found in 2000 requests");
    }
}

fn traffic(requests: u64, errors: u64, millis: u64) -> ComparedTraffic {
    let mut traffic = ComparedTraffic { requests, errors, ..ComparedTraffic::default() };
    for _ in 0..requests - errors {
        traffic.took.observe(Duration::from_millis(millis));
    }
    traffic
}

#[test]
fn what_is_wrong_with_both_is_no_fault_of_the_new_one() {
    let judge = |new: &ComparedTraffic, old: &ComparedTraffic| {
        judge(&rules("errors > 1%, p99 > 2x, p50 > 20ms"), new, old, false)
    };
    assert_eq!(judge(&traffic(200, 200, 10), &traffic(1000, 1000, 10)), Verdict::Fine);
    assert_eq!(judge(&traffic(200, 0, 100), &traffic(1000, 0, 100)), Verdict::Fine);
    assert_eq!(judge(&traffic(200, 0, 10), &traffic(1000, 500, 10)), Verdict::Fine);
    assert_eq!(judge(&traffic(200, 200, 10), &ComparedTraffic::default()), Verdict::Fine);
}

#[test]
fn a_reason_says_what_was_seen() {
    let old = traffic(300, 0, 10);
    for (new, cold, says) in [
        (traffic(3, 3, 0), true, "errors > 1%: 3 of 3 failed, of the version before 0 of 300"),
        (
            traffic(200, 0, 100),
            false,
            "p99 > 2x: 200 of 200 took longer than 20ms, of the version before 0 of 300",
        ),
    ] {
        let Verdict::Worse(reason) = judge(&rules("errors > 1%, p99 > 2x"), &new, &old, cold)
        else {
            panic!("it is worse: {says}");
        };
        let (said, _) = says.split_once(" took").unwrap_or((says, ""));
        assert!(reason.to_string().starts_with(said), "{reason}");
    }
}

#[test]
fn durations_are_judged_when_there_are_enough_and_the_generation_is_warm() {
    let rule = rules("p99 > 2x");
    let old = traffic(1000, 0, 10);
    assert_eq!(judge(&rule, &traffic(99, 0, 500), &old, false), Verdict::Fine, "too few");
    assert_eq!(judge(&rule, &traffic(200, 0, 500), &old, true), Verdict::Fine, "it is cold");
    assert!(matches!(judge(&rule, &traffic(100, 0, 500), &old, false), Verdict::Worse(_)));
    // Below a millisecond it is the host that decides.
    let fast = |micros| {
        let mut traffic = ComparedTraffic { requests: 200, ..ComparedTraffic::default() };
        (0..200).for_each(|_| traffic.took.observe(Duration::from_micros(micros)));
        traffic
    };
    assert_eq!(judge(&rule, &fast(900), &fast(50), false), Verdict::Fine);
    assert_eq!(judge(&rules("never"), &traffic(99, 99, 0), &old, false), Verdict::Fine);
}

#[test]
fn a_difference_that_may_be_chance_is_doubtful() {
    let verdict = judge(&rules("errors > 1%"), &traffic(27, 3, 10), &traffic(500, 0, 10), false);
    assert!(matches!(verdict, Verdict::Doubtful(_)), "{verdict:?}");
    let verdict = judge(&rules("errors > 1%"), &traffic(200, 1, 10), &traffic(3800, 0, 10), false);
    assert_eq!(verdict, Verdict::Fine);
}
