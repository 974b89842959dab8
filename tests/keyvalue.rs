//! Buckets that components are given, in memory and on disk.

use std::thread;

use crate::support::app::{reload, variant};
use crate::support::prelude::*;
use crate::support::site::Site;

/// Components `a` and `b` with own and shared buckets in one store, and `c` with nothing.
pub const THREE: &str = r#"
    [keyvalue.main]
    STORE
    [component.a]
    source = "guest:grants_p2"
    [component.a.grants.keyvalue]
    own = "main"
    both = { store = "main", shared = "both" }
    [component.b]
    source = "guest:grants_p2"
    [component.b.grants.keyvalue]
    own = "main"
    ours = { store = "main", shared = "both" }
    [component.c]
    source = "guest:grants_p2"
    [[route]]
    path = "/a"
    component = "a"
    strip-prefix = true
    [[route]]
    path = "/b"
    component = "b"
    strip-prefix = true
    [[route]]
    path = "/c"
    component = "c"
    strip-prefix = true
"#;

/// The three of them over a store of this kind.
pub fn three(store: &str) -> Site {
    Site::new(&THREE.replace("STORE", store))
}

/// What the guest at `/NAME` says of an operation.
#[track_caller]
pub fn kv(host: &Host, name: &str, operation: &str) -> String {
    let answer = host.get(&format!("/{name}/kv/{operation}"));
    assert_eq!(answer.status(), 200, "{answer}");
    answer.text()
}

const MEMORY: &str = "backend = \"memory\"";
const DISK: &str = "backend = \"disk\"\npath = \"data.redb\"";

/// What every backend does alike.
#[track_caller]
pub fn expect_operations(host: &Host) {
    for (operation, says) in [
        ("get?bucket=own&key=k", "none\n"),
        ("exists?bucket=own&key=k", "false\n"),
        ("set?bucket=own&key=k&value=v", "set\n"),
        ("get?bucket=own&key=k", "v\n"),
        ("exists?bucket=own&key=k", "true\n"),
        ("delete?bucket=own&key=k", "deleted\n"),
        ("delete?bucket=own&key=k", "deleted\n"),
        ("get?bucket=own&key=k", "none\n"),
        ("incr?bucket=own&key=n", "1\n"),
        ("incr?bucket=own&key=n&value=41", "42\n"),
        ("get?bucket=own&key=n", "42\n"),
        ("set?bucket=own&key=n&value=x", "set\n"),
        ("incr?bucket=own&key=n", "error: other: the value is not a number\n"),
        ("many/set?bucket=own&key=p,q&value=1,2", "set\n"),
        ("many/get?bucket=own&key=q,none,p", "2\nnone\n1\n"),
        ("list?bucket=own", "n\np\nq\n"),
        ("many/delete?bucket=own&key=n,p,none", "deleted\n"),
        ("list?bucket=own", "q\n"),
        ("delete?bucket=own&key=q", "deleted\n"),
    ] {
        assert_eq!(kv(host, "a", operation), says, "{operation}");
    }
    let long = "k".repeat(1025);
    let told = kv(host, "a", &format!("set?bucket=own&key={long}&value=v"));
    assert_eq!(told, "error: other: the key is too long\n");
}

/// What each component sees, in every backend alike.
#[track_caller]
pub fn expect_walls(host: &Host) {
    assert_eq!(kv(host, "a", "set?bucket=own&key=k&value=a"), "set\n");
    assert_eq!(kv(host, "b", "get?bucket=own&key=k"), "none\n");
    assert_eq!(kv(host, "b", "list?bucket=own"), "");
    assert_eq!(kv(host, "b", "set?bucket=own&key=k&value=b"), "set\n");
    assert_eq!(kv(host, "a", "get?bucket=own&key=k"), "a\n");
    assert_eq!(kv(host, "a", "set?bucket=both&key=k&value=shared"), "set\n");
    assert_eq!(kv(host, "b", "get?bucket=ours&key=k"), "shared\n");
    assert_eq!(kv(host, "a", "get?bucket=own&key=k"), "a\n");
    for (name, bucket) in [("a", "ours"), ("b", "both"), ("a", "main"), ("a", ""), ("a", "a:own")] {
        let told = kv(host, name, &format!("get?bucket={bucket}&key=k"));
        assert_eq!(told, "error: no-such-store\n", "{name} {bucket}");
    }
    for bucket in ["own", "both", "ours", "main"] {
        let told = kv(host, "c", &format!("get?bucket={bucket}&key=k"));
        assert_eq!(told, "error: access-denied\n", "{bucket}");
    }
}

/// 200 requests at once that add one: each gets another sum.
#[track_caller]
pub fn expect_exact_increments(host: &Host) {
    let mut sums: Vec<u64> = thread::scope(|scope| {
        let one = |n: usize| {
            let (name, bucket) = if n.is_multiple_of(2) { ("a", "both") } else { ("b", "ours") };
            let operation = format!("incr?bucket={bucket}&key=sum");
            scope.spawn(move || kv(host, name, &operation).trim_end().parse().expect("a sum"))
        };
        let all: Vec<_> = (0..200).map(one).collect();
        all.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    sums.sort_unstable();
    assert_eq!(sums, (1..=200).collect::<Vec<u64>>());
    assert_eq!(kv(host, "b", "get?bucket=ours&key=sum"), "200\n");
}

#[test]
fn operations_do_what_the_draft_says() {
    for store in [MEMORY, DISK] {
        expect_operations(&three(store).serve().start());
    }
}

#[test]
fn own_buckets_are_seen_by_their_component_and_shared_ones_by_all_that_share() {
    for store in [MEMORY, DISK] {
        expect_walls(&three(store).serve().start());
    }
}

#[test]
fn bucket_that_was_not_granted_is_refused_with_a_line_in_the_log() {
    let host = three(MEMORY).serve().start();
    assert_eq!(kv(&host, "c", "get?bucket=own%0Aevil&key=k"), "error: access-denied\n");
    let line = host.wait_log("a key-value bucket that it was not granted");
    assert!(line.contains("component=\"c\"") && line.contains("bucket=\"own%0Aevil\""), "{line}");
    assert_eq!(kv(&host, "a", "get?bucket=carts&key=k"), "error: no-such-store\n");
    let line = host.wait_log_nth("a key-value bucket that it was not granted", 2);
    assert!(line.contains("component=\"a\"") && line.contains("carts"), "{line}");
}

#[test]
fn increments_of_two_hundred_requests_at_once_are_exact() {
    for store in [MEMORY, DISK] {
        expect_exact_increments(&three(store).serve().start());
    }
}

#[test]
fn bucket_on_disk_outlives_a_restart_and_one_in_memory_does_not() {
    for (store, after) in [(DISK, "v\n"), (MEMORY, "none\n")] {
        let site = three(store);
        let host = site.serve().start();
        assert_eq!(kv(&host, "a", "set?bucket=own&key=k&value=v"), "set\n");
        host.signal(Signal::TERM);
        host.wait_exit().expect_code(0);
        let host = site.serve().start();
        assert_eq!(kv(&host, "a", "get?bucket=own&key=k"), after);
        assert_eq!(kv(&host, "b", "get?bucket=own&key=k"), "none\n");
        // Each stop left it open, and each start checked all of it.
        assert!(!host.log().contains("was not closed"), "{}", host.log());
    }
}

#[test]
fn write_on_disk_that_was_answered_outlives_a_kill() {
    let site = three(DISK);
    for life in 1..=3 {
        let host = site.serve().start();
        assert_eq!(kv(&host, "a", "incr?bucket=both&key=lives"), format!("{life}\n"));
        host.signal(Signal::KILL);
        host.wait_exit().expect_code(-9);
    }
    let host = site.serve().start();
    assert_eq!(kv(&host, "b", "get?bucket=ours&key=lives"), "3\n");
    assert!(host.log().contains("was not closed"), "{}", host.log());
}

#[test]
fn file_on_disk_is_for_one_process_at_a_time() {
    let site = three(DISK);
    let host = site.serve().start();
    let exit = Host::run(["serve", site.text(), "--addr", "127.0.0.1:0", "--control", "off"]);
    exit.expect_code(3);
    assert!(exit.stderr.contains("data.redb"), "{}", exit.stderr);
    assert_eq!(kv(&host, "a", "incr?bucket=own&key=n"), "1\n", "the first goes on");
}

#[test]
fn component_at_its_size_is_refused_the_write_and_takes_nothing_from_its_neighbour() {
    for store in [MEMORY, DISK] {
        let limit = "[component.a.limits]\nkeyvalue-size = \"4KiB\"\n[component.b]";
        let site = Site::new(&THREE.replace("STORE", store).replacen("[component.b]", limit, 1));
        let host = site.serve().start();
        let value = "x".repeat(1000);
        let set = |name: &str, key: u32| {
            kv(&host, name, &format!("set?bucket=own&key={key}&value={value}"))
        };
        // Each counts its key, its value and 128 bytes.
        for key in 0..3 {
            assert_eq!(set("a", key), "set\n");
        }
        assert_eq!(set("a", 3), "error: other: the bucket is full\n");
        assert_eq!(kv(&host, "a", "get?bucket=own&key=3"), "none\n");
        let large = format!("set?bucket=own&key=l&value={}", "x".repeat(5000));
        assert_eq!(kv(&host, "a", &large), "error: other: the value is too large\n");
        let line = host.wait_log("key-value operation of a guest fails");
        assert!(line.contains("component=\"a\""), "{line}");
        assert!(line.contains("(limits.keyvalue-size)"), "{line}");
        for key in 0..6 {
            assert_eq!(set("b", key), "set\n");
        }
        assert_eq!(kv(&host, "a", "delete?bucket=own&key=0"), "deleted\n");
        assert_eq!(set("a", 3), "set\n", "there is room again");
    }
}

#[test]
fn state_outlives_a_swap_and_a_reload() {
    for store in [MEMORY, DISK] {
        let site = three(store);
        let host = site.serve().start();
        assert_eq!(kv(&host, "a", "incr?bucket=own&key=n"), "1\n");
        // The same guest by other bytes.
        site.put_bytes("other.wasm", &variant("grants_p2", 1));
        let text = THREE.replace("STORE", store);
        site.write(&text.replacen("\"guest:grants_p2\"", "\"other.wasm\"", 1));
        expect_changed(&reload(&host));
        assert_eq!(kv(&host, "a", "incr?bucket=own&key=n"), "2\n");
        site.put_bytes("other.wasm", &variant("grants_p2", 2));
        expect_changed(&reload(&host));
        assert_eq!(kv(&host, "a", "incr?bucket=own&key=n"), "3\n");
    }
}

#[track_caller]
fn expect_changed(outcome: &str) {
    assert!(outcome.contains("changed: a "), "{outcome}");
}
