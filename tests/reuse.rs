//! `--reuse`: instances that serve more than one request, and what does not cross from one to
//! another all the same.
//!
//! A client has its answer a moment before the instance is free again. Where a test needs to know
//! which instance is next, it allows only one at a time: then the next request waits for that.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::app::{App, expect_swapped, reload, variant, version};
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::wire;

/// Instances of `counter` serve up to a hundred requests.
pub const REUSE: [&str; 2] = ["--reuse", "100"];
/// And those of 0.3 eight at once.
pub const SHARE: [&str; 4] = ["--reuse", "100", "--reuse-concurrency", "8"];
/// One exchange at a time, and the next waits for it.
const ONE: [&str; 4] = ["--max-instances", "1", "--queue-timeout", "30s"];

/// An answer of `counter`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    pub instance: String,
    pub requests: u64,
}

impl Count {
    #[track_caller]
    pub fn read(answer: &Response) -> Self {
        assert_eq!(answer.status(), 200, "{answer}");
        let text = answer.text();
        let fields = text.trim_end().strip_prefix("instance=").and_then(|rest| {
            let (instance, requests) = rest.split_once(" requests=")?;
            Some(Self { instance: instance.to_owned(), requests: requests.parse().ok()? })
        });
        fields.unwrap_or_else(|| panic!("not an answer of counter: {text:?}"))
    }

    #[track_caller]
    pub fn next(host: &Host) -> Self {
        Self::read(&host.get("/"))
    }
}

/// A request to `/slow` that its instance is reading: the instance asks for the body.
pub struct Slow(pub Conn);

impl Slow {
    #[track_caller]
    pub fn on(host: &Host) -> Self {
        let mut conn = host.connect();
        let head = wire::chunked("/slow").replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
        conn.send(head).unwrap();
        assert_eq!(conn.read_head().expect("the guest reads the body").status, 100);
        Self(conn)
    }

    #[track_caller]
    pub fn end(mut self) -> Response {
        self.0.send(wire::LAST_CHUNK).expect("the host reads");
        self.0.read_response("POST").expect("a whole answer")
    }

    #[track_caller]
    pub fn expect_failed(mut self) {
        assert_eq!(self.0.read_response("POST").expect("a whole answer").status(), 500);
    }
}

#[test]
fn instance_serves_as_many_requests_as_it_may_and_then_there_is_a_new_one() {
    for guest in ["counter_p2", "counter_p3"] {
        // One at a time, and room for each that is used up while it ends.
        let host = Site::new(&format!(
            "[total]\ninstances = 10\n[limits]\ninstances = 1\nqueue-timeout = \"30s\"\n\
             [component.app]\nsource = \"guest:{guest}\"\nreuse = {{ exchanges = 3 }}\n"
        ))
        .serve()
        .start();
        let counts: Vec<Count> = (0..9).map(|_| Count::next(&host)).collect();
        let requests: Vec<u64> = counts.iter().map(|count| count.requests).collect();
        assert_eq!(requests, [1, 2, 3, 1, 2, 3, 1, 2, 3], "{guest}");
        for three in counts.chunks(3) {
            assert!(three.iter().all(|count| count.instance == three[0].instance), "{counts:?}");
        }
        let all: BTreeSet<&str> = counts.iter().map(|count| count.instance.as_str()).collect();
        assert_eq!(all.len(), 3, "{counts:?}");
    }
}

#[test]
fn trap_fails_its_own_request_and_the_next_has_a_new_instance() {
    for guest in ["counter_p2", "counter_p3"] {
        let host = Host::serve(guest).args(REUSE).args(ONE).start();
        let first = Count::next(&host);
        assert_eq!(Count::next(&host), Count { requests: 2, ..first.clone() });
        let mut conn = host.connect();
        assert_eq!(conn.get("/trap").unwrap().status(), 500);
        let next = Count::read(&conn.get("/").unwrap());
        assert_eq!(next.requests, 1, "{guest}");
        assert_ne!(next.instance, first.instance, "{guest}");
    }
}

/// A 0.2 instance runs one call at a time, whatever is asked for.
#[test]
fn requests_at_once_have_instances_of_their_own() {
    for (guest, args) in [("counter_p2", &SHARE[..]), ("counter_p3", &REUSE)] {
        let host = Host::serve(guest).args(args.iter().copied()).start();
        let held: Vec<Slow> = (0..4).map(|_| Slow::on(&host)).collect();
        let counts: Vec<Count> = held.into_iter().map(|slow| Count::read(&slow.end())).collect();
        let all: BTreeSet<&str> = counts.iter().map(|count| count.instance.as_str()).collect();
        assert_eq!(all.len(), 4, "{counts:?}");
    }
}

#[test]
fn requests_at_once_share_an_instance_of_p3_up_to_its_concurrency() {
    let host = Host::serve("counter_p3").args(SHARE).start();
    let held: Vec<Slow> = (0..20).map(|_| Slow::on(&host)).collect();
    let mut instances: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for slow in held {
        let Count { instance, requests } = Count::read(&slow.end());
        instances.entry(instance).or_default().push(requests);
    }
    let mut sizes: Vec<usize> = instances.values().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [4, 8, 8], "{instances:?}");
    for requests in instances.values() {
        assert!(requests.iter().copied().eq(1..=requests.len() as u64), "{instances:?}");
    }
}

#[test]
fn trap_fails_those_that_share_its_instance_and_no_other() {
    let args = ["--reuse", "100", "--reuse-concurrency", "3"];
    let host = Host::serve("counter_p3").args(args).start();
    let elsewhere: Vec<Slow> = (0..3).map(|_| Slow::on(&host)).collect();
    let here: Vec<Slow> = (0..2).map(|_| Slow::on(&host)).collect();
    // On the one that has room.
    assert_eq!(host.get("/trap").status(), 500);
    here.into_iter().for_each(Slow::expect_failed);
    let counts: Vec<Count> = elsewhere.into_iter().map(|slow| Count::read(&slow.end())).collect();
    let requests: Vec<u64> = counts.iter().map(|count| count.requests).collect();
    assert_eq!(requests, [1, 2, 3]);
    assert!(counts.iter().all(|count| count.instance == counts[0].instance), "{counts:?}");
    assert_eq!(host.get("/").status(), 200);
}

#[test]
fn connection_goes_on_after_its_instance_was_lost() {
    let host = Host::serve("counter_p3").args(SHARE).start();
    let mut slow = Slow::on(&host);
    let mut conn = host.connect();
    assert_eq!(conn.get("/trap").unwrap().status(), 500);
    assert_eq!(Count::read(&conn.get("/").unwrap()).requests, 1);
    let answer = slow.0.read_response("POST").unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (500, "internal error\n"));
}

#[test]
fn instance_that_was_idle_for_too_long_ends_and_the_next_request_has_a_new_one() {
    for guest in ["counter_p2", "counter_p3"] {
        let host = Host::serve(guest)
            .args(REUSE)
            .args(ONE)
            .args(["--reuse-idle", "100ms"])
            .env("HOST_LOG", "host=debug")
            .start();
        let first = Count::next(&host);
        host.wait_log(says::INSTANCE_ENDED);
        let next = Count::next(&host);
        assert_eq!(next.requests, 1, "{guest}");
        assert_ne!(next.instance, first.instance, "{guest}");
    }
}

/// While it serves it is not idle, however long that takes.
#[test]
fn instance_that_serves_does_not_end_for_being_idle() {
    for guest in ["counter_p2", "counter_p3"] {
        let host = Host::serve(guest)
            .args(REUSE)
            .args(["--reuse-idle", "50ms"])
            .env("HOST_LOG", "host=debug")
            .start();
        let held = Slow::on(&host);
        let other = Count::next(&host);
        // The other one has been idle for long enough.
        if guest == "counter_p2" {
            host.wait_log(says::INSTANCE_ENDED);
        }
        let count = Count::read(&held.end());
        assert_eq!(count.requests, 1, "{other:?}");
    }
}

#[test]
fn state_does_not_cross_from_one_generation_to_the_next() {
    for guest in ["counter_p2", "counter_p3"] {
        let app = App::new(guest);
        let host = app.serve().args(SHARE).start();
        let held = Slow::on(&host);
        app.put_bytes(&variant(guest, 1));
        expect_swapped(&reload(&host));
        let new = Count::next(&host);
        assert_eq!(new.requests, 1, "{guest}");
        let old = Count::read(&held.end());
        assert_eq!(old.requests, 1, "it ends where it began");
        assert_ne!(new.instance, old.instance, "{guest}");
        host.wait_log(says::RETIRED_GONE);
        // Back to the same code: made anew all the same.
        app.put(guest);
        expect_swapped(&reload(&host));
        let again = Count::next(&host);
        assert!(again.requests == 1 && again.instance != old.instance, "{again:?} after {old:?}");
    }
}

/// A smoke request leaves nothing for the first client.
#[test]
fn smoke_request_has_an_instance_that_serves_no_other() {
    for guest in ["counter_p2", "counter_p3"] {
        let host = Host::serve(guest).args(REUSE).args(["--smoke", "GET / 200"]).start();
        assert_eq!(Count::next(&host).requests, 1, "{guest}");
    }
}

#[test]
fn slow_reader_of_a_shared_instance_holds_up_no_other() {
    for (guest, args) in [("version_a_p2", &REUSE[..]), ("version_a_p3", &SHARE)] {
        let host = Host::serve(guest).args(args.iter().copied()).start();
        let mut slow = H2::connect_with_window(host.addr(), 100);
        slow.get(1, "/?bytes=500000");
        assert_eq!(slow.expect_status(1), 200);
        for _ in 0..20 {
            assert_eq!(version(&host.get("/")), "a");
        }
        slow.send_window_update(1, 1 << 20);
        let mut length = 0;
        loop {
            let (bytes, last) = slow.expect_data(1);
            length += bytes.len();
            if last {
                break;
            }
        }
        assert_eq!(length, 500_000, "{guest}");
    }
}

#[test]
fn client_that_leaves_breaks_its_own_instance_and_no_other() {
    for guest in ["counter_p2", "counter_p3"] {
        let host = Host::serve(guest).args(REUSE).env("HOST_LOG", "host=debug").start();
        let leaves = Slow::on(&host);
        let stays = Slow::on(&host);
        leaves.0.reset();
        host.wait_log(says::INSTANCE_ENDED);
        let count = Count::read(&stays.end());
        assert_eq!(count.requests, 1, "{guest}");
        assert_eq!(host.log().matches(says::INSTANCE_ENDED).count(), 1, "{guest}");
        assert_eq!(host.get("/").status(), 200);
    }
}

#[test]
fn client_that_leaves_a_shared_instance_fails_no_other_and_the_instance_takes_no_more() {
    let host = Host::serve("counter_p3").args(SHARE).env("HOST_LOG", "host=debug").start();
    let leaves = Slow::on(&host);
    let stays = Slow::on(&host);
    leaves.0.reset();
    let count = Count::read(&stays.end());
    assert_eq!(count.requests, 2, "they shared it");
    host.wait_log(says::INSTANCE_ENDED);
    let next = Count::next(&host);
    assert!(next.requests == 1 && next.instance != count.instance, "{next:?} after {count:?}");
}

#[test]
fn reusable_instance_has_its_cpu_time_for_each_request() {
    for guest in ["busy_p2", "busy_p3"] {
        let args = ["--cpu-time", "700ms"];
        let host = Host::serve(guest).args(REUSE).args(ONE).args(args).start();
        for _ in 0..4 {
            assert_eq!(host.get("/?ms=300").text(), "spun\n", "{guest}");
        }
        assert_eq!(host.get("/").status(), 504, "{guest}");
        assert_eq!(host.get("/?ms=300").text(), "spun\n", "{guest}: on a new instance");
    }
}

#[test]
fn reuse_that_makes_no_sense_is_wrong_usage() {
    let app = guest("counter_p3");
    let app = app.to_str().unwrap();
    for args in [
        &["--reuse", "0"][..],
        &["--reuse-concurrency", "0"],
        &["--reuse-concurrency", "8"],
        &["--reuse", "1", "--reuse-concurrency", "8"],
        &["--reuse", "many"],
        &["--compile-timeout", "0s"],
        &["--grant", "everything"],
        &["--smoke", "GET"],
        &["--smoke", "GET / 2000"],
        &["--max-retired", "few"],
    ] {
        let exit = Host::run([&["serve", app][..], args].concat());
        exit.expect_code(2);
        assert!(exit.stderr.contains(args[0]), "{args:?}: {}", exit.stderr);
    }
}
