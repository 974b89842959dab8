//! An upgrade: a new process takes over, and nobody notices.

use crate::support::app::{Folder, version};
use crate::support::binary::binary_for_all;
use crate::support::certificates::{Authority, TlsConn};
use crate::support::prelude::*;
use crate::support::process::TempPath;
use crate::support::service_manager::ServiceManager;
use crate::support::site::{Site, component, route};
use crate::support::stop::{Held, wait_accepted};
use crate::support::upgrade::{Successor, status_of, upgrade, upgraded_pid};

/// The old process ends, with everything finished.
#[track_caller]
fn expect_old_end(host: &Host) {
    host.wait_log("upgrade: the old host has ended");
    assert!(host.log().contains(says::NOTHING_CUT), "{}", host.log());
}

#[test]
fn idle_connections_go_over_and_stay_open() {
    let host = Host::serve("hello_p2").everywhere().control().start();
    let mut kept: Vec<Conn> =
        host.addrs().iter().filter(|at| !matches!(at, Target::Tls(_))).map(connect).collect();
    assert_eq!(kept.len(), 2, "TCP and Unix");
    for conn in &mut kept {
        assert_eq!(conn.get("/").unwrap().status(), 200);
    }
    // Accepted before, and silent; and one that has said too little to tell what it speaks.
    let silent = host.connect();
    let mut begun = host.connect();
    begun.send("PRI * HT").unwrap();
    wait_accepted(&host);
    let successor = upgrade(&host);
    expect_old_end(&host);
    kept.push(silent);
    for mut conn in kept {
        for _ in 0..2 {
            let answer = conn.get("/").unwrap();
            assert_eq!((answer.status(), answer.head.says_close()), (200, false));
        }
    }
    // It was HTTP/1 after all: its method is no method that there is.
    begun.send("TP/1.1\r\nHost: t\r\n\r\n").unwrap();
    assert!(begun.read_head().unwrap().status >= 400);
    assert!(host.unix_path().exists(), "the path has gone over");
    successor.signal(Signal::TERM);
    successor.wait_end();
    assert!(!host.unix_path().exists(), "and goes with its last owner");
}

fn connect(target: &Target) -> Conn {
    Conn::connect(target).unwrap()
}

#[test]
fn what_is_in_flight_finishes_and_its_connection_goes_over_behind_it() {
    let host = Host::serve("gate_p2").control().start();
    let held = Held::on(&host);
    let successor = upgrade(&host);
    let status = host.ctl(["status"]).stdout;
    assert!(status.contains(&format!("pid {},", successor.pid())), "{status}");
    let mut conn = held.open();
    expect_old_end(&host);
    let answer = conn.get("/").unwrap();
    assert_eq!((answer.status(), answer.head.says_close()), (200, false));
}

#[test]
fn connections_with_tls_and_http2_finish_with_the_old_process() {
    let host = Host::serve("hello_p2").everywhere().control().args(["--linger", "20s"]).start();
    let tls = Target::Tls(host.tls_addr());
    let mut conn = connect(&tls);
    assert_eq!(conn.get("/").unwrap().status(), 200);
    let mut h2 = H2::connect(host.addr());
    h2.get(1, "/");
    assert_eq!(h2.expect_answer(1).status, 200);
    upgrade(&host);
    // Idle: both are told, and a new one is another process's.
    h2.expect_goaway();
    assert_eq!(connect(&tls).get("/").unwrap().status(), 200);
    let answer = conn.get("/").unwrap();
    assert_eq!((answer.status(), answer.head.says_close()), (200, true));
    drop(conn);
    expect_old_end(&host);
}

/// When the new process ends, a service manager kills what is left of the service (systemd: KillMode=mixed).
#[test]
fn stop_of_the_successor_waits_for_what_is_in_flight_at_the_old_process() {
    let host = Host::serve("gate_p2").control().start();
    let held = Held::on(&host);
    let successor = upgrade(&host);
    let before = host.mark();
    successor.signal(Signal::TERM);
    host.wait_log_after(before, "stop: asked");
    host.wait_log_nth("stop: door closed, draining", 2);
    let stop = host.start_ctl(["stop", "--wait"]);
    stop.wait_line("an upgrade that is not over");
    drop(held.open());
    // It says so, so it was there.
    expect_old_end(&host);
    stop.wait_exit().expect_code(0);
    successor.wait_end();
}

/// And who does not wait any longer waits for neither.
#[test]
fn cut_of_the_successor_cuts_the_old_process() {
    let host = Host::serve("gate_p2").control().start();
    let _held = Held::on(&host);
    let successor = upgrade(&host);
    successor.signal(Signal::QUIT);
    host.wait_log("1 cut, 1 connection dropped");
    successor.wait_end();
    host.wait_exit().expect_code(131);
}

/// Sessions go on: the keys of tickets go over.
#[test]
fn sessions_of_tls_are_resumed_by_the_successor() {
    let authority = Authority::new("test");
    authority.write("a", "localhost");
    let host = Host::serve("hello_p2").no_tcp().control().args(authority.flags("a")).start();
    let config = authority.client().config();
    let mut resumed = Vec::new();
    for _ in 0..3 {
        let mut conn = TlsConn::new(&host, &config, "localhost").unwrap();
        assert_eq!(conn.get("/").unwrap().status(), 200);
        resumed.push(conn.is_resumed());
        drop(conn);
        upgrade(&host);
    }
    assert_eq!(resumed, [false, true, true]);
}

#[test]
fn health_dashboard_and_control_go_over() {
    let ports = ["--health-addr", "127.0.0.1:0", "--dashboard-addr", "127.0.0.1:0"];
    let host = Host::serve("hello_p2").control().args(ports).start();
    let port = |host: &Host, name: &str| {
        let line = host.wait_log(name);
        line.rsplit('=').next().unwrap().trim().to_owned()
    };
    let addresses = [port(&host, "health is answered"), port(&host, "the dashboard is shown")];
    // The dashboard is asked for by another name than its own.
    let asked = [("/readyz", 200), ("/", 421)];
    for _ in 0..2 {
        let mark = host.mark();
        upgrade(&host);
        host.wait_log_after(mark, "upgrade: the old host has ended");
        for (address, (path, status)) in addresses.iter().zip(asked) {
            let mut conn = Conn::connect(Target::parse(address).unwrap()).unwrap();
            assert_eq!(conn.get(path).unwrap().status(), status, "{address}");
        }
        host.ctl(["status"]).expect_code(0);
    }
}

#[test]
fn sigusr2_upgrades_to_what_is_now_where_the_program_was() {
    let host = Host::serve("hello_p2").start();
    let mut conn = host.connect();
    assert_eq!(conn.get("/").unwrap().status(), 200);
    host.signal(Signal::USR2);
    let line = host.wait_log("upgrade: a new process starts");
    let pid = line.rsplit("pid=").next().unwrap().trim().parse().unwrap();
    let successor = Successor::new(pid);
    expect_old_end(&host);
    assert_eq!(conn.get("/").unwrap().status(), 200);
    successor.signal(Signal::TERM);
    successor.wait_end();
}

/// Without `--control` each host has a socket by its number.
#[test]
fn socket_by_number_is_one_of_the_successor_and_the_only_one() {
    let runtime = Folder::new();
    let host = Host::serve("hello_p2").env("XDG_RUNTIME_DIR", runtime.join("")).start();
    let ctl =
        |command: &str| Host::run_with(("XDG_RUNTIME_DIR", &*runtime.join("")), ["ctl", command]);
    let first = ctl("upgrade");
    first.expect_code(0);
    let status = ctl("status");
    status.expect_code(0);
    assert!(status.stdout.contains(&format!("pid {}", upgraded_pid(&first.stdout))));
    let second = ctl("upgrade");
    second.expect_code(0);
    drop(host);
}

#[test]
fn another_manifest_and_another_program_take_over() {
    let manifest = component("app") + &route("/", "app");
    let site = Site::with(&manifest, &[("app.wasm", "version_a_p2")]);
    let text = std::fs::read_to_string(site.text()).unwrap();
    site.put("other.wasm", "version_b_p2");
    site.put_text("other.toml", &text.replace("app.wasm", "other.wasm"));
    let host = site.serve().control().start();
    let version = |host: &Host| version(&host.get("/"));
    assert_eq!(version(&host), "a");
    let (other, program) = (site.file("other.toml"), binary_for_all());
    let program = program.to_str().unwrap();
    host.ctl(["upgrade", "--config", &other, "--binary", program]).expect_code(0);
    assert_eq!(version(&host), "b");
    // And stays: the command line of the process that serves names it.
    upgrade(&host);
    assert_eq!(version(&host), "b");
}

/// Nobody answers there, so nobody is to be let in, and the address is free for others.
#[test]
fn listener_that_the_new_manifest_lacks_is_closed_by_both() {
    let (kept, lost) = (TempPath::new("kept"), TempPath::new("lost"));
    let listener =
        |path: &TempPath| format!("[[listener]]\naddress = \"unix:{}\"\n", path.0.display());
    let one = component("app") + &route("/", "app") + &listener(&kept);
    let site = Site::with(&(one + &listener(&lost)), &[("app.wasm", "hello_p2")]);
    let two = std::fs::read_to_string(site.text()).unwrap();
    site.put_text("one.toml", &two.replace(&listener(&lost), ""));
    let host = site.serve().no_tcp().control().start();
    let [kept, lost] = [&kept, &lost].map(|path| Target::Unix(path.0.clone()));
    for target in [&kept, &lost] {
        assert_eq!(connect(target).get("/").unwrap().status(), 200);
    }
    host.ctl(["upgrade", "--config", &site.file("one.toml")]).expect_code(0);
    expect_old_end(&host);
    assert_eq!(connect(&kept).get("/").unwrap().status(), 200);
    Conn::connect(&lost).unwrap_err();
    host.ctl(["upgrade", "--config", site.text()]).expect_code(0);
    assert_eq!(connect(&lost).get("/").unwrap().status(), 200);
}

/// The service is the new process, and the old one says nothing any more.
#[test]
fn service_manager_is_told_of_its_new_main_process() {
    let manager = ServiceManager::new();
    let host = Host::serve("hello_p2").env("NOTIFY_SOCKET", manager.name()).control().start();
    manager.expect("STATUS=loading 1 component");
    manager.expect("READY=1\nSTATUS=serving 1 component on 1 address");
    let upgrade = host.start_ctl(["upgrade"]);
    let successor = Successor::new(u32::try_from(manager.next().number("MAINPID")).unwrap());
    manager.expect("BARRIER=1");
    upgrade.wait_exit().expect_code(0);
    manager.expect("READY=1\nSTATUS=serving 1 component on 1 address");
    expect_old_end(&host);
    successor.signal(Signal::TERM);
    manager.expect("STOPPING=1\nEXTEND_TIMEOUT_USEC=N\nSTATUS=draining: nothing in flight");
    successor.wait_end();
}

/// systemd waits for its main process only if that is a child of its own; for another one a stop is a SIGKILL at once
/// (`KillMode=mixed`), and its crash no reason for a restart. This test reaps orphans, as systemd does.
#[test]
fn successor_is_a_child_of_the_service_manager_when_that_hears_of_it() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let manager = ServiceManager::new();
    let host = Host::serve("hello_p2").env("NOTIFY_SOCKET", manager.name()).control().start();
    manager.expect("STATUS=loading 1 component");
    manager.expect("READY=1\nSTATUS=serving 1 component on 1 address");
    let upgrade = host.start_ctl(["upgrade"]);
    let pid = u32::try_from(manager.next().number("MAINPID")).unwrap();
    assert_eq!(status_of(pid, "PPid"), std::process::id().to_string());
    manager.expect("BARRIER=1");
    upgrade.wait_exit().expect_code(0);
    expect_old_end(&host);
}

/// A thousand, or `HOST_SOAK_IDLE`: `make soak` has ten thousand.
#[test]
fn many_idle_connections_go_over() {
    let count =
        std::env::var("HOST_SOAK_IDLE").map_or(1_000, |count| count.parse().expect("a number"));
    let host = Host::serve("hello_p2").control().start();
    let mut conns: Vec<Conn> = (0..count).map(|_| host.connect()).collect();
    for conn in &mut conns {
        assert_eq!(conn.get("/").unwrap().status(), 200);
    }
    let exit = host.ctl(["upgrade"]);
    exit.expect_code(0);
    println!("{}", exit.stdout.trim());
    assert!(exit.stdout.ends_with(&format!("with {count} idle connections\n")), "{}", exit.stdout);
    for conn in &mut conns {
        let answer = conn.get("/").unwrap();
        assert_eq!((answer.status(), answer.head.says_close()), (200, false));
    }
}
