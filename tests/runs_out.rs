//! What runs out: the one that hits the limit gets its error, the others are served, and the host
//! recovers by itself.

use crate::support::app::{variant, version};
use crate::support::prelude::*;
use crate::support::scarce::{Cgroup, User, threads};
use crate::support::site::Site;

/// Nothing in the log of a host says that a piece of it broke.
#[track_caller]
fn expect_no_panic(log: &str) {
    assert!(!log.contains("panicked"), "{log}");
}

/// What a start says that finds too few threads: what is missing and which knobs there are.
#[track_caller]
fn expect_refused_for_threads(exit: &Exit) {
    exit.expect_code(3).expect_last_line("more threads");
    exit.expect_last_line("TasksMax").expect_last_line("ulimit -u");
    expect_no_panic(&exit.stderr);
}

/// Starts with fewer threads than it takes exited with 101, hung deaf to SIGTERM, or blamed the
/// compiler, depending on how many there were.
#[test]
fn start_with_any_number_of_threads_too_few_says_what_is_missing() {
    let Some(user) = User::new() else { return };
    let serve = |limit: usize| {
        let nproc = format!("--nproc={limit}");
        user.serve(Host::serve("hello_p2").args(["--threads", "2", "--watch"]), &[&nproc])
    };
    let host = serve(1000).start();
    let takes = threads(&host);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
    for too_few in 1..takes {
        expect_refused_for_threads(&serve(too_few).start_in_vain());
    }
    let host = serve(takes + 8).start();
    assert_eq!(host.get("/").status(), 200);
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(0);
    expect_no_panic(&exit.stderr);
}

#[test]
fn start_in_a_pids_cgroup_that_is_too_small_says_what_is_missing() {
    let Some(cgroup) = Cgroup::new("pids") else { return };
    cgroup.set("pids.max", "pids.max", 8);
    expect_refused_for_threads(&Host::serve("hello_p2").under(cgroup.within()).start_in_vain());
    let check = Host::run_under(&cgroup.within(), ["check", guest("hello_p2").to_str().unwrap()]);
    expect_refused_for_threads(&check);
}

/// A component with a folder and names, which is watched.
const WATCHED: &str = r#"
    [component.app]
    source = "app.wasm"
    [component.app.grants]
    directories = [{ host = "root", guest = "/data" }]
    name-lookup = true
    [component.version]
    source = "version.wasm"
    [[route]]
    path = "/"
    component = "app"
    [[route]]
    path = "/version"
    component = "version"
"#;

/// SIGHUP panicked in the task that swaps, and the port closed; a file that changed aborted the process
/// with `--watch`; a guest's request for a file or a name got FIN without a byte.
#[test]
fn host_that_finds_no_more_threads_serves_on_and_reloads_when_there_are_some() {
    for grants in ["grants_p2", "grants_p3"] {
        let Some(user) = User::new() else { return };
        let site = Site::with(WATCHED, &[("app.wasm", grants), ("version.wasm", "version_a_p2")]);
        site.put_text("root/page", "a page\n");
        let host = user.serve(site.serve().args(["--watch"]), &["--nproc=1000"]).start();
        host.wait_log(says::WATCHING);
        expect_to_recover(&host, &site, |to| user.limit(&host, &format!("--nproc={to}:")));
        host.signal(Signal::TERM);
        let exit = host.wait_exit();
        exit.expect_code(0);
        expect_no_panic(&exit.stderr);
    }
}

#[test]
fn host_in_a_pids_cgroup_that_is_full_serves_on_and_reloads_when_there_is_room() {
    let Some(cgroup) = Cgroup::new("pids") else { return };
    let to = |limit| cgroup.set("pids.max", "pids.max", limit);
    to(1000);
    let files = [("app.wasm", "grants_p2"), ("version.wasm", "version_a_p2")];
    let site = Site::with(WATCHED, &files);
    site.put_text("root/page", "a page\n");
    let host = site.serve().args(["--watch"]).under(cgroup.within()).start();
    host.wait_log(says::WATCHING);
    expect_to_recover(&host, &site, to);
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(0);
    expect_no_panic(&exit.stderr);
}

/// Takes all further threads away, and gives them back.
fn expect_to_recover(host: &Host, site: &Site, limit: impl Fn(u64)) {
    limit(1);
    for _ in 0..3 {
        // Each alone on its connection, and many at once.
        let conns: Vec<_> = (0..8).map(|_| host.connect()).collect();
        for mut conn in conns {
            assert_eq!(conn.get("/read?path=/data/page").unwrap().text(), "a page\n");
            assert_eq!(conn.get("/lookup?name=localhost").unwrap().status(), 200);
        }
    }
    host.signal(Signal::HUP);
    host.wait_log("unchanged: what is served is what the manifest says");
    site.put_bytes("version.wasm", &variant("version_b_p2", 77));
    let rejected = host.wait_log(says::REJECTED);
    assert!(rejected.contains("component version: "), "{rejected}");
    assert_eq!(version(&host.get("/version")), "a", "the old one serves on");
    limit(1000);
    // Nothing happens to the file any more.
    host.wait_log("; changed: version");
    assert_eq!(version(&host.get("/version")), "b");
}
