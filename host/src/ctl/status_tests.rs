//! What fits on a screen.

use unicode_width::UnicodeWidthStr as _;

use super::*;
use crate::control::schema::{
    ChangeOutcome, ConnectionCounts, InstanceCount, LastChange, PhaseName, StopStatus,
};

pub(in crate::ctl) fn component(name: &str, requests: u64) -> ComponentStatus {
    ComponentStatus {
        name: name.into(),
        generation: 12,
        instances: InstanceCount { in_use: 37, limit: 1000 },
        memory: 3_342_336,
        put_aside_ms: None,
        traffic: TrafficStatus {
            window_ms: 58_000,
            requests,
            errors: requests / 300,
            latest: requests / 60,
            p50_us: Some(1_100),
            p99_us: Some(18_200),
        },
        swapped_ms_ago: Some(3_660_000),
    }
}

pub(in crate::ctl) fn host(components: Vec<ComponentStatus>) -> Status {
    Status {
        schema: "1".into(),
        version: "0.1.0".into(),
        pid: 4242,
        uptime_ms: 90_000_000,
        phase: PhaseName::Draining,
        stopping: Some(StopStatus { asked_ms_ago: 1500, deadline_ms: 25_000 }),
        addresses: (0..9).map(|n| format!("192.168.100.{n}:8080")).collect(),
        connections: ConnectionCounts { open: 9, idle: 9, ..ConnectionCounts::default() },
        traffic: TrafficStatus { requests: 69_832, ..component("", 300).traffic },
        exchanges_in_flight: 1,
        afterwork_in_flight: 0,
        instances: InstanceCount { in_use: 37, limit: 1000 },
        generations: Vec::new(),
        last_swap: Some(LastChange {
            ago_ms: 1,
            outcome: ChangeOutcome::refused("x".repeat(200)),
            trigger: "host ctl".into(),
        }),
        tls: Vec::new(),
        components,
        rate_limits: vec![],
        stores: vec![StoreStatus { store: "redis://x".into(), why: "no".into(), failing_ms: 1 }],
        limits: [("linger".into(), "1s".into())].into(),
    }
}

#[test]
fn status_fits_the_screen_however_many_components_there_are() {
    for (count, columns, rows) in [(0, 80, 24), (1, 80, 24), (1000, 80, 24), (1000, 40, 12)] {
        let components = (0..count).map(|n| component(&format!("component-{n}"), n)).collect();
        let text = status(&host(components), ScreenSize { columns, rows: Some(rows) });
        assert!(text.lines().count() < rows, "no room for the prompt:\n{text}");
        assert!(text.lines().all(|line| line.width() <= columns), "{text}");
    }
}

#[test]
fn certificates_that_end_first_are_shown_and_why_others_are_not_loaded() {
    let certificate = |days: i64, names: &[&str]| TlsCertificateStatus {
        file: "/etc/a.pem".into(),
        names: names.iter().map(ToString::to_string).collect(),
        not_before: "2026-01-01T00:00:00Z".into(),
        not_after: format!("day {days}"),
        left_s: days * 86_400,
        sha256: "00".into(),
        loaded_ms_ago: 90_000,
    };
    let certificates =
        [90, -1, 80, 70, 60, 50, 40, 1].map(|days| certificate(days, &["a.example", "b.example"]));
    let mut status = host(Vec::new());
    status.tls = vec![
        TlsListenerStatus {
            listener: "public".into(),
            certificates: certificates.into(),
            errors: vec!["the key is encrypted".into()],
        },
        TlsListenerStatus {
            listener: "127.0.0.1:1".into(),
            certificates: vec![certificate(30, &[])],
            errors: Vec::new(),
        },
    ];
    let text = super::status(&status, ScreenSize { columns: 120, rows: Some(40) });
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("certificate ")).collect();
    assert_eq!(lines.len(), 7, "{text}");
    for (line, says) in lines.iter().zip([
        "public: a.example and 1 more ended day -1, loaded 1m",
        "public: a.example and 1 more until day 1 (1 day), loaded",
        "127.0.0.1:1: /etc/a.pem until day 30 (30 days), loaded",
    ]) {
        assert!(line.contains(says), "{line}");
    }
    assert_eq!(lines[6], "certificate  3 more, which end later");
    assert!(text.contains("\nnot loaded   listener public: the key is encrypted\n"), "{text}");
}

#[test]
fn the_busiest_components_are_shown_where_there_is_no_room_for_all() {
    let components = (0..100).map(|n| component(&format!("c{n}"), n)).collect();
    let text = status(&host(components), ScreenSize { columns: 80, rows: Some(24) });
    assert!(text.contains("\nc99 ") && !text.contains("\nc0 "), "{text}");
    assert!(text.contains("more; `host ctl status | less` shows all"), "{text}");
}

/// Names that were cut at their ends were all the same.
#[test]
fn long_names_that_begin_alike_are_told_apart() {
    let name = |n| format!("checkout-of-the-shop-in-the-region-of-northern-europe-no-{n:03}");
    let components: Vec<_> = (0..40).map(|n| component(&name(n), 60 * n)).collect();
    for (columns, shown) in [
        (80, "COMPONENT           REQ/S  P50    P99   ERRORS  INSTANCES  GENERATION  LAST SWAP"),
        (40, "COMPONENT            REQ/S  P99   ERRORS"),
    ] {
        let text = status(&host(components.clone()), ScreenSize { columns, rows: Some(24) });
        assert!(text.lines().all(|line| line.width() <= columns), "{text}");
        let table: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("COMP")).collect();
        assert_eq!(table[0], shown, "{text}");
        assert!(table[1].starts_with("checkou") && table[1].contains("no-039 "), "{text}");
        assert!(table[2].contains("no-038 "), "{text}");
    }
    let text = status(&host(components), ScreenSize::UNBOUNDED);
    assert!((0..40).all(|n| text.contains(&format!("\n{}  ", name(n)))), "{text}");
}

/// A file, `grep` and `less` cut what they like.
#[test]
fn without_a_terminal_all_are_shown_whole_in_their_order() {
    let components = vec![component("auth", 1), component("shop", 60_000)];
    let text = status(&host(components), ScreenSize::UNBOUNDED);
    let shown: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("COMP")).collect();
    assert_eq!(
        shown,
        [
            "COMPONENT  REQ/S  P50    P99   ERRORS  INSTANCES  GENERATION  LAST SWAP  MEMORY",
            "auth       <0.1   1.1ms  18ms  0       37/1000    12          1h 1m      3.1MiB",
            "shop       1,034  1.1ms  18ms  0.3%    37/1000    12          1h 1m      3.1MiB",
        ]
    );
    assert!(text.contains("1 exchange, 0 at work"), "{text}");
    assert!(text.contains("192.168.100.8:8080\n"), "{text}");
    assert!(!text.contains("--linger"), "{text}");
}
