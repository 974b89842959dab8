//! How strongly counts speak against the claim that something is rare.
//!
//! A judge that looks ten times a second and uses a test for one look, such as Fisher's, finds a difference in the end
//! where there is none. This one may look as often as it likes: the odds are a mixture sequential probability ratio
//! (Robbins 1970; Johari et al., "Always valid inference", 2015; Lindon et al., "Rapid regression detection in software
//! deployments through sequential testing", 2022). While the claim is true they come to `x` at any time at all with a
//! probability of at most `1/x` (Ville's inequality).

/// The logarithm of the odds against the claim that at most `rate` of all are hits, after `hits` of `all`: each higher
/// rate is as likely as each other. Below 0 the counts speak for the claim.
pub(super) fn log_odds(hits: u64, all: u64, rate: f64) -> f64 {
    if all == 0 || rate >= 1.0 || float(hits) <= float(all) * rate {
        return 0.0;
    }
    let misses = all.saturating_sub(hits);
    let mixture = ln_factorial(hits) + ln_factorial(misses) - ln_factorial(all + 1);
    mixture - float(hits) * rate.ln() - float(misses) * (-rate).ln_1p()
}

/// `ln(n!)`, by Stirling's series.
fn ln_factorial(n: u64) -> f64 {
    if n < 10 {
        return (2..=n).map(|factor| float(factor).ln()).sum();
    }
    let n = float(n);
    let inverse = 1.0 / n;
    let tail = inverse / 12.0 - inverse.powi(3) / 360.0 + inverse.powi(5) / 1260.0;
    n * n.ln() - n + 0.5 * (std::f64::consts::TAU * n).ln() + tail
}

#[expect(clippy::cast_precision_loss, reason = "a count needs no more than 52 bits")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odds(hits: u64, all: u64, rate: f64) -> f64 {
        log_odds(hits, all, rate).exp()
    }

    #[track_caller]
    fn assert_near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} instead of {expected}");
    }

    #[test]
    fn odds_are_those_of_the_formula() {
        // All of n: 1/(n+1) by the mixture, rate^n by the claim.
        assert_near(odds(2, 2, 0.01), 1e4 / 3.0);
        assert_near(odds(3, 3, 0.01), 1e6 / 4.0);
        assert_near(odds(1, 2, 0.5), 1.0);
        assert_near(odds(2, 3, 0.25), 1.0 / 12.0 / (0.0625 * 0.75));
        assert_near(odds(0, 100, 0.01), 1.0);
        assert_near(odds(1, 1, 1.0), 1.0);
    }

    #[test]
    fn factorials_are_right_on_both_sides_of_the_series() {
        let mut sum = 0.0;
        for n in 1..2000_u64 {
            sum += float(n).ln();
            assert!((ln_factorial(n) - sum).abs() < 1e-8, "{n}");
        }
    }

    #[test]
    fn more_hits_are_more_evidence() {
        for all in [1, 2, 10, 100, 1000] {
            for rate in [0.001, 0.01, 0.1, 0.5] {
                let odds: Vec<f64> = (0..=all).map(|hits| log_odds(hits, all, rate)).collect();
                let above: Vec<f64> = odds.into_iter().filter(|odds| *odds > 0.0).collect();
                assert!(above.is_sorted(), "{all} {rate}: {above:?}");
            }
        }
    }
}
