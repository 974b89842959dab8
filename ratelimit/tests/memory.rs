//! What keys cost in memory, by the kernel's count. A process of its own, so that nothing else is counted.

#![allow(
    clippy::tests_outside_test_module,
    clippy::print_stdout,
    reason = "a test crate prints what it found"
)]

use std::fs;
use std::num::NonZeroU32;
use std::time::Duration;

use host_ratelimit::{Burst, KeyedLimiter, MOST_KEYS, RateKey};

const LIMITERS: usize = 8;

/// Bytes of the process that are in memory and not in a file.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    kilobytes.expect("it is there").parse::<usize>().expect("a number") * 1024
}

/// Limiters that so many keys have come to, and the bytes that each of the limiters takes.
fn visited(refilled_in: Duration, keys: usize) -> (Vec<KeyedLimiter>, usize) {
    let burst = Burst { of: NonZeroU32::MIN, refilled_in };
    let before = resident();
    let limiters: Vec<_> = (0..LIMITERS).map(|_| KeyedLimiter::new(burst)).collect();
    for limiter in &limiters {
        let came = (0..keys as u64).filter(|key| {
            let key = key.to_le_bytes();
            limiter.check(RateKey::Text(&key)).is_ok()
        });
        assert!(came.count() > 0);
    }
    (limiters, (resident() - before) / LIMITERS)
}

#[test]
fn a_key_takes_58_bytes_at_most_and_a_limiter_7_mb() {
    let hour = Duration::from_secs(3600);
    let (hundred_thousand, bytes) = visited(hour, 100_000);
    println!("100000 keys: {} bytes each", bytes / 100_000);
    assert!(bytes <= 58 * 100_000, "{bytes} bytes");
    let (too_many, bytes) = visited(hour, 4 * MOST_KEYS);
    println!("as many as there may be: {bytes} bytes in all, {} each", bytes / MOST_KEYS);
    assert!(bytes <= 7_000_000, "{bytes} bytes");
    // Places of keys that have gone are not all free at once.
    let (come_and_go, bytes) = visited(Duration::from_millis(5), 3 * MOST_KEYS);
    println!("keys that come and go: {bytes} bytes in all");
    assert!(bytes <= 7_000_000, "{bytes} bytes");
    drop((hundred_thousand, too_many, come_and_go));
}
