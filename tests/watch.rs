//! `--watch`: a file that changes is swapped in, however it changes, once, and whole.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::support::app::{App, Folder, bytes, expect_swapped, text, variant, version};
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::upstream::Upstream;

/// The host takes a change for done when nothing has followed it for so long.
const QUIET: Duration = Duration::from_millis(200);

/// A host that watches version a in `path`.
#[track_caller]
fn watching(path: &str) -> Host {
    let host = Host::serve(path).args(["--watch"]).start();
    host.wait_log(says::WATCHING);
    assert_eq!(version(&host.get("/")), "a");
    host
}

/// How many swaps have begun.
fn begun(host: &Host) -> usize {
    host.log().matches(says::SWAP_BEGINS).count()
}

/// Returns when version b serves, by the first swap that there was.
#[track_caller]
fn expect_the_first_swap(host: &Host) {
    assert_eq!(expect_swapped(&host.wait_log(says::SWAPPED)), (1, 2));
    assert_eq!(version(&host.get("/")), "b");
}

const PAIRS: [[&str; 2]; 2] = [["version_a_p2", "version_b_p2"], ["version_a_p3", "version_b_p3"]];

#[test]
fn file_that_is_renamed_over_is_swapped_in() {
    for [a, b] in PAIRS {
        let app = App::new(a);
        let host = watching(app.text());
        app.put(b);
        expect_the_first_swap(&host);
        let line = host.wait_log(says::SWAP_BEGINS);
        assert!(line.contains("--watch"), "who asked: {line}");
        app.put(a);
        host.wait_log_nth(says::SWAPPED, 2);
        assert_eq!(version(&host.get("/")), "a", "it goes on watching");
    }
}

#[test]
fn file_that_is_written_in_place_is_swapped_in() {
    for [a, b] in PAIRS {
        let app = App::new(a);
        let host = watching(app.text());
        fs::write(app.path(), bytes(b)).unwrap();
        expect_the_first_swap(&host);
    }
}

#[test]
fn file_that_is_removed_and_made_again_is_swapped_in() {
    let app = App::new("version_a_p2");
    let host = watching(app.text());
    fs::remove_file(app.path()).unwrap();
    let rejected = host.wait_log(says::REJECTED);
    assert!(rejected.contains("step read: "), "{rejected}");
    assert_eq!(version(&host.get("/")), "a");
    fs::write(app.path(), bytes("version_b_p2")).unwrap();
    expect_the_first_swap(&host);
}

/// As Kubernetes mounts a ConfigMap: the file and its folder are links, and one of them is turned.
#[test]
fn symbolic_link_that_is_turned_is_swapped_in() {
    for [a, b] in PAIRS {
        let folder = Folder::new();
        for (version, guest) in [("..v1", a), ("..v2", b), ("..v3", a)] {
            fs::create_dir(folder.join(version)).unwrap();
            fs::write(folder.join(version).join("app.wasm"), bytes(guest)).unwrap();
        }
        symlink("..v1", folder.join("..data")).unwrap();
        symlink("..data/app.wasm", folder.join("app.wasm")).unwrap();
        let turn = |version: &str| {
            symlink(version, folder.join("..data_tmp")).unwrap();
            fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        };
        let host = watching(text(&folder.join("app.wasm")));
        turn("..v2");
        expect_the_first_swap(&host);
        fs::remove_dir_all(folder.join("..v1")).unwrap();
        turn("..v3");
        host.wait_log_nth(says::SWAPPED, 2);
        assert_eq!(version(&host.get("/")), "a", "where the link points to now is watched too");
    }
}

#[test]
fn file_that_is_half_written_is_refused_and_swapped_in_when_the_rest_has_come() {
    for [a, b] in PAIRS {
        let app = App::new(a);
        let host = watching(app.text());
        let mut conn = host.connect();
        let whole = bytes(b);
        let (half, rest) = whole.split_at(whole.len() / 2);
        fs::write(app.path(), half).unwrap();
        let rejected = host.wait_log(says::REJECTED);
        assert!(rejected.contains("is the file complete?"), "{rejected}");
        assert_eq!(version(&conn.get("/").unwrap()), "a", "the old one serves on");
        let mut file = OpenOptions::new().append(true).open(app.path()).unwrap();
        file.write_all(rest).unwrap();
        drop(file);
        expect_the_first_swap(&host);
        assert_eq!(version(&conn.get("/").unwrap()), "b");
    }
}

#[test]
fn burst_of_writes_is_one_swap() {
    let app = App::new("version_a_p2");
    let host = watching(app.text());
    // Elsewhere, so that making them is not seen.
    let elsewhere = Folder::new();
    let path = |number: u8| elsewhere.join(&number.to_string());
    for number in 0..20 {
        fs::write(path(number), variant("version_b_p2", number)).unwrap();
    }
    let mut latest = Instant::now();
    let mut bursts = 1;
    for number in 0..20 {
        let began = Instant::now();
        fs::rename(path(number), app.path()).unwrap();
        // Should this thread stand still for so long, then the host has seen the end of a burst.
        bursts += usize::from(latest.elapsed() >= QUIET);
        latest = began;
    }
    expect_the_first_swap(&host);
    // Were another one to come for the burst, it would be before that of the next change.
    app.put("version_a_p3");
    let until = Instant::now() + PATIENCE;
    while version(&host.get("/")) != "a" {
        assert!(Instant::now() < until, "{}", host.log());
    }
    assert!((2..=1 + bursts).contains(&begun(&host)), "{bursts} bursts: {}", host.log());
}

/// Other files in its folder change nothing: the log of the host itself may be one of them, and what
/// an operator has rolled back stays so. They are not even looked at, so that what would have come of
/// one is told by what comes of a later date of the file.
#[test]
fn file_beside_it_swaps_nothing_and_undoes_no_rollback() {
    let app = App::new("version_a_p2");
    let host = app.serve().control().args(["--watch"]).start();
    host.wait_log(says::WATCHING);
    app.put("version_b_p2");
    host.wait_log(says::SWAPPED);
    host.ctl(["rollback"]).expect_code(0);
    let (swaps, mark) = (begun(&host), host.mark());
    fs::write(app.folder.join("other.wasm"), bytes("version_b_p2")).unwrap();
    OpenOptions::new().write(true).open(app.path()).unwrap().set_modified(UNIX_EPOCH).unwrap();
    host.wait_log_after(mark, says::UNCHANGED);
    assert_eq!((begun(&host), version(&host.get("/")).as_str()), (swaps + 1, "a"));
    app.put("version_b_p3");
    host.wait_log_nth(says::SWAPPED, 3);
    assert_eq!(version(&host.get("/")), "b");
}

/// A release is prepared beside the one that serves, and put in its place by a rename of the folder, or
/// by an exchange of both, or of a link to it: nothing happens in the folder of the file.
#[test]
fn folder_above_that_is_exchanged_for_another_is_swapped_in() {
    let folder = Folder::new();
    for (release, guest) in [("a", "version_a_p2"), ("b", "version_b_p2"), ("c", "version_a_p3")] {
        fs::create_dir_all(folder.join(release).join("dist")).unwrap();
        fs::write(folder.join(release).join("dist/app.wasm"), bytes(guest)).unwrap();
    }
    fs::rename(folder.join("a"), folder.join("now")).unwrap();
    symlink("now/dist", folder.join("served")).unwrap();
    let host = watching(text(&folder.join("served/app.wasm")));
    fs::rename(folder.join("now"), folder.join("old")).unwrap();
    fs::rename(folder.join("b"), folder.join("now")).unwrap();
    host.wait_log_nth(says::SWAPPED, 1);
    assert_eq!(version(&host.get("/")), "b");
    let (now, c) = (folder.join("now"), folder.join("c"));
    renameat_with(CWD, &now, CWD, &c, RenameFlags::EXCHANGE).unwrap();
    host.wait_log_nth(says::SWAPPED, 2);
    assert_eq!(version(&host.get("/")), "a");
    symlink("c/dist", folder.join("new")).unwrap();
    fs::rename(folder.join("new"), folder.join("served")).unwrap();
    host.wait_log_nth(says::SWAPPED, 3);
    assert_eq!(version(&host.get("/")), "b");
}

/// One component that asks an upstream before it serves, which answers when it is released.
fn slow_to_prove(source: &str, upstream: &Upstream) -> String {
    let here = format!("http://127.0.0.1:{}", upstream.port());
    format!(
        "[component.app]\nsource = \"{source}\"\nsmoke = [\"GET /fetch?url={here}/hold 200\"]\n\
         [component.app.grants]\noutgoing = [\"{here}\"]\n"
    )
}

/// Starts a host for `site`, and does `change` when it has read everything and does not watch yet.
fn changed_while_it_starts(site: &Site, upstream: &Upstream, change: impl FnOnce() + Send) -> Host {
    thread::scope(|scope| {
        scope.spawn(|| {
            upstream.wait_requests(1);
            change();
            upstream.release();
        });
        site.serve().args(["--watch"]).start()
    })
}

/// It was lost in CI, a moment before the watch: for good, since nothing more happened to the file.
#[test]
fn file_that_changes_while_the_host_starts_is_swapped_in() {
    for [asks, b] in [["grants_p2", "version_b_p2"], ["grants_p3", "version_b_p3"]] {
        let upstream = Upstream::start();
        let site = Site::with(&slow_to_prove("app.wasm", &upstream), &[("app.wasm", asks)]);
        let host = changed_while_it_starts(&site, &upstream, || site.put("app.wasm", b));
        host.wait_log("; changed: app");
        assert_eq!(version(&host.get("/")), "b");
    }
}

#[test]
fn manifest_that_changes_while_the_host_starts_is_reloaded() {
    let upstream = Upstream::start();
    let files = [("app.wasm", "grants_p2"), ("b.wasm", "version_b_p2")];
    let site = Site::with(&slow_to_prove("app.wasm", &upstream), &files);
    let after = slow_to_prove("b.wasm", &upstream);
    let host = changed_while_it_starts(&site, &upstream, || site.write(&after));
    host.wait_log("; changed: app");
    assert_eq!(version(&host.get("/")), "b");
}

/// A reload reads what the manifest names, so that is what is watched, whatever serves.
#[test]
fn file_of_a_manifest_is_watched_beside_a_swap_by_hand() {
    let files = [("app.wasm", "version_a_p2"), ("hand.wasm", "version_b_p2")];
    let site = Site::with("[component.app]\nsource = \"app.wasm\"\n", &files);
    let host = site.serve().control().args(["--watch"]).start();
    host.wait_log(says::WATCHING);
    host.ctl(["swap", &site.file("hand.wasm")]).expect_code(0);
    assert_eq!(version(&host.get("/")), "b");
    site.put("app.wasm", "version_a_p3");
    host.wait_log("; changed: app");
    assert_eq!(version(&host.get("/")), "a");
}

/// Another date or another name of a file is no other code.
#[test]
fn file_that_only_looks_changed_undoes_no_rollback() {
    let app = App::new("version_a_p2");
    let host = app.serve().control().args(["--watch"]).start();
    host.wait_log(says::WATCHING);
    app.put("version_b_p2");
    host.wait_log(says::SWAPPED);
    host.ctl(["rollback"]).expect_code(0);
    app.put("version_b_p2");
    host.wait_log("swap: unchanged: the file says nothing new, generation 3 goes on");
    assert_eq!(version(&host.get("/")), "a");
    app.put("version_b_p3");
    host.wait_log_nth(says::SWAPPED, 3);
    assert_eq!(version(&host.get("/")), "b");
}

/// As a build does that begins with `rm -rf dist`.
#[test]
fn file_in_a_folder_that_was_made_anew_is_swapped_in() {
    let folder = Folder::new();
    let (dist, file) = (folder.join("dist"), folder.join("dist/app.wasm"));
    let make = |guest: &str| {
        fs::create_dir(&dist).unwrap();
        fs::write(folder.join("new"), bytes(guest)).unwrap();
        fs::rename(folder.join("new"), &file).unwrap();
    };
    make("version_a_p2");
    let host = watching(text(&file));
    fs::remove_dir_all(&dist).unwrap();
    make("version_b_p2");
    host.wait_log(says::SWAPPED);
    assert_eq!(version(&host.get("/")), "b");
    fs::remove_dir_all(&dist).unwrap();
    make("version_a_p3");
    host.wait_log_nth(says::SWAPPED, 2);
    assert_eq!(version(&host.get("/")), "a");
}

#[test]
fn without_the_flag_nothing_is_watched() {
    let app = App::new("version_a_p2");
    let host = app.serve().start();
    app.put("version_b_p2");
    assert_eq!(version(&host.get("/")), "a");
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(0);
    assert!(!exit.stderr.contains(says::WATCHING) && !exit.stderr.contains(says::SWAP));
}

/// What an operator swaps in is what is watched from then on.
#[test]
fn file_of_another_swap_is_watched_in_place_of_the_first() {
    let (first, second) = (App::new("version_a_p2"), App::new("version_b_p2"));
    let host = first.serve().control().args(["--watch"]).start();
    host.wait_log(says::WATCHING);
    host.ctl(["swap", second.text()]).expect_code(0);
    host.wait_log_nth(says::WATCHING, 2);
    second.put("version_a_p3");
    host.wait_log_nth(says::SWAPPED, 2);
    assert_eq!(version(&host.get("/")), "a");
    assert!(host.stdout().starts_with("ready "), "{}", host.stdout());
}

/// The refusal stood for good when there was enough again, for nothing more happened to the file.
#[test]
fn change_whose_code_finds_no_room_is_swapped_in_when_there_is_some() {
    let app = App::new("version_a_p2");
    let host = watching(app.text());
    let files_may_have = |bytes: &str| {
        let (limit, pid) = (format!("--fsize={bytes}:"), host.pid().to_string());
        let limited = Command::new("prlimit").args([&limit, "--pid", &pid]).status();
        assert!(limited.expect("util-linux is there").success());
    };
    files_may_have("0");
    app.put("version_b_p2");
    let rejected = host.wait_log(says::REJECTED);
    assert!(rejected.contains("cannot be loaded: "), "{rejected}");
    files_may_have("unlimited");
    host.wait_log(says::SWAPPED);
    assert_eq!(version(&host.get("/")), "b");
}

#[test]
fn stop_of_a_host_that_watches_ends_at_once() {
    let app = App::new("version_a_p2");
    let host = watching(app.text());
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}
