//! What runs out: the one that hits the limit gets its error, the others are served, and the host
//! recovers by itself.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use std::{fs, thread};

use rustix::process::geteuid;
use serde_json::Value;

use crate::support::app::{App, variant, version};
use crate::support::prelude::*;
use crate::support::process::Process;
use crate::support::scarce::{Cgroup, User, threads};
use crate::support::site::Site;
use crate::support::status::wait_status;
use crate::support::stop::{GET, StopSummary};

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

/// Most threads were made twice: once to see that they can be had. In a namespace of its own the number of a thread
/// says how many have been made before it.
#[test]
fn start_makes_few_threads_that_it_does_not_keep() {
    if !geteuid().is_root() {
        println!("only root can make a namespace; nothing tested");
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", env!("CARGO_BIN_EXE_host"), "serve"]);
    command.arg(guest("hello_p2")).args(["--addr", "127.0.0.1:0", "--control", "off"]);
    command.args(["--cache-dir", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"), "--threads", "2"]);
    let unshare = Process::spawn(&mut command);
    let ready = unshare.stdout.wait_for("ready ", Mark::START, 1, Instant::now() + PATIENCE);
    assert!(ready.is_ok(), "{ready:?}");
    let children = format!("/proc/{0}/task/{0}/children", unshare.pid());
    let child = fs::read_to_string(children).unwrap();
    let threads = fs::read_dir(format!("/proc/{}/task", child.trim())).unwrap();
    let number = |thread: fs::DirEntry| -> usize {
        let status = fs::read_to_string(thread.path().join("status")).unwrap();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
        numbers.split_whitespace().last().unwrap().parse().unwrap()
    };
    let numbers: Vec<_> = threads.map(|thread| number(thread.unwrap())).collect();
    let (made, kept) = (numbers.iter().max().unwrap(), numbers.len());
    // Seven that others make later, and one each for the runtime, the cache and the ready line.
    assert!(made - kept <= 10, "{made} made, {kept} kept");
}

#[test]
fn start_in_a_pids_cgroup_that_is_too_small_says_what_is_missing() {
    let Some(cgroup) = Cgroup::new("pids") else { return };
    cgroup.set("pids.max", "pids.max", 8);
    expect_refused_for_threads(&Host::serve("hello_p2").under(cgroup.within()).start_in_vain());
    let check = Host::run_under(&cgroup.within(), ["check", guest("hello_p2").to_str().unwrap()]);
    expect_refused_for_threads(&check);
    // A reader of JSON gets a document all the same: there was nothing on stdout.
    let app = guest("hello_p2");
    let check = Host::run_under(&cgroup.within(), ["check", "--json", app.to_str().unwrap()]);
    expect_refused_for_threads(&check);
    let report: Value = serde_json::from_str(&check.stdout).unwrap();
    assert_eq!((&report["schema"], &report["ok"]), (&"host-check/1".into(), &false.into()));
    assert!(report["error"].as_str().unwrap().contains("more threads"), "{report}");
}

/// Sets the limit of descriptors of a host to so many, whatever it has open.
#[track_caller]
fn limit_descriptors(host: &Host, to: usize) {
    let (pid, limit) = (host.pid().to_string(), format!("--nofile={to}:"));
    let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(status.unwrap().success(), "prlimit");
}

/// The number behind the last of those that a host holds back: they are open on the root.
#[track_caller]
fn behind_the_reserve(host: &Host) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", host.pid())).unwrap().map(Result::unwrap);
    let held = open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == Path::new("/")));
    let number = |fd: fs::DirEntry| fd.file_name().to_str().unwrap().parse::<usize>().unwrap();
    1 + held.map(number).max().expect("some are held back")
}

/// The limit was lowered below what is open: peers in the queue were reset and not counted, because it took
/// a descriptor to ask for them.
#[test]
fn stop_with_no_descriptor_left_serves_the_queue() {
    for unix in [false, true] {
        let serve = Host::serve("version_a_p2");
        let host = if unix { serve.no_tcp().unix().start() } else { serve.start() };
        assert_eq!(host.get("/").status(), 200);
        limit_descriptors(&host, behind_the_reserve(&host));
        let mut peers: Vec<Conn> = (0..4).map(|_| host.connect()).collect();
        for peer in &mut peers {
            peer.send(GET).unwrap();
        }
        host.signal(Signal::TERM);
        let serve = |mut peer: Conn| assert_eq!(peer.read_response("GET").unwrap().status(), 200);
        let served = peers.into_iter().map(|peer| thread::spawn(move || serve(peer)));
        for served in served.collect::<Vec<_>>() {
            served.join().unwrap();
        }
        host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
    }
}

/// With no descriptor left and an empty queue such a stop took all the time that it had.
#[test]
fn stop_with_no_descriptor_left_and_an_empty_queue_does_not_last_until_its_timeout() {
    let args = ["--linger", "10ms", "--drain-timeout", "1h"];
    let host = Host::serve("version_a_p2").args(args).start();
    let mut idle = host.connect();
    assert_eq!(idle.get("/").unwrap().status(), 200);
    limit_descriptors(&host, 1);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

/// Of whom nothing can be known, one is counted.
#[test]
fn stop_that_cannot_look_into_the_queue_does_not_say_that_it_is_empty() {
    let host = Host::serve("version_a_p2").args(["--drain-timeout", "500ms"]).start();
    assert_eq!(host.get("/").status(), 200);
    limit_descriptors(&host, 1);
    let mut peers: Vec<Conn> = (0..3).map(|_| host.connect()).collect();
    for peer in &mut peers {
        peer.send(GET).unwrap();
    }
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(1);
    assert_eq!(StopSummary::read(&exit).dropped, 1, "{}", exit.last_line);
}

/// A limit on the memory of the process was blamed on a limit on threads, or the process aborted.
#[test]
fn start_with_too_little_memory_for_its_threads_names_that_limit() {
    let exit = Host::serve("hello_p2").under(["prlimit", "--data=20000000", "--"]).start_in_vain();
    exit.expect_code(3).expect_last_line("more threads").expect_last_line("`ulimit -d`");
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

/// Where the log says that health is answered.
#[track_caller]
fn health(host: &Host) -> SocketAddr {
    let line = host.wait_log("health=");
    let (_, rest) = line.split_once("health=").unwrap();
    rest.split(' ').next().unwrap().parse().expect("an address")
}

/// Health and the control socket answer.
#[track_caller]
fn expect_answers(host: &Host) {
    for path in ["/livez", "/readyz"] {
        let answer = Conn::connect(health(host)).unwrap().get(path).unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    host.ctl(["status"]).expect_code(0);
}

/// The soft and the hard limit of descriptors that a host has.
fn descriptors(host: &Host) -> (u64, u64) {
    let limits = fs::read_to_string(format!("/proc/{}/limits", host.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let mut numbers = line.split_ascii_whitespace().filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

const WITH_HEALTH: [&str; 2] = ["--health-addr", "127.0.0.1:0"];

/// With a soft limit of 1024 and as many idle clients as that, probes and operators were not answered,
/// and a reload failed for want of a descriptor, once and for all.
#[test]
fn clients_that_take_all_descriptors_leave_some_to_probes_operators_and_reloads() {
    let app = App::new("version_a_p2");
    let serve = app.serve().control().args(WITH_HEALTH).args(["--watch"]);
    let host = serve.under(["prlimit", "--nofile=128:512", "--"]).start();
    assert_eq!(descriptors(&host), (512, 512));
    let line = host.wait_log("fewer file descriptors than connections allowed");
    assert!(line.contains("connections=160") && line.contains("LimitNOFILE"), "{line}");
    host.wait_log(says::WATCHING);
    // Each is served, and stays; who has been idle longest makes room, and is left to see that by itself.
    let mut crowd = Vec::new();
    for _ in 0..210 {
        let mut conn = host.connect();
        assert_eq!(version(&conn.get("/").unwrap()), "a");
        crowd.push(conn);
    }
    wait_status(&host, "crowded", |now| now["connections"]["open"].as_u64() >= Some(160));
    expect_answers(&host);
    app.put("version_b_p2");
    host.wait_log(says::SWAPPED);
    assert_eq!(version(&host.get("/")), "b");
    assert_eq!(version(&crowd.pop().unwrap().get("/").unwrap()), "b", "the latest one stays");
    assert!(!host.log().contains(says::CANNOT_ACCEPT), "{}", host.log());
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

/// "cannot accept" was said ten times a second.
#[test]
fn lack_of_descriptors_is_said_when_it_begins_and_when_it_is_over() {
    let host = Host::serve("hello_p2").start();
    let pid = host.pid().to_string();
    let limit = |to: &str| {
        let status = Command::new("prlimit").args([to, "--pid", &pid]).status();
        assert!(status.expect("util-linux is there").success());
    };
    limit("--nofile=60:");
    let crowd: Vec<Conn> = (0..80).map(|_| host.connect()).collect();
    let mark = host.mark();
    host.wait_log(says::CANNOT_ACCEPT);
    drop(crowd);
    let until = Instant::now() + PATIENCE;
    while !host.log().contains("accepts again") {
        assert_eq!(host.get("/").status(), 200);
        assert!(Instant::now() < until, "{}", host.log());
    }
    let over = host.wait_log_after(mark, "accepts again");
    assert!(over.contains("times="), "{over}");
    assert_eq!(host.log().matches(says::CANNOT_ACCEPT).count(), 1, "{}", host.log());
}

/// 300 peers that sent half a head to the health port kept it from answering for 12 s.
#[test]
fn peers_with_half_a_request_keep_out_no_probe_and_no_operator() {
    let host = Host::serve("hello_p2").control().args(WITH_HEALTH).start();
    let halves = [
        "",
        "GET /livez HTTP/1.1\r\nHo",
        "POST /v1/swap HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
    ];
    let mut crowd = Vec::new();
    for half in halves {
        let (health, control) = (health(&host), host.control_path());
        for _ in 0..100 {
            for mut conn in [Conn::connect(health).unwrap(), Conn::connect(control).unwrap()] {
                // It may have been turned out by then.
                conn.send(half).ok();
                crowd.push(conn);
            }
        }
        expect_answers(&host);
    }
    for name in ["health", "control"] {
        host.wait_log(&format!("{name}: crowded"));
    }
    // They do not go away by themselves, and new ones come: more than it lets in, before each probe. In turn with
    // the probes, because one that had no turn between its connect and its request would be turned out rightly.
    let health = health(&host);
    for _ in 0..5 {
        // Those were turned out long ago.
        crowd.drain(..100);
        for _ in 0..100 {
            let mut conn = Conn::connect(health).unwrap();
            conn.send("GET /livez HTTP/1.1\r\nHo").ok();
            crowd.push(conn);
        }
        expect_answers(&host);
    }
    let log = host.log();
    assert_eq!(log.matches("health: crowded").count(), 1, "{log}");
}
