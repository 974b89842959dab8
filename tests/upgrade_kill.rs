//! kill -9 of either process at each step of an upgrade: whoever is left serves everybody.
//!
//! At each point one of the two stands still. Then either of them is killed, while clients connect and send requests.
//! What the one that dies was answering would die with it, as at any kill -9: there is nothing of that kind here.

use host_handover::StopPoint;

use crate::support::prelude::*;
use crate::support::upgrade::{StandsStill, Successor, standing_still_at, upgraded_pid};

const GET: &str = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Old,
    New,
}

/// Whether there is somebody left who can serve. Before the new one has the listeners, nobody but the old one has them;
/// and once the old one has heard *taken* and has looked whether the other is still there, the new one is the service, and its
/// end is that of any server.
fn is_survivable(point: StopPoint, victim: Victim) -> bool {
    match victim {
        Victim::Old => !matches!(
            point,
            StopPoint::OldSpawned
                | StopPoint::NewStarted
                | StopPoint::OldHello
                | StopPoint::NewHello
        ),
        // While the new one stands still there, the old one hears it and leaves.
        Victim::New => point != StopPoint::NewTaken,
    }
}

/// Whether the connection that was idle before is at its survivor's.
fn is_kept(point: StopPoint, victim: Victim) -> bool {
    // In the order of an upgrade. What was sent is in the channel, whoever dies.
    let sent = StopPoint::ALL.iter().position(|one| *one == StopPoint::OldConnections);
    let here = StopPoint::ALL.iter().position(|one| *one == point);
    victim == Victim::New || here >= sent
}

#[track_caller]
fn kill_at(point: StopPoint, victim: Victim) {
    let what = format!("{victim:?} killed at {}", point.name());
    let (host, told) = standing_still_at("hello_p2", point.name());
    let mut idle = host.connect();
    assert_eq!(idle.get("/").unwrap().status(), 200);
    let upgrade = host.start_ctl(["upgrade"]);
    let still = told.wait();
    let stands_still = if still == host.pid() { Victim::Old } else { Victim::New };
    assert_eq!(point.name().starts_with("old"), stands_still == Victim::Old, "{what}");
    let new = Successor::new(match stands_still {
        Victim::New => still,
        Victim::Old => successor_of(host.pid()),
    });
    let kill = || match victim {
        Victim::Old => host.signal(Signal::KILL),
        Victim::New => {
            new.signal(Signal::KILL);
            // Only then its end of the channel is closed.
            new.wait_end();
        }
    };
    let lives = is_survivable(point, victim);
    let before = (lives && stands_still == victim).then(|| ask(&host));
    kill();
    let after = lives.then(|| ask(&host));
    host.signal(Signal::CONT);
    new.signal(Signal::CONT);
    for (number, mut conn) in before.into_iter().chain(after).flatten().enumerate() {
        let answer = conn.read_response("GET");
        let answer = answer.unwrap_or_else(|why| panic!("{what}: request {number}: {why}"));
        assert_eq!(answer.status(), 200, "{what}: request {number}");
    }
    if lives {
        assert_eq!(host.get("/").status(), 200, "{what}");
        if is_kept(point, victim) {
            assert_eq!(idle.get("/").unwrap().status(), 200, "{what}: the idle connection");
        }
    } else {
        new.wait_end();
    }
    if victim == Victim::New && lives {
        upgrade.wait_exit().expect_code(1);
        expect_upgraded(&host, told);
    }
}

/// Another upgrade comes through.
#[track_caller]
fn expect_upgraded(host: &Host, told: StandsStill) {
    let told = std::thread::spawn(move || told.wait());
    let again = host.start_ctl(["upgrade"]);
    Successor::new(told.join().unwrap()).signal(Signal::CONT);
    let exit = again.wait_exit();
    exit.expect_code(0);
    upgraded_pid(&exit.stdout);
    assert_eq!(host.get("/").status(), 200);
}

/// Three clients connect and send a request, whoever accepts.
#[track_caller]
fn ask(host: &Host) -> Vec<Conn> {
    let ask = |_| {
        let mut conn = host.connect();
        conn.send(GET).unwrap();
        conn
    };
    (0..3).map(ask).collect()
}

/// The one that the launcher has started, which `pid` has started.
fn successor_of(pid: u32) -> u32 {
    child_of(child_of(pid))
}

fn child_of(pid: u32) -> u32 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let children = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.unwrap().path().join("children")).unwrap()
    };
    let children: String = tasks.map(children).collect();
    children.split_whitespace().next().expect("a child").parse().unwrap()
}

#[test]
fn old_process_is_killed_at_each_step() {
    // At this one the listeners may be on their way, or not: it is one step of the new one and two of the old one.
    for point in StopPoint::ALL.iter().filter(|point| **point != StopPoint::NewHello) {
        kill_at(*point, Victim::Old);
    }
}

#[test]
fn new_process_is_killed_at_each_step() {
    for point in StopPoint::ALL.iter().filter(|point| is_survivable(**point, Victim::New)) {
        kill_at(*point, Victim::New);
    }
}
