//! Where a host listens: what is taken from the moment it is bound, and what cannot be had at once.

use std::net::TcpListener;
use std::path::Path;
use std::time::Instant;

use crate::support::app::{Folder, text};
use crate::support::lines::Mark;
use crate::support::prelude::*;
use crate::support::process::Process;
use crate::support::site::Site;

/// What says that a component was compiled, or taken from the cache.
const COMPILED: &str = "component compiled";

/// A host with these arguments that has bound everything, and will never be ready: its guest's start
/// does not end.
#[track_caller]
fn starting(args: &[&str]) -> Process {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_host"));
    command.arg("serve").arg(guest("start_spin_p2")).args(args);
    command.args(["--no-cache", "--hook-timeout", "1m"]);
    let process = Process::spawn(&mut command);
    let until = Instant::now() + PATIENCE;
    process.stderr.wait_for(COMPILED, Mark::START, 1, until).expect("it starts");
    process
}

/// A second host with these arguments is refused before it has compiled anything.
#[track_caller]
fn expect_taken(args: &[&str], what: &str) {
    let exit = Host::serve("hello_p2").no_tcp().args(args).start_in_vain();
    exit.expect_code(3).expect_last_line(what);
    assert!(!exit.stderr.contains(COMPILED), "{}", exit.stderr);
}

#[track_caller]
fn expect_serves_and_stops(host: Host) {
    assert_eq!(host.get("/").status(), 200);
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}

/// The first host has bound its path and still loads. To the second it looked dead: it took the path
/// over, both said that they were ready, and the first could never be reached.
#[test]
fn unix_path_of_a_host_that_still_loads_is_taken() {
    let folder = Folder::new();
    let path = text(&folder.join("a.sock")).to_owned();
    let address = format!("unix:{path}");
    let first = starting(&["--addr", &address, "--control", "off"]);
    expect_taken(&["--addr", &address], &path);
    first.signal(Signal::TERM);
    assert_eq!(first.wait(Instant::now() + PATIENCE), Some(0));
    expect_serves_and_stops(Host::serve("hello_p2").no_tcp().args(["--addr", &address]).start());
    let left = std::fs::read_dir(folder.join("")).unwrap().count();
    assert_eq!(left, 0, "neither the socket nor its lock is left");
}

/// The same for the control socket, and for one that is in use.
#[test]
fn control_path_of_another_host_is_taken() {
    let folder = Folder::new();
    let control = text(&folder.join("c.sock")).to_owned();
    let first = starting(&["--addr", "127.0.0.1:0", "--control", &control]);
    expect_taken(&["--addr", "127.0.0.1:0", "--control", &control], &control);
    drop(first);
    // Killed: what it left is taken over.
    assert!(Path::new(&control).exists());
    let host = Host::serve("hello_p2").args(["--control", &control]).start();
    expect_taken(&["--addr", "127.0.0.1:0", "--control", &control], &control);
    expect_serves_and_stops(host);
}

#[test]
fn unix_path_of_a_host_that_was_killed_is_taken_over() {
    let folder = Folder::new();
    let path = folder.join("a.sock");
    let address = format!("unix:{}", text(&path));
    let serve = || Host::serve("hello_p2").no_tcp().args(["--addr", &address]).start();
    let first = serve();
    first.signal(Signal::KILL);
    first.wait_exit();
    assert!(path.exists());
    expect_serves_and_stops(serve());
    assert!(!path.exists());
}

/// Two that do not listen yet may share an address as far as the kernel is concerned; the second was
/// refused only after it had compiled.
#[test]
fn tcp_address_of_a_host_that_still_loads_is_taken_and_looks_closed() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let first = starting(&["--addr", &free.to_string(), "--control", "off"]);
    for other in
        [free.to_string(), format!("0.0.0.0:{}", free.port()), format!("[::]:{}", free.port())]
    {
        expect_taken(&["--addr", &other], &other);
    }
    let refused = Conn::connect(free).unwrap_err().kind();
    assert_eq!(refused, std::io::ErrorKind::ConnectionRefused);
    drop(first);
}

/// Refused by the kernel it was after compiling, as if another process had the address.
#[test]
fn addresses_of_one_host_that_overlap_are_wrong_usage_and_both_are_named() {
    let app = guest("hello_p2");
    let app = text(&app);
    for (args, named) in [
        (vec!["--addr", "0.0.0.0:8099", "--addr", "[::]:8099"], ["0.0.0.0:8099", "[::]:8099"]),
        (vec!["--addr", "127.0.0.1:8099", "--addr", "127.0.0.1:8099"], ["127.0.0.1:8099"; 2]),
        (
            vec!["--addr", "[::]:8099", "--health-addr", "127.0.0.1:8099"],
            ["addr [::]", "health-addr"],
        ),
        (
            vec!["--addr", "unix:/tmp/x.sock", "--control", "/tmp/../tmp/x.sock"],
            ["addr unix", "control"],
        ),
    ] {
        let exit = Host::run(["serve", app].iter().chain(&args));
        exit.expect_code(2);
        for name in named {
            assert!(exit.stderr.contains(name), "{name}: {}", exit.stderr);
        }
        assert!(!exit.stderr.contains(COMPILED), "{}", exit.stderr);
    }
    let site = Site::new(
        "[listen]\naddr = [\"127.0.0.1:8099\", \"0.0.0.0:8099\"]\n\
         [component.app]\nsource = \"guest:hello_p2\"\n",
    );
    for command in ["serve", "check"] {
        let exit = Host::run([command, site.text()]);
        exit.expect_code(2);
        for part in ["127.0.0.1:8099", "0.0.0.0:8099", "host.toml:2:"] {
            assert!(exit.stderr.contains(part), "{part}: {}", exit.stderr);
        }
    }
    // A flag stands above the manifest's addresses; its health does not.
    let site = Site::new(
        "[listen]\nhealth-addr = \"127.0.0.1:8099\"\n[component.app]\nsource = \"guest:hello_p2\"\n",
    );
    let exit = Host::run(["serve", site.text(), "--addr", "0.0.0.0:8099"]);
    exit.expect_code(2);
    assert!(exit.stderr.contains("health-addr 127.0.0.1:8099"), "{}", exit.stderr);
}
