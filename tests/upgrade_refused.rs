//! Upgrades that come to nothing: the old process goes on, and says why.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::support::app::Folder;
use crate::support::prelude::*;
use crate::support::site::{Site, component, route};
use crate::support::tools;
use crate::support::upgrade::{Successor, standing_still_at, wait_gone};

/// A program that runs this.
fn script(folder: &Folder, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The upgrade is refused with these words, and the connections of the old process go on.
#[track_caller]
fn expect_refused(host: &Host, arguments: &[&str], why: &str) {
    let mut kept = host.connect();
    assert_eq!(kept.get("/").unwrap().status(), 200);
    let exit = host.ctl(["upgrade"].iter().chain(arguments));
    exit.expect_code(1);
    assert!(exit.stderr.contains(why), "{why:?} in {}", exit.stderr);
    host.wait_log("upgrade: this process goes on: ");
    let answer = kept.get("/").unwrap();
    assert_eq!((answer.status(), answer.head.says_close()), (200, false));
    assert_eq!(host.get("/").status(), 200);
}

#[test]
fn successor_that_does_not_come_up_changes_nothing() {
    let folder = Folder::new();
    let manifest = component("app") + &route("/", "app");
    let site = Site::with(&manifest, &[("app.wasm", "version_a_p2")]);
    let host = site.serve().control().start();
    let put = |name: &str, text: &str| {
        site.put_text(name, text);
        site.file(name)
    };
    let broken = put("broken.toml", "[component");
    site.put_text("none.wasm", "no component");
    let lacks = put(
        "lacks.toml",
        &fs::read_to_string(site.text()).unwrap().replace("app.wasm", "none.wasm"),
    );
    let program = |name: &str, text: &str| script(&folder, name, text).to_str().unwrap().to_owned();
    let crashes = program("crashes", "#!/bin/sh\nkill -SEGV $$\n");
    let hangs = program("hangs", "#!/bin/sh\nexec sleep 1000\n");
    let no_program = program("text", "no program at all\n");
    let missing = folder.join("missing");
    let hello = "#!/usr/bin/env python3\n\
        import socket, json\n\
        s = socket.socket(fileno=0)\n\
        s.setblocking(True)\n\
        s.recv(65536)\n\
        s.send(json.dumps({'say': 'hello', 'with': {'protocol': 99, 'version': '9.9', 'pid': 1}}).encode())\n\
        s.recv(1)\n";
    let another = program("another", hello);
    for (arguments, why) in [
        (
            vec!["--config", &broken],
            "has ended with exit status: 2 before it said hello; its own log says why",
        ),
        (vec!["--config", &lacks], "will not serve (exit status: 3): host: cannot start: "),
        (vec!["--binary", &crashes], "has ended with signal: 11 (SIGSEGV)"),
        (
            vec!["--binary", &hangs, "--timeout", "300ms"],
            "says nothing for 300ms, where hello is expected",
        ),
        (vec!["--binary", &no_program], "cannot be started"),
        (vec!["--binary", missing.to_str().unwrap()], "missing cannot be started: No such file"),
        (vec!["--binary", "/"], "it is a directory"),
        (
            vec!["--binary", &another],
            "is host 9.9, which hands over in another way (protocol 99, here 1)",
        ),
    ] {
        expect_refused(&host, &arguments, why);
    }
    // After all that, one that is as it should be.
    host.ctl(["upgrade"]).expect_code(0);
    assert_eq!(host.get("/").status(), 200);
}

/// Who is told apart from the host: a signal to what was started, or its end, would not be one of the host.
#[test]
fn program_that_starts_the_host_without_exec_is_refused_and_leaves_nobody() {
    let folder = Folder::new();
    let host = Host::serve("hello_p2").control().start();
    let program = env!("CARGO_BIN_EXE_host");
    let text = format!("#!/bin/sh\n{program} \"$@\"\nexit $?\n");
    let wrapper = script(&folder, "wrapper", &text);
    expect_refused(&host, &["--binary", wrapper.to_str().unwrap()], "have it exec the host");
    let line = host.wait_log("is not the host but has started it");
    let inner = line.split("as process ").nth(2).and_then(|rest| rest.split(':').next());
    // Its number may be free again already.
    wait_gone(inner.expect("its number").parse().expect("a number"));
    host.ctl(["upgrade"]).expect_code(0);
}

/// Nobody could end the new process, or know that it has ended.
#[test]
fn kernel_that_gives_no_handle_of_a_process_upgrades_nothing() {
    if !tools::has("python3", "python3") {
        return;
    }
    // A filter that answers ENOSYS to pidfd_open(2), as Linux 5.2 and gVisor do.
    let filter = "import ctypes, os, struct, sys\n\
        number = 434\n\
        code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x50000 | 38), (6, 0, 0, 0x7fff0000)]\n\
        code = b''.join(struct.pack('HBBI', *one) for one in code)\n\
        room = ctypes.create_string_buffer(code)\n\
        program = struct.pack('HxxxxxxQ', len(code) // 8, ctypes.addressof(room))\n\
        libc = ctypes.CDLL(None)\n\
        assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0\n\
        os.execvp(sys.argv[1], sys.argv[1:])\n";
    let host = Host::serve("hello_p2").control().under(["python3", "-c", filter]).start();
    expect_refused(&host, &[], "no new process can be started: Function not implemented");
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}

/// `Type=simple`: the successor would be killed when the main process ends.
#[test]
fn service_whose_manager_hears_nothing_is_not_upgraded() {
    let main = "SYSTEMD_EXEC_PID=$$ exec \"$0\" \"$@\"";
    let host = Host::serve("hello_p2").control().under(["sh", "-c", main]).start();
    expect_refused(&host, &[], "systemd takes the end of this process for that of the service");
}

#[test]
fn one_upgrade_at_a_time() {
    let (host, told) = standing_still_at("hello_p2", "new-loaded");
    let first = host.start_ctl(["upgrade"]);
    let successor = Successor::new(told.wait());
    let second = host.ctl(["upgrade"]);
    second.expect_code(1);
    assert!(second.stderr.contains("an upgrade is under way already"), "{}", second.stderr);
    successor.signal(Signal::CONT);
    first.wait_exit().expect_code(0);
    assert_eq!(host.get("/").status(), 200);
}

/// A stop wins: there is no successor afterwards.
#[test]
fn stop_during_an_upgrade_ends_both() {
    let (host, told) = standing_still_at("hello_p2", "new-loaded");
    let upgrade = host.start_ctl(["upgrade"]);
    let successor = Successor::new(told.wait());
    host.signal(Signal::TERM);
    successor.wait_end();
    let exit = upgrade.wait_exit();
    exit.expect_code(1);
    assert!(exit.stderr.contains("a stop was asked for meanwhile"), "{}", exit.stderr);
    host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
}

/// A stop that comes when the successor accepts is one of the successor too.
#[test]
fn stop_while_connections_go_over_ends_the_successor_gracefully() {
    let (host, told) = standing_still_at("hello_p2", "new-accepting");
    let upgrade = host.start_ctl(["upgrade"]);
    let successor = Successor::new(told.wait());
    host.signal(Signal::TERM);
    host.wait_log("stop: asked");
    successor.signal(Signal::CONT);
    successor.wait_end();
    upgrade.wait_exit();
    host.wait_exit().expect_code(0);
}

#[test]
fn host_that_drains_is_not_upgraded() {
    let host = Host::serve("gate_p2").control().start();
    host.ctl(["drain"]).expect_code(0);
    let exit = host.ctl(["upgrade"]);
    exit.expect_code(1);
    assert!(exit.stderr.contains("host ctl undrain"), "{}", exit.stderr);
    host.ctl(["undrain"]).expect_code(0);
    let held = crate::support::stop::Held::on(&host);
    host.signal(Signal::TERM);
    host.wait_log(says::DRAINING);
    let exit = host.ctl(["upgrade"]);
    exit.expect_code(1);
    assert!(exit.stderr.contains("the host is stopping"), "{}", exit.stderr);
    held.open();
    host.wait_exit().expect_code(0);
}
