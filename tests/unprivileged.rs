//! A host as most people run it: as a user who has no right of root's. The other tests run as the user
//! who runs them, mostly root.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::support::app::{bytes, reload, text, version};
use crate::support::gate::Gate;
use crate::support::prelude::*;
use crate::support::scarce::User;

/// Runs `host ARGS...` as `user`, whose runtime directory is in its folder.
#[track_caller]
fn run_as(user: &User, args: &[&str]) -> Exit {
    let mut under = user.with(&[]);
    under.extend([OsString::from("env"), runtime(user).into()]);
    Host::run_under(&under, args)
}

fn runtime(user: &User) -> String {
    format!("XDG_RUNTIME_DIR={}", text(&user.folder.join("")))
}

/// The guest called `guest`, served as `user`.
#[track_caller]
fn serve_as(user: &User, guest: &str) -> Host {
    let serve = user.runs(Host::serve(guest));
    serve.env("XDG_RUNTIME_DIR", user.folder.join("")).args(["--drain-timeout", "1h"]).start()
}

#[test]
fn user_serves_swaps_and_stops_with_ctl_and_nothing_is_cut() {
    let Some(user) = User::new() else { return };
    let host = serve_as(&user, "version_a_p2");
    let held = Gate::on(&host);
    let new = user.folder.join("new.wasm");
    fs::write(&new, bytes("version_b_p3")).unwrap();
    run_as(&user, &["ctl", "swap", text(&new)]).expect_code(0);
    let mut conn = held.open();
    assert_eq!(version(&conn.get("/").unwrap()), "b");
    run_as(&user, &["ctl", "rollback"]).expect_code(0);
    assert_eq!(version(&conn.get("/").unwrap()), "a");
    drop(conn);
    run_as(&user, &["ctl", "stop", "--wait"]).expect_code(0);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

#[test]
fn user_drains_on_sigterm_and_its_last_answer_is_whole() {
    let Some(user) = User::new() else { return };
    for guest in ["version_a_p2", "version_a_p3"] {
        let host = serve_as(&user, guest);
        let held = Gate::on(&host);
        host.signal(Signal::TERM);
        host.wait_log(says::DRAINING);
        held.open().expect_fin();
        host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
    }
}

#[test]
fn code_that_a_user_keeps_is_its_own_and_is_used_again() {
    let Some(user) = User::new() else { return };
    let first = serve_as(&user, "hello_p2");
    assert!(first.wait_log("component compiled").contains("cached=false"));
    let owner = |path| fs::metadata(path).unwrap().uid();
    let entries = fs::read_dir(user.folder.join("cache")).unwrap();
    let owners: Vec<u32> = entries.map(|entry| owner(entry.unwrap().path())).collect();
    assert_eq!(owners, [owner(user.folder.join(""))]);
    drop(first);
    let second = serve_as(&user, "hello_p2");
    assert!(second.wait_log("component compiled").contains("cached=true"));
    assert_eq!(second.get("/").text(), "hello world\n");
}

/// Root may read it.
#[test]
fn file_that_its_user_may_not_read_is_refused_and_the_old_one_serves_on() {
    let Some(user) = User::new() else { return };
    let host = serve_as(&user, "version_a_p2");
    let app = user.folder.join("version_a_p2.wasm");
    fs::write(&app, bytes("version_b_p2")).unwrap();
    fs::set_permissions(&app, Permissions::from_mode(0o600)).unwrap();
    let rejected = reload(&host);
    for words in [says::REJECTED, "read: cannot read ", "Permission denied"] {
        assert!(rejected.contains(words), "no {words:?} in {rejected}");
    }
    assert_eq!(version(&host.get("/")), "a");
    let start = ["serve", text(&app), "--addr", "127.0.0.1:0", "--control", "off", "--no-cache"];
    let refused = run_as(&user, &start);
    refused.expect_code(3).expect_last_line("cannot read ").expect_last_line("Permission denied");
    fs::set_permissions(&app, Permissions::from_mode(0o644)).unwrap();
    assert!(reload(&host).contains(says::SWAPPED));
    assert_eq!(version(&host.get("/")), "b");
}
