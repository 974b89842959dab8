//! What is drawn, at all sizes.

use unicode_width::UnicodeWidthStr as _;

use super::*;
use crate::control::schema::{EventStatus, TrafficStatus};
use crate::ctl::status::tests::{component, host};

fn report() -> TrafficReport {
    let minute = component("", 300).traffic;
    let route = |n: u64| RouteStatus {
        route: format!("/a/rather/long/path/{n}/*"),
        component: "shop".into(),
        traffic: TrafficStatus { errors: n, ..minute },
    };
    let exchange = |id| ExchangeStatus {
        id,
        request_id: "00f067aa0ba902b7".into(),
        component: Some("shop".into()),
        route: None,
        generation: Some(2),
        age_ms: 2150,
        cpu_us: 1830,
    };
    TrafficReport {
        all: minute,
        seconds: (0..60).map(|n| (n, 0)).collect(),
        routes: (0..50).map(route).collect(),
        exchanges: (0..50).map(exchange).collect(),
        events: vec![EventStatus {
            number: 1,
            ago_ms: 1,
            kind: "swap".into(),
            component: Some("shop".into()),
            text: "swapped from generation 1 to 2".into(),
        }],
    }
}

#[test]
fn every_size_of_a_terminal_is_filled_and_not_more() {
    let status = host((0..100).map(|n| component(&format!("c{n}"), n)).collect());
    for (columns, rows) in [(80, 24), (200, 60), (40, 12), (20, 5), (3, 2), (1, 1)] {
        let lines = lines(&status, &report(), ScreenSize { columns, rows: Some(rows) });
        assert!(lines.len() <= rows, "{} lines of {rows}", lines.len());
        assert!(lines.iter().all(|line| line.width() <= columns), "{lines:?}");
    }
}

#[test]
fn the_busiest_the_worst_and_the_slowest_are_there() {
    let status = host((0..100).map(|n| component(&format!("c{n}"), n)).collect());
    let text = lines(&status, &report(), ScreenSize { columns: 80, rows: Some(30) }).join("\n");
    for shown in
        ["c99 ", "WORST ROUTE", "/a/rather/long/path/0", "SLOWEST IN FLIGHT", "2.1s", "q leaves"]
    {
        assert!(text.contains(shown), "no {shown} in\n{text}");
    }
}

#[test]
fn bars_are_as_high_as_the_highest() {
    assert_eq!(bars(&[(0, 0), (7, 0), (14, 0)], 9), "▁▄█");
    assert_eq!(bars(&[(28, 0), (7, 0), (14, 0)], 2), "▄█", "the last ones stay");
    assert_eq!(bars(&[(0, 0)], 1), "▁");
    assert_eq!(bars(&[(0, 0)], 0), "");
}
