use std::time::Duration;

use super::{Latencies, Timetable, answered};

#[test]
fn an_answer_counts_once_its_body_is_whole() {
    let declared = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    let chunked = b"HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(answered(declared), Some(200));
    assert_eq!(answered(chunked), Some(503));
    for whole in [&declared[..], &chunked[..]] {
        for cut in 0..whole.len() {
            assert_eq!(answered(&whole[..cut]), None, "{cut} bytes");
        }
    }
}

#[test]
fn a_request_is_due_at_the_tick_after_its_place_in_the_timetable() {
    let mut timetable = Timetable::new(20_000.0, 0.0002).unwrap();
    let micros = Duration::from_micros;
    let due = |timetable: &mut Timetable, now| timetable.due(micros(now));
    assert_eq!(due(&mut timetable, 0), Some(micros(0)));
    assert_eq!(due(&mut timetable, 99), None);
    // Those of 50 and 100 µs, however late it is.
    assert_eq!(due(&mut timetable, 5000), Some(micros(100)));
    assert_eq!(due(&mut timetable, 5000), Some(micros(100)));
    assert_eq!(due(&mut timetable, 5000), Some(micros(200)));
    assert_eq!(due(&mut timetable, 5000), None, "four were planned");
}

#[test]
fn a_slow_timetable_has_a_tick_for_each_request() {
    let mut timetable = Timetable::new(1000.0, 0.003).unwrap();
    let millis = Duration::from_millis;
    assert_eq!(timetable.tick, millis(1));
    for number in 0..3 {
        assert_eq!(timetable.due(millis(number)), Some(millis(number)));
        assert_eq!(timetable.due(millis(number)), None);
    }
}

#[test]
fn a_timetable_of_nothing_is_refused() {
    for (rate, seconds) in [(0.0, 1.0), (f64::NAN, 1.0), (1.0, 0.4), (1e9, 1.0)] {
        assert!(Timetable::new(rate, seconds).is_err(), "{rate} for {seconds} s");
    }
}

#[test]
fn a_percentile_is_a_latency_that_was_seen() {
    let took = Latencies::new((1..=200).rev().map(Duration::from_millis).collect());
    assert_eq!([50, 99, 100].map(|percent| took.percentile(percent)), [100.0, 198.0, 200.0]);
}
