//! Guests that mean harm, each beside a good neighbour that must not notice: what they do is
//! answered or broken off, and logged, and the host lives.

use std::time::{Duration, Instant};

use crate::support::broken::Ended;
use crate::support::memory::resident_kib;
use crate::support::neighbour::Neighbour;
use crate::support::prelude::*;
use crate::support::site::{self, Site};
use crate::support::stop::{lose_patience, whole_log};
use crate::support::upstream::Upstream;
use crate::support::wire;

/// What a client sees of a deed.
#[derive(Clone, Copy)]
enum Seen {
    /// An answer of the host's.
    Status(u16),
    /// A 200 of the guest's own, whose body begins so: it tells that it was refused.
    Told(&'static str),
    /// It is broken off.
    Broken,
}

use Seen::{Broken, Status, Told};

/// Deeds of a guest: the path, what is seen of it, and what the log says: by which limit.
type Deed = (&'static str, Seen, &'static str);

const TABLE: &str = "guest trapped: resource table has no free keys";
const FIELDS: &str = "guest trapped: total size of fields exceeds limit";
const HANDLES: &str = "guest trapped: cannot allocate another handle: store handle limit exceeded";
const LENT: &str = "guest trapped: cannot lend resource: store handle limit exceeded";
const BODY: &str = "guest sent more than its limit, response-body";
/// A guest of Rust that gets no more memory ends itself.
const NO_MEMORY: &str = "wasm `unreachable` instruction executed";

const P2: [Deed; 18] = [
    ("/spin", Status(504), "guest used more than 1.5s of CPU time"),
    ("/hold?mib=100", Told("refused at 3"), ""),
    ("/deep", Status(500), "call stack exhausted"),
    ("/handles?what=fields", Status(500), TABLE),
    ("/handles?what=pollables", Status(500), TABLE),
    ("/handles?what=requests", Status(500), TABLE),
    ("/random?mib=64", Status(500), "guest trapped: requested len"),
    (
        "/calls?n=100",
        Told("connection-limit-reached: 68\nhttp-request-denied: 32\n"),
        "outgoing request refused",
    ),
    ("/flood?n=2000", Status(500), LENT),
    ("/endless", Broken, BODY),
    ("/headers", Status(500), FIELDS),
    ("/trailers?kib=1024", Status(500), FIELDS),
    ("/stdout", Status(504), "guest printed too much"),
    ("/stderr", Status(504), "guest used more than 1.5s of CPU time"),
    ("/deaf", Told("I do not listen\n"), ""),
    ("/deaf/hold", Status(504), "guest-too-slow"),
    ("/inject", Told("append cr lf: refused\n"), ""),
    ("/forbidden", Told("connection: refused\n"), ""),
];

const P3: [Deed; 14] = [
    ("/handles?what=streams", Status(500), HANDLES),
    ("/handles?what=futures", Status(500), HANDLES),
    // Calls of its own are no handles; what it keeps of each counts as its memory.
    ("/handles?what=tasks", Status(500), NO_MEMORY),
    ("/handles?what=fields", Status(500), HANDLES),
    ("/flood?n=2000", Status(500), HANDLES),
    ("/endless", Broken, BODY),
    ("/trailers?kib=1024", Told("and then\n"), ""),
    ("/deaf", Told("I do not listen\n"), ""),
    ("/deaf/hold", Status(504), "guest-too-slow"),
    ("/hoard?n=2000", Status(500), HANDLES),
    ("/spread", Told("and on\n"), "guest failed after its answer"),
    ("/headers", Told("refused at 1"), ""),
    ("/inject", Told("append cr lf: refused\n"), ""),
    ("/forbidden", Told("connection: refused\n"), ""),
];

const ODD: [Deed; 5] = [
    ("/many?n=100000", Status(500), FIELDS),
    ("/huge?kib=1024", Status(500), FIELDS),
    ("/length?say=5&give=10", Status(500), "guest failed: "),
    ("/length?say=10&give=5", Status(500), "guest failed: "),
    ("/length?say=1&give=1000000", Status(500), "guest failed: "),
];

const EMPTY: [Deed; 1] = [("/body/forever", Broken, "answer broken off")];

/// Limits that a test can wait for. What is to end by another limit takes far less than these of time, also
/// on a busy machine: there a guest needs longer to use up its CPU time, which is time that it had a core,
/// and still less than to its head.
const LIMITS: &str = r#"
    [limits]
    cpu-time = "1500ms"
    memory = "32MiB"
    response-head-timeout = "8s"
    body-idle-timeout = "6s"
    after-timeout = "10s"
    response-body = "1MiB"
    handles = 1000
    outgoing-requests = 8
    instances = 8
"#;

/// The component `bad` beside a good neighbour.
pub fn beside_a_good_one(bad: &str, more: &str) -> Site {
    Site::new(&manifest(bad, more))
}

pub fn manifest(bad: &str, more: &str) -> String {
    site::beside_a_good_one("bad", bad, more, LIMITS)
}

/// One deed after the other, each while the neighbour is asked; then a clean stop.
#[track_caller]
fn expect_harmless(bad: &str, deeds: &[Deed]) {
    let host = beside_a_good_one(&format!("guest:{bad}"), "").serve().start();
    let neighbour = Neighbour::at(&host, "/good");
    for (path, seen, says) in deeds {
        let mark = host.mark();
        let mut conn = host.connect();
        let mut deed = || conn.get(&format!("/bad{path}"));
        let computes = says.contains("of CPU time");
        let end = if computes { neighbour.expect_served_beside(deed) } else { deed() };
        match (end, seen) {
            (Ok(answer), Status(status)) => {
                assert_eq!(answer.status(), *status, "{bad} {path}: {answer}");
            }
            (Ok(answer), Told(text)) => {
                assert_eq!(answer.status(), 200, "{bad} {path}: {answer}");
                assert!(answer.text().starts_with(text), "{bad} {path}: {answer}");
            }
            (broken, Broken) => wire::assert_broken(broken),
            (broken, _) => panic!("{bad} {path}: {broken:?}"),
        }
        if !says.is_empty() {
            let line = host.wait_log_after(mark, says);
            assert!(line.contains("component=\"bad\""), "{bad} {path}: {line}");
        }
        neighbour.expect_well();
    }
    neighbour.expect_clean_stop(host);
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
    for _ in 0..20 {
        assert_eq!(host.get("/bad/").status(), 500);
        neighbour.expect_well();
    }
    let line = host.wait_log("guest failed: GET /bad/");
    assert!(line.contains(NO_MEMORY), "{line}");
    // The pool has its slots by now, each with some memory of those that had it before.
    let before = resident_kib(&host);
    let mut conn = host.connect();
    for _ in 0..400 {
        assert_eq!(conn.get("/bad/").unwrap().status(), 500);
    }
    let grown = resident_kib(&host).saturating_sub(before);
    assert!(grown < 100 << 10, "the host grew by {grown} KiB, and 400 tables have 312 MiB");
    neighbour.expect_clean_stop(host);
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
    for ((path, seen, _), conn) in &mut conns {
        match (conn.read_response("GET"), seen) {
            // There are more of them than instances.
            (Ok(answer), seen) => {
                let own = match seen {
                    Status(status) => *status,
                    Told(_) => 200,
                    Broken => 503,
                };
                assert!([503, 504, own].contains(&answer.status()), "{path}: {answer}");
            }
            (broken, Broken) => wire::assert_broken(broken),
            (broken, _) => panic!("{path}: {broken:?}"),
        }
        neighbour.expect_well();
    }
    neighbour.expect_clean_stop(host);
}

#[test]
fn guest_that_never_reads_its_upload_holds_up_no_other() {
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
        let before = resident_kib(&host);
        let mut held = host.connect();
        held.send(wire::sized("/bad/deaf/hold", 32 << 20)).unwrap();
        let sending = wire::send_beside(&held, vec![b'x'; 32 << 20]);
        let answer = held.read_response("POST").unwrap();
        assert!([408, 504].contains(&answer.status()), "{answer}");
        let grown = resident_kib(&host).saturating_sub(before);
        assert!(grown < 16 << 10, "the host grew by {grown} KiB");
        drop(held);
        sending.join().unwrap();
        neighbour.expect_clean_stop(host);
    }
}

#[test]
fn client_that_does_not_read_an_endless_answer_costs_no_memory() {
    let more = "[component.bad.limits]\nresponse-body = \"10GiB\"\nbody-idle-timeout = \"60s\"";
    for guest in ["hostile_p2", "hostile_p3"] {
        let host = beside_a_good_one(&format!("guest:{guest}"), more).serve().start();
        let neighbour = Neighbour::at(&host, "/good");
        let before = resident_kib(&host);
        let mut conns: Vec<Conn> = (0..4).map(|_| host.connect()).collect();
        for conn in &mut conns {
            conn.send(wire::get("/bad/endless")).unwrap();
            assert_eq!(conn.read_head().unwrap().status, 200);
        }
        for _ in 0..100 {
            neighbour.expect_well();
        }
        let grown = resident_kib(&host).saturating_sub(before);
        assert!(grown < 32 << 10, "the host grew by {grown} KiB");
        drop(conns);
        neighbour.expect_clean_stop(host);
    }
}

#[test]
fn hundred_thousand_calls_reach_where_they_may_and_leave_the_neighbour_alone() {
    let upstream = Upstream::start();
    let url = format!("http://127.0.0.1:{}/", upstream.port());
    let grants = format!("[component.bad.grants]\noutgoing = [\"{}\"]", url.trim_end_matches('/'));
    let more = format!("{grants}\n[component.bad.limits]\noutgoing-per-exchange = 1000000");
    let host = beside_a_good_one("guest:hostile_p2", &more).serve().start();
    let neighbour = Neighbour::at(&host, "/good");
    // The CPU time that it may have is less than a hundred thousand calls take.
    let calls = || host.get(&format!("/bad/calls?url={url}"));
    assert_eq!(neighbour.expect_served_beside(calls).status(), 504);
    assert!(upstream.requests() > 0);
    neighbour.expect_well();
    let told = host.get(&format!("/bad/calls?n=3&url={url}")).text();
    assert_eq!(told, "200: 3\n", "what it left under way is gone");
    neighbour.expect_clean_stop(host);
}

#[test]
fn calls_that_are_refused_do_not_flood_the_log() {
    for grants in ["", "[component.bad.grants]\noutgoing = [\"http://127.0.0.1:9\"]"] {
        for guest in ["hostile_p2", "hostile_p3"] {
            let limits = "handles = 100000\ncpu-time = \"60s\"\nresponse-head-timeout = \"60s\"\n\
                outgoing-per-exchange = 1000";
            let more = format!("{grants}\n[component.bad.limits]\n{limits}");
            let host = beside_a_good_one(&format!("guest:{guest}"), &more).serve().start();
            let deed = if guest == "hostile_p2" { "calls" } else { "flood" };
            let began = Instant::now();
            let mut conn = host.connect().patient(Duration::from_secs(60));
            let deed = format!("/bad/{deed}?n=1000&url=http://127.0.0.1:1/");
            let told = conn.get(&deed).unwrap().text();
            // A second that has begun counts whole, at both ends.
            let seconds = usize::try_from(began.elapsed().as_secs()).expect("few") + 2;
            assert_eq!(told, "http-request-denied: 1000\n");
            drop(conn);
            let lines = whole_log(host).matches("outgoing request refused").count();
            let most = (20 * seconds).min(500);
            assert!((1..=most).contains(&lines), "{lines} lines for 1000 refusals in {seconds} s");
        }
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
    lose_patience(&host, Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(143);
    for conn in &mut conns {
        let (_, ended) = conn.expect_reset_or_eof();
        assert!(matches!(ended, Ended::Fin | Ended::Reset));
    }
}
