//! The claim for upgrades: no request is lost, refused or answered twice, of any client.
//!
//! `HOST_SOAK_UPGRADES` makes it as many as wanted: `make soak` does a hundred of each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::keyvalue::{kv, three};
use crate::support::load::{Company, Load};
use crate::support::prelude::*;
use crate::support::upgrade::{Successor, upgrade};

const CLIENTS: usize = 64;

fn upgrades() -> usize {
    std::env::var("HOST_SOAK_UPGRADES").map_or(5, |count| count.parse().expect("a number"))
}

#[track_caller]
fn lose_nothing(guest: &str, mode: Mode, over: Over) {
    let host = Host::serve(guest).control().everywhere().start();
    let target = match over {
        Over::Plain => host.addr().into(),
        Over::Tls => Target::Tls(host.tls_addr()),
    };
    let load = Load::new(target, "/?ms=5");
    let company = Company { held: 4, idle: 4 };
    let meanwhile = || {
        let mut slowest = String::new();
        let mut last = None;
        for _ in 0..upgrades() {
            let mark = host.mark();
            let successor = upgrade(&host);
            slowest = host.wait_log_after(mark, "upgrade: the new process has taken over");
            last = Some(successor);
        }
        (last.expect("one at least"), slowest)
    };
    let (ledger, (successor, line)) = load.drive_after(
        mode,
        CLIENTS,
        (company, meanwhile),
        |(successor, line): (Successor, _)| {
            successor.signal(Signal::TERM);
            (successor, line)
        },
    );
    println!("{mode:?}, {over:?}, {guest}, {} upgrades: {ledger}; the last: {line}", upgrades());
    successor.wait_end();
    assert!(ledger.lost.is_empty(), "{ledger}");
}

#[test]
fn clients_lose_nothing_over_upgrades_h1_kept() {
    lose_nothing("sleep_p2", Mode::H1Kept, Over::Plain);
}

#[test]
fn clients_lose_nothing_over_upgrades_h1_fresh() {
    lose_nothing("sleep_p3", Mode::H1Fresh, Over::Plain);
}

#[test]
fn clients_lose_nothing_over_upgrades_h2_kept() {
    lose_nothing("sleep_p2", Mode::H2Kept, Over::Plain);
}

#[test]
fn clients_lose_nothing_over_upgrades_tls_h1_kept() {
    lose_nothing("sleep_p3", Mode::H1Kept, Over::Tls);
}

#[test]
fn clients_lose_nothing_over_upgrades_tls_h2_fresh() {
    lose_nothing("sleep_p2", Mode::H2Fresh, Over::Tls);
}

/// Ends the clients, whatever becomes of the test.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Both processes have the database in the overlap, and no increment is lost or done twice.
#[test]
fn increments_on_disk_are_exact_over_upgrades() {
    let site = three("backend = \"disk\"\npath = \"data.redb\"");
    let host = site.serve().control().start();
    let done = AtomicBool::new(false);
    let (host, done) = (&host, &done);
    let total: u64 = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(move || {
                    let mut count = 0;
                    let mut conn = host.connect();
                    while !done.load(Ordering::Relaxed) {
                        let answer = conn.get("/a/kv/incr?bucket=own&key=n").expect("an answer");
                        assert_eq!(answer.status(), 200, "{answer}");
                        assert!(answer.body.text().trim().parse::<u64>().is_ok(), "{answer}");
                        count += 1;
                        if answer.head.says_close() {
                            conn = host.connect();
                        }
                    }
                    count
                })
            })
            .collect();
        let end = SetAtEnd(done);
        for _ in 0..3 {
            let mark = host.mark();
            upgrade(host);
            host.wait_log_after(mark, "upgrade: the old host has ended");
        }
        drop(end);
        clients.into_iter().map(|client| client.join().expect("a client")).sum()
    });
    let last = kv(host, "a", "incr?bucket=own&key=n").trim().parse::<u64>().unwrap();
    assert_eq!(last, total + 1);
}
