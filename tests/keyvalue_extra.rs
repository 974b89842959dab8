//! Pairs that end, compare-and-swap, keys by prefix: as guests of both kinds see them, in every backend.

use std::thread;
use std::time::Instant;

use crate::keyvalue::{THREE, kv};
use crate::support::PATIENCE;
use crate::support::prelude::*;
use crate::support::redis::Redis;
use crate::support::site::Site;

/// Each backend that can be had here; the server lives as long as it is held.
fn stores() -> (Vec<String>, Option<Redis>) {
    let redis = Redis::start();
    let mut stores = vec![
        "backend = \"memory\"".to_owned(),
        "backend = \"disk\"\npath = \"data.redb\"".to_owned(),
    ];
    stores.extend(
        redis.iter().map(|redis| format!("backend = \"redis\"\nurl = \"{}\"", redis.url())),
    );
    (stores, redis)
}

fn serve(guest: &str, store: &str) -> (Site, Host) {
    let site = Site::new(&THREE.replace("STORE", store).replace("grants_p2", guest));
    let host = site.serve().start();
    (site, host)
}

/// Asks until the guest says so.
#[track_caller]
fn wait_kv(host: &Host, operation: &str, says: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let told = kv(host, "a", operation);
        if told == says {
            return;
        }
        assert!(Instant::now() < until, "{operation}: {told}");
    }
}

#[test]
fn guests_set_for_a_time_compare_and_swap_and_list_by_prefix() {
    let (stores, _redis) = stores();
    for (guest, store) in
        ["grants_p2", "grants_p3"].iter().flat_map(|guest| stores.iter().map(move |it| (guest, it)))
    {
        let (_site, host) = serve(guest, store);
        for (operation, says) in [
            ("set-with-ttl?bucket=own&key=k&value=v&ttl=600000", "set\n"),
            ("get?bucket=own&key=k", "v\n"),
            (
                "set-with-ttl?bucket=own&key=k&value=v&ttl=0",
                "error: other: the time to live is too short\n",
            ),
            ("cas?bucket=own&key=c&expected=0&value=1", "it is none\n"),
            ("cas?bucket=own&key=c&value=1", "swapped\n"),
            ("cas?bucket=own&key=c&value=1", "it is 1\n"),
            ("cas?bucket=own&key=c&expected=1&value=2&ttl=600000", "swapped\n"),
            ("get?bucket=own&key=c", "2\n"),
            ("cas?bucket=own&key=c&expected=2", "swapped\n"),
            ("exists?bucket=own&key=c", "false\n"),
            ("many/set?bucket=own&key=p:1,p:2,p,q&value=1,2,3,4", "set\n"),
            ("prefix?bucket=own&key=p:", "p:1\np:2\n"),
            ("prefix?bucket=own&key=p:&limit=1", "p:1\np:2\n"),
            ("prefix?bucket=own&key=", "k\np\np:1\np:2\nq\n"),
            ("set-with-ttl?bucket=own&key=p:1&value=v&ttl=1", "set\n"),
        ] {
            assert_eq!(kv(&host, "a", operation), says, "{operation} of {guest} in {store}");
        }
        wait_kv(&host, "get?bucket=own&key=p:1", "none\n");
        for (operation, says) in [
            ("exists?bucket=own&key=p:1", "false\n"),
            ("list?bucket=own", "k\np\np:2\nq\n"),
            ("prefix?bucket=own&key=p:", "p:2\n"),
            ("incr?bucket=own&key=p:1", "1\n"),
            ("many/delete?bucket=own&key=k,p,q,p:1,p:2", "deleted\n"),
        ] {
            assert_eq!(kv(&host, "a", operation), says, "{operation} of {guest} in {store}");
        }
    }
}

/// Adds 1 by compare-and-swap, as often as it takes.
fn count_up(host: &Host, (name, bucket): (&str, &str)) {
    let mut expected = None::<String>;
    loop {
        let next = expected.as_ref().map_or(0, |now| now.parse().expect("a number")) + 1_u64;
        let given = expected.as_ref().map_or_else(String::new, |now| format!("&expected={now}"));
        let told = kv(host, name, &format!("cas?bucket={bucket}&key=n{given}&value={next}"));
        match told.strip_prefix("it is ") {
            None => return assert_eq!(told, "swapped\n"),
            Some(value) => expected = Some(value.trim_end().to_owned()),
        }
    }
}

#[test]
fn requests_at_once_that_count_by_compare_and_swap_lose_nothing() {
    let (stores, _redis) = stores();
    for store in &stores {
        let (_site, host) = serve("grants_p2", store);
        thread::scope(|scope| {
            for whose in [("a", "both"), ("b", "ours")].repeat(4) {
                let host = &host;
                scope.spawn(move || (0..5).for_each(|_| count_up(host, whose)));
            }
        });
        assert_eq!(kv(&host, "a", "get?bucket=both&key=n"), "40\n", "{store}");
    }
}

/// A pair that ends while the host is down has ended when it is up again.
#[test]
fn ends_outlive_a_restart_of_the_host() {
    let (stores, _redis) = stores();
    for store in stores.iter().filter(|store| !store.contains("memory")) {
        let (site, host) = serve("grants_p2", store);
        assert_eq!(kv(&host, "a", "set-with-ttl?bucket=own&key=k&value=v&ttl=1"), "set\n");
        assert_eq!(kv(&host, "a", "set-with-ttl?bucket=own&key=l&value=v&ttl=600000"), "set\n");
        host.signal(Signal::TERM);
        host.wait_exit().expect_code(0);
        let host = site.serve().start();
        wait_kv(&host, "get?bucket=own&key=k", "none\n");
        assert_eq!(kv(&host, "a", "get?bucket=own&key=l"), "v\n");
    }
}

/// Room that pairs took that have ended comes back without a write to their bucket.
#[test]
fn host_frees_what_has_ended() {
    let (stores, _redis) = stores();
    for store in &stores {
        let limit = "[component.a.limits]\nkeyvalue-size = \"2KiB\"\n[component.b]";
        let more = "own = \"main\"\nother = \"main\"\nboth";
        let text = THREE.replace("STORE", store).replacen("[component.b]", limit, 1);
        let site = Site::new(&text.replacen("own = \"main\"\n    both", more, 1));
        let host = site.serve().start();
        let value = "x".repeat(1_500);
        let set = format!("set-with-ttl?bucket=own&key=k&value={value}&ttl=1");
        assert_eq!(kv(&host, "a", &set), "set\n");
        wait_kv(&host, &format!("set?bucket=other&key=k&value={value}"), "set\n");
    }
}

/// Guests are built with a copy of the interface.
#[test]
fn interface_of_guests_is_that_of_the_host() {
    let read =
        |path: &str| std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR")));
    let own = read("wit/keyvalue/keyvalue.wit").unwrap();
    assert_eq!(read("guest/wit/deps/host-keyvalue/keyvalue.wit").unwrap(), own);
}
