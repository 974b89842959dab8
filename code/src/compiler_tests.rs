use super::*;

/// On a machine that is always busy, a swap would never end.
#[test]
fn a_child_that_hardly_runs_is_starved() {
    let cpu = |millis| Some(Duration::from_millis(millis));
    assert!(is_starved(cpu(1249), IDLE_AT_LEAST) && !is_starved(cpu(1250), IDLE_AT_LEAST));
    assert!(!is_starved(None, IDLE_AT_LEAST), "nobody knows");
}

/// `--watch` tries again after a busy machine had no time for a compile, but not after a compile that takes too
/// long.
#[test]
fn a_child_without_a_core_is_not_too_slow() {
    let (time, second) = (Duration::from_secs(10), Duration::from_secs(1));
    let judged = |cpu| too_slow(time, cpu);
    assert!(judged(Some(4 * second)).is_passing());
    assert!(!judged(Some(5 * second)).is_passing() && !judged(Some(40 * second)).is_passing());
    assert!(!judged(None).is_passing());
    for cpu in [None, Some(second)] {
        let words = judged(cpu).to_string();
        assert!(words.starts_with("did not compile within 10s; raise --compile-timeout"));
    }
}

#[test]
fn threads_follow_the_cores_and_the_pace_up_to_a_bound() {
    for (cores, at_start, beside_traffic) in [(1, 1, 1), (2, 2, 1), (8, 8, 4), (64, 8, 8)] {
        let cores = NonZeroUsize::new(cores).unwrap();
        assert_eq!(threads(cores, Urgency::Start), at_start);
        assert_eq!(threads(cores, Urgency::BesideTraffic), beside_traffic);
    }
}

#[test]
fn a_slow_text_gets_no_hint_at_a_flag_that_does_not_help() {
    let says = |time| CompileError::TooSlow(time).for_text(TEXT_TIME).to_string();
    assert!(says(TEXT_TIME).contains("wasm-tools parse"));
    assert!(says(TEXT_TIME / 2).contains("raise --compile-timeout"));
}
