//! All components share the workers and the total of instances. None takes so much that others get nothing,
//! and none holds what it does not use.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::support::prelude::*;
use crate::support::site::{Site, beside_a_good_one};
use crate::support::status::{wait_in_flight, wait_status};
use crate::support::stop::{OPEN, POST_HEAD};
use crate::support::wire;

const NO_ROOM: &str = "no room in the instance pool";

/// When each of so many answers waited for a second or two, as they did, [`PATIENCE`] is over before the last.
const ANSWERS: usize = 25;

/// Asks again and again, with `pause` before each time.
#[track_caller]
fn expect_answers(pause: Duration, mut ask: impl FnMut()) {
    let until = Instant::now() + PATIENCE;
    for answered in 0..ANSWERS {
        // A client that asks now and then: the pause is what this is about.
        sleep(pause);
        ask();
        assert!(Instant::now() < until, "{answered} of {ANSWERS} answers in {PATIENCE:?}");
    }
}

/// Expects answers to three clients: one on a kept-alive connection that asks now and then, one that
/// connects each time, and one that asks for what no guest answers. `make bench` measures how long they take.
#[track_caller]
fn expect_clients_served(host: &Host) {
    let mut conn = host.connect();
    expect_answers(Duration::from_millis(200), || {
        assert_eq!(conn.get("/good").unwrap().status(), 200);
    });
    expect_answers(Duration::ZERO, || assert_eq!(host.get("/good").status(), 200));
    expect_answers(Duration::ZERO, || assert_eq!(host.get("/none").status(), 404));
}

/// It waited 2 s beside 250: each guest that spins was in the queue before it, because a neighbour
/// that asks so seldom was not seen. What no guest answers waited as long, and so did connections.
#[test]
fn client_that_asks_now_and_then_is_served_beside_200_guests_that_spin() {
    let limits = "[limits]\n\
                  instances = 200\n\
                  cpu-time = \"1h\"\n\
                  response-head-timeout = \"1h\"";
    let site = Site::new(&beside_a_good_one("bad", "guest:hostile_p2", "", limits));
    let host = site.serve().control().start();
    let spinning: Vec<Conn> = (0..200)
        .map(|_| {
            let mut conn = host.connect();
            conn.send(wire::get("/bad/spin")).unwrap();
            conn
        })
        .collect();
    wait_in_flight(&host, 200);
    expect_clients_served(&host);
    wait_in_flight(&host, 200);
    spinning.into_iter().for_each(Conn::reset);
}

/// Ends what others do in a loop, also when the test fails.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// It waited for most of a second: each new guest wrote 100 MiB in one instruction, which no tick stops,
/// before anybody knew of it, and the worker that did so had the reactor.
#[test]
fn client_that_asks_now_and_then_is_served_beside_guests_that_no_tick_can_stop() {
    let limits = "[limits]\n\
                  cpu-time = \"60s\"";
    let site = Site::new(&beside_a_good_one("bad", "guest:fill_p2", "", limits));
    let host = site.serve().start();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let until = Until(&over);
        for path in ["/bad?mib=100", "/bad/copy?mib=100"].into_iter().cycle().take(10) {
            let (host, over) = (&host, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Acquire) {
                    // Its turn may not come in time; that is no matter of this test.
                    drop(host.connect().get(path));
                }
            });
        }
        assert_eq!(host.get("/bad?mib=100").text(), "filled\n");
        expect_clients_served(&host);
        drop(until);
    });
}

/// The host stood idle until the queue's wait was over: the direct request had the application's
/// only instance and waited for the total, the chained one had the total and waited for that instance.
#[test]
fn direct_and_chained_requests_do_not_wait_for_each_other() {
    for guests in [("pass_p2", "gate_p2"), ("pass_p3", "gate_p3")] {
        let site = Site::new(&format!(
            r#"
            [total]
            instances = 2
            [limits]
            instances = 2
            queue-timeout = "60s"
            [component.plugin]
            source = "guest:{}"
            [component.app]
            source = "guest:{}"
            limits.instances = 1
            [[route]]
            path = "/direct"
            component = "app"
            strip-prefix = true
            [[route]]
            path = "/chained"
            component = "app"
            chain = ["plugin"]
            strip-prefix = true
            "#,
            guests.0, guests.1
        ));
        let host = site.serve().control().start();
        let mut conns: Vec<Conn> = Vec::new();
        for (path, count) in [("/chained/head", 1), ("/direct/head", 2), ("/chained/head", 3)] {
            let mut conn = host.connect();
            conn.send(POST_HEAD.replace("/head", path)).unwrap();
            conns.push(conn);
            wait_in_flight(&host, count);
            host.wait_log(says::GATE_STARTED);
        }
        for conn in &mut conns {
            conn.send(OPEN).unwrap();
        }
        for conn in &mut conns {
            assert_eq!(conn.read_response("POST").unwrap().text(), "done\n");
        }
    }
}

const FOUR: [&str; 4] = ["a", "b", "c", "d"];

/// Each left an instance behind that was counted for its own component only, and the pool was full of
/// them: the next one was told so at once.
#[test]
fn work_after_the_answer_of_one_that_was_passed_on_to_counts_among_all_instances() {
    for (plugin, app) in [("pass_p2", "after_p2"), ("pass_p3", "after_p3")] {
        let mut manifest = format!(
            "[total]\ninstances = 4\n\
             [limits]\ninstances = 4\nqueue-timeout = \"15s\"\nafter-timeout = \"1s\"\n\
             [component.plugin]\nsource = \"guest:{plugin}\"\n"
        );
        for name in FOUR {
            manifest += &format!(
                "[component.{name}]\nsource = \"guest:{app}\"\n\
                 [[route]]\npath = \"/{name}\"\ncomponent = \"{name}\"\n\
                 chain = [\"plugin\"]\nstrip-prefix = true\n"
            );
        }
        let host = Site::new(&manifest).serve().start();
        for _ in 0..4 {
            for name in FOUR {
                let answer = host.get(&format!("/{name}/forever"));
                assert_eq!(answer.text(), "answered\n", "{answer}");
            }
        }
        assert!(!host.log().contains(NO_ROOM), "{}", host.log());
    }
}

/// Four components had four idle instances each, and that was all of the pool: every request to the
/// fifth was refused until they had waited long enough.
#[test]
fn instances_that_wait_to_be_used_again_take_no_room_from_others() {
    let mut manifest = "[total]\ninstances = 4\n[limits]\ninstances = 4\n".to_owned();
    for name in FOUR {
        manifest += &format!(
            "[component.{name}]\nsource = \"guest:counter_p2\"\n\
             reuse = {{ exchanges = 100, idle = \"600s\" }}\n\
             [[route]]\npath = \"/{name}\"\ncomponent = \"{name}\"\nstrip-prefix = true\n"
        );
    }
    manifest += "[component.good]\nsource = \"guest:hello_p2\"\n\
                 [[route]]\npath = \"/good\"\ncomponent = \"good\"\n";
    let host = Site::new(&manifest).serve().control().start();
    for name in FOUR {
        let mut held: Vec<Conn> = (0..4).map(|_| host.connect()).collect();
        for conn in &mut held {
            conn.send(wire::chunked(&format!("/{name}/slow"))).unwrap();
        }
        wait_status(&host, "held", |status| status["instances"]["in_use"] == 4);
        for conn in &mut held {
            conn.send(wire::LAST_CHUNK).unwrap();
            assert_eq!(conn.read_response("POST").unwrap().status(), 200);
        }
    }
    for path in ["/good", "/a", "/b", "/c", "/d", "/good"] {
        assert_eq!(host.get(path).status(), 200, "{path}");
    }
    assert!(!host.log().contains(NO_ROOM), "{}", host.log());
}
