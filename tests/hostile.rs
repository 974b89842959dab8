//! Guests that mean harm, each beside a good neighbour that must not notice: what they do is
//! answered or broken off, and logged, and the host lives.

use crate::support::app::{App, component, expect_swapped, reload, swap_to};
use crate::support::broken::Ended;
use crate::support::neighbour::Neighbour;
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::upstream::Upstream;
use crate::support::wire;

/// Deeds of a guest: the path, the status or nothing if it is broken off, and what the log says.
type Deed = (&'static str, Option<u16>, &'static str);

const P2: [Deed; 18] = [
    ("/spin", Some(504), "guest used more than 1s of CPU time"),
    ("/hold?mib=100", Some(200), ""),
    ("/deep", Some(500), "call stack exhausted"),
    ("/handles?what=fields", Some(500), "guest trapped: resource table"),
    ("/handles?what=pollables", Some(500), "guest trapped: resource table"),
    ("/handles?what=requests", Some(500), "guest trapped: resource table"),
    ("/random?mib=64", Some(500), "guest trapped: requested len"),
    ("/calls?n=1000", Some(200), "outgoing request refused"),
    ("/flood?n=100000", Some(500), "guest trapped: "),
    ("/endless", None, "guest sent more than its limit, response-body"),
    ("/headers", Some(500), "guest trapped: total size of fields"),
    ("/trailers?kib=1024", Some(500), "guest trapped: total size of fields"),
    ("/stdout", Some(504), "guest printed too much"),
    ("/stderr", Some(504), "guest used more than 1s of CPU time"),
    ("/deaf", Some(200), ""),
    ("/deaf/hold", Some(504), "GuestTooSlow"),
    ("/inject", Some(200), ""),
    ("/forbidden", Some(200), ""),
];

const P3: [Deed; 11] = [
    ("/handles?what=streams", Some(500), "guest trapped: "),
    ("/handles?what=futures", Some(500), "guest trapped: "),
    ("/handles?what=tasks", Some(500), "guest trapped: "),
    ("/handles?what=fields", Some(500), "guest trapped: "),
    ("/flood?n=100000", Some(500), "guest trapped: "),
    ("/endless", None, "guest sent more than its limit, response-body"),
    ("/trailers?kib=1024", Some(200), ""),
    ("/deaf", Some(200), ""),
    ("/deaf/hold", Some(504), "GuestTooSlow"),
    ("/hoard?n=100000", Some(500), "guest trapped: "),
    ("/spread", Some(200), "after its answer"),
];

const ODD: [Deed; 5] = [
    ("/many?n=100000", Some(500), "guest trapped: total size of fields"),
    ("/huge?kib=1024", Some(500), "guest trapped: total size of fields"),
    ("/length?say=5&give=10", Some(500), "answer broken off"),
    ("/length?say=10&give=5", Some(500), "answer broken off"),
    ("/length?say=1&give=1000000", Some(500), "answer broken off"),
];

const EMPTY: [Deed; 1] = [("/body/forever", None, "answer broken off")];

/// The guest `bad` beside a good neighbour, with limits that a test can wait for.
fn beside_a_good_one(bad: &str, more: &str) -> Site {
    Site::of(&manifest(bad, more))
}

fn manifest(bad: &str, more: &str) -> String {
    format!(
        r#"
        [limits]
        cpu-time = "1s"
        memory = "32MiB"
        response-head-timeout = "4s"
        body-idle-timeout = "2s"
        after-timeout = "1s"
        response-body = "8MiB"
        handles = 1000
        outgoing-requests = 8
        instances = 8
        [component.bad]
        source = "{bad}"
        {more}
        [component.good]
        source = "guest:hello_p2"
        [[route]]
        path = "/bad"
        component = "bad"
        strip-prefix = true
        [[route]]
        path = "/good"
        component = "good"
        "#
    )
}

/// One deed after the other, each while the neighbour is asked; then a clean stop.
#[track_caller]
fn expect_harmless(bad: &str, deeds: &[Deed]) {
    let host = beside_a_good_one(&format!("guest:{bad}"), "").serve().start();
    let neighbour = Neighbour::at(&host, "/good");
    for (path, status, says) in deeds {
        let mark = host.mark();
        let mut conn = host.connect();
        match (conn.get(&format!("/bad{path}")), status) {
            (Ok(answer), Some(status)) => {
                assert_eq!(answer.status(), *status, "{bad} {path}: {answer}");
            }
            (broken, None) => wire::assert_broken(broken),
            (broken, _) => panic!("{bad} {path}: {broken:?}"),
        }
        if !says.is_empty() {
            let line = host.wait_log_after(mark, says);
            assert!(line.contains("component=\"bad\""), "{bad} {path}: {line}");
        }
        neighbour.expect_well();
    }
    expect_clean_stop(host, neighbour);
}

#[track_caller]
fn expect_clean_stop(host: Host, neighbour: Neighbour) {
    neighbour.expect_well();
    drop(neighbour);
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
    assert!(!exit.stderr.contains("panicked"), "{}", exit.stderr);
}

#[test]
fn deeds_of_a_hostile_guest_of_0_2_hurt_itself_alone() {
    expect_harmless("hostile_p2", &P2);
}

#[test]
fn deeds_of_a_hostile_guest_of_0_3_hurt_itself_alone() {
    expect_harmless("hostile_p3", &P3);
}

#[test]
fn answers_that_lie_about_themselves_hurt_their_guest_alone() {
    expect_harmless("odd_p2", &ODD);
}

#[test]
fn writes_of_nothing_without_end_hurt_their_guest_alone() {
    expect_harmless("empty_p2", &EMPTY);
    expect_harmless("empty_p3", &EMPTY);
}

#[test]
fn table_that_grows_without_end_hurts_its_guest_alone() {
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest/wat/table.wat");
    let host = beside_a_good_one(table, "").serve().start();
    let neighbour = Neighbour::at(&host, "/good");
    let before = wire::resident_kib(&host);
    for _ in 0..20 {
        assert_eq!(host.get("/bad/").status(), 500);
        neighbour.expect_well();
    }
    let line = host.wait_log("guest failed: GET /bad/");
    assert!(line.contains("guest trapped: "), "{line}");
    let grown = wire::resident_kib(&host).saturating_sub(before);
    assert!(grown < 64 << 10, "the host grew by {grown} KiB");
    expect_clean_stop(host, neighbour);
}

#[test]
fn many_deeds_at_once_hurt_their_guest_alone() {
    let host = beside_a_good_one("guest:hostile_p2", "").serve().start();
    let neighbour = Neighbour::at(&host, "/good");
    let mut conns: Vec<(&Deed, Conn)> = P2.iter().map(|deed| (deed, host.connect())).collect();
    for ((path, ..), conn) in &mut conns {
        conn.send(wire::get(&format!("/bad{path}"))).unwrap();
    }
    neighbour.expect_well();
    for ((path, status, _), conn) in &mut conns {
        match (conn.read_response("GET"), status) {
            // There are more of them than instances.
            (Ok(answer), Some(status)) => {
                assert!([503, 504, *status].contains(&answer.status()), "{path}: {answer}");
            }
            (Ok(answer), None) => assert_eq!(answer.status(), 503, "{path}"),
            (broken, None) => wire::assert_broken(broken),
            (broken, _) => panic!("{path}: {broken:?}"),
        }
        neighbour.expect_well();
    }
    expect_clean_stop(host, neighbour);
}

#[test]
fn guest_that_never_reads_its_upload_holds_nobody_up() {
    for guest in ["hostile_p2", "hostile_p3"] {
        let host = beside_a_good_one(&format!("guest:{guest}"), "").serve().start();
        let neighbour = Neighbour::at(&host, "/good");
        let mut conn = host.connect();
        conn.send(wire::sized("/bad/deaf", 8 << 20)).unwrap();
        let sending = wire::send_beside(&conn, vec![b'x'; 8 << 20]);
        assert_eq!(conn.read_response("POST").unwrap().text(), "I do not listen\n");
        drop(conn);
        sending.join().unwrap();
        neighbour.expect_well();
        let before = wire::resident_kib(&host);
        let mut held = host.connect();
        held.send(wire::sized("/bad/deaf/hold", 32 << 20)).unwrap();
        let sending = wire::send_beside(&held, vec![b'x'; 32 << 20]);
        let answer = held.read_response("POST").unwrap();
        assert!([408, 504].contains(&answer.status()), "{answer}");
        let grown = wire::resident_kib(&host).saturating_sub(before);
        assert!(grown < 16 << 10, "the host grew by {grown} KiB");
        drop(held);
        sending.join().unwrap();
        expect_clean_stop(host, neighbour);
    }
}

#[test]
fn client_that_does_not_read_an_endless_answer_costs_no_memory() {
    let more = "[component.bad.limits]\nresponse-body = \"10GiB\"\nbody-idle-timeout = \"60s\"";
    for guest in ["hostile_p2", "hostile_p3"] {
        let host = beside_a_good_one(&format!("guest:{guest}"), more).serve().start();
        let neighbour = Neighbour::at(&host, "/good");
        let before = wire::resident_kib(&host);
        let mut conns: Vec<Conn> = (0..4).map(|_| host.connect()).collect();
        for conn in &mut conns {
            conn.send(wire::get("/bad/endless")).unwrap();
            assert_eq!(conn.read_head().unwrap().status, 200);
        }
        for _ in 0..100 {
            neighbour.expect_well();
        }
        let grown = wire::resident_kib(&host).saturating_sub(before);
        assert!(grown < 32 << 10, "the host grew by {grown} KiB");
        drop(conns);
        expect_clean_stop(host, neighbour);
    }
}

#[test]
fn hundred_thousand_calls_reach_where_they_may_and_leave_the_neighbour_alone() {
    let upstream = Upstream::start();
    let url = format!("http://127.0.0.1:{}/", upstream.port());
    let more = format!("[component.bad.grants]\noutgoing = [\"{}\"]", url.trim_end_matches('/'));
    let host = beside_a_good_one("guest:hostile_p2", &more).serve().start();
    let neighbour = Neighbour::at(&host, "/good");
    // A second of CPU time is less than a hundred thousand calls take.
    assert_eq!(host.get(&format!("/bad/calls?url={url}")).status(), 504);
    assert!(upstream.requests() > 0);
    neighbour.expect_well();
    let told = host.get(&format!("/bad/calls?n=3&url={url}")).text();
    assert_eq!(told, "200: 3\n", "what it left under way is gone");
    expect_clean_stop(host, neighbour);
}

#[test]
fn calls_that_are_refused_do_not_flood_the_log() {
    for grants in ["", "[component.bad.grants]\noutgoing = [\"http://127.0.0.1:9\"]"] {
        for guest in ["hostile_p2", "hostile_p3"] {
            let host = beside_a_good_one(&format!("guest:{guest}"), grants).serve().start();
            let deed = if guest == "hostile_p2" { "calls" } else { "flood" };
            let told = host.get(&format!("/bad/{deed}?n=100&url=http://127.0.0.1:1/")).text();
            assert_eq!(told, "http-request-denied: 100\n");
            host.signal(Signal::TERM);
            let exit = host.wait_exit();
            let lines = exit.stderr.matches("outgoing request refused").count();
            assert!((1..=5).contains(&lines), "{lines} lines for one request");
        }
    }
}

#[test]
fn component_of_any_shape_is_loaded_after_one_of_another() {
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest/wat/table.wat");
    // By name: `good` is loaded after `bad`, and `bad` alone after the change.
    let site = beside_a_good_one("guest:trap_p2", "");
    let host = site.serve().start();
    for bad in [table, "guest:trap_p2", table] {
        site.write(&manifest(bad, ""));
        let outcome = reload(&host);
        assert!(outcome.contains("changed: bad "), "{outcome}");
        assert_eq!(host.get("/bad").status(), 500);
        assert_eq!(host.get("/good").text(), "hello world\n");
    }
    beside_a_good_one(table, "").serve().start();
}

#[test]
fn component_without_a_memory_can_be_replaced_by_one_with() {
    let app = App::of("hello_p2");
    let table = component(include_str!("../guest/wat/table.wat"));
    app.put_bytes(&table);
    let host = app.serve().start();
    assert_eq!(host.get("/").status(), 500);
    swap_to(&host, &app, "hello_p2");
    assert_eq!(host.get("/").text(), "hello world\n");
    app.put_bytes(&table);
    expect_swapped(&reload(&host));
    swap_to(&host, &app, "hello_p3");
    assert_eq!(host.get("/").status(), 200);
}

#[test]
fn loop_at_the_start_is_refused_and_nothing_else_changes() {
    for guest in ["start_spin_p2", "start_spin_p3"] {
        let more = "[component.bad.limits]\nhook-timeout = \"300ms\"";
        let site = beside_a_good_one("bad.wasm", more);
        site.put("bad.wasm", guest);
        let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/cache");
        let refused = [
            "serve",
            site.text(),
            "--addr",
            "127.0.0.1:0",
            "--control",
            "off",
            "--cache-dir",
            cache,
        ];
        let exit = Host::run(refused);
        exit.expect_code(3);
        assert!(exit.stderr.contains("on-start"), "{}", exit.stderr);
        assert_eq!(exit.stdout, "", "never ready");
        site.put("bad.wasm", "hello_p2");
        let host = site.serve().start();
        let neighbour = Neighbour::at(&host, "/good");
        site.put("bad.wasm", guest);
        let outcome = reload(&host);
        assert!(outcome.contains(says::REJECTED), "{outcome}");
        assert_eq!(host.get("/bad").text(), "hello world\n", "the one before serves on");
        expect_clean_stop(host, neighbour);
    }
}

#[test]
fn second_signal_ends_a_host_full_of_hostile_guests() {
    let more = "[component.bad.limits]\ncpu-time = \"60s\"\nresponse-head-timeout = \"60s\"";
    let host = beside_a_good_one("guest:hostile_p2", more).serve().start();
    let mut conns: Vec<Conn> = (0..6).map(|_| host.connect()).collect();
    for (conn, path) in conns.iter_mut().zip(["spin", "stdout", "hold?mib=20&ms=60000"].repeat(2)) {
        conn.send(wire::get(&format!("/bad/{path}"))).unwrap();
    }
    host.wait_log("I shall not be silent");
    assert_eq!(host.get("/good").status(), 200);
    host.signal(Signal::TERM);
    host.wait_log(says::ASKED);
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(143);
    for conn in &mut conns {
        let (_, ended) = conn.expect_reset_or_eof();
        assert!(matches!(ended, Ended::Fin | Ended::Reset));
    }
}
