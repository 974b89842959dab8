//! Sockets that are handed over: by `systemd-socket-activate`, and by the test, which holds them as systemd does. And the
//! units in `deploy/systemd`.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::support::prelude::*;
use crate::support::process::TempPath;
use crate::support::service_manager::{Handed, ServiceManager};
use crate::support::site::Site;
use crate::support::stop::{GET, Held, stop};
use crate::support::tls_client;
use crate::support::tools::has;
use crate::support::upgrade::upgraded_pid;

/// A manifest with these listeners, of which the one called `public` speaks TLS.
fn site(guest: &str, listeners: &[(&str, &str)]) -> Site {
    let listeners = listeners.iter().map(|(name, address)| {
        let tls = match *name {
            "public" => format!(
                "tls = {{ cert = {:?}, key = {:?} }}\n",
                tls_client::certificate(),
                tls_client::key()
            ),
            _ => String::new(),
        };
        format!("[[listener]]\nname = {name:?}\naddress = {address:?}\n{tls}")
    });
    let listeners: String = listeners.collect();
    Site::new(&format!("{listeners}[component.app]\nsource = \"guest:{guest}\"\n"))
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port")
}

/// Connects as soon as somebody listens.
#[track_caller]
fn connect_at_last(target: &Target) -> Conn {
    let until = Instant::now() + PATIENCE;
    loop {
        match Conn::connect(target.clone()) {
            Ok(conn) => return conn,
            Err(why) => assert!(Instant::now() < until, "nobody listens at {target}: {why}"),
        }
        thread::yield_now();
    }
}

#[test]
fn systemd_hands_over_tcp_unix_and_tls_by_name() {
    if !has("systemd-socket-activate", "systemd") {
        return;
    }
    let (http, public, local) = (free(), free(), TempPath::new("local"));
    let path = local.0.to_str().unwrap();
    let unix = format!("unix:{path}");
    // In another order than there.
    let listeners =
        [("local", unix.as_str()), ("public", &public.to_string()), ("http", &http.to_string())];
    let site = site("hello_p2", &listeners);
    let [a, b, c] = [http.to_string(), path.to_owned(), public.to_string()];
    let words =
        ["systemd-socket-activate", "--fdname=http:local:public", "-l", &a, "-l", &b, "-l", &c];
    let serve = site.serve().no_tcp().under(words);
    // It starts the host when a client comes, which is answered then.
    let first = thread::spawn(move || connect_at_last(&Target::Tcp(http)).get("/").unwrap());
    let host = serve.start();
    assert_eq!(first.join().unwrap().status(), 200);
    assert_eq!(host.addrs(), [Target::Unix(path.into()), Target::Tcp(public), Target::Tcp(http)]);
    for target in [Target::Unix(path.into()), Target::Tls(public), Target::Tcp(http)] {
        let answer = Conn::connect(target.clone()).unwrap().get("/").unwrap();
        assert_eq!(answer.status(), 200, "{target}");
    }
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
    assert!(local.0.exists(), "the path is not the host's");
}

#[test]
fn without_a_manifest_the_listener_takes_the_one_socket() {
    if !has("systemd-socket-activate", "systemd") {
        return;
    }
    let address = free();
    let serve =
        Host::serve("hello_p2").under(["systemd-socket-activate", "-l", &address.to_string()]);
    let first = thread::spawn(move || connect_at_last(&Target::Tcp(address)).get("/").unwrap());
    let host = serve.start();
    assert_eq!(first.join().unwrap().status(), 200);
    assert_eq!(host.addr(), address);
}

/// Sockets that the test holds: one for each kind.
struct Held3 {
    http: TcpListener,
    public: TcpListener,
    local: UnixListener,
    path: TempPath,
}

impl Held3 {
    fn new() -> Self {
        let path = TempPath::new("local");
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        Self { http: bind(), public: bind(), local: UnixListener::bind(&path.0).unwrap(), path }
    }

    fn site(&self, guest: &str) -> Site {
        let unix = format!("unix:{}", self.path.0.display());
        let [http, public] =
            [&self.http, &self.public].map(|it| it.local_addr().unwrap().to_string());
        site(guest, &[("http", &http), ("local", &unix), ("public", &public)])
    }

    fn handed(&self) -> Handed {
        Handed::new(&[("public", &self.public), ("http", &self.http), ("local", &self.local)])
    }

    fn targets(&self) -> [Target; 3] {
        [
            Target::Tcp(self.http.local_addr().unwrap()),
            Target::Unix(self.path.0.clone()),
            Target::Tls(self.public.local_addr().unwrap()),
        ]
    }
}

/// Sends a request over a connection that nobody may have accepted yet; over TLS the hello.
fn ask(target: &Target) -> Box<dyn FnOnce() -> u16> {
    let mut conn = match target {
        Target::Tls(address) => {
            let name = ServerName::try_from("localhost").unwrap();
            let session = ClientConnection::new(tls_client::config(&[]), name).unwrap();
            let mut tls = StreamOwned::new(session, TcpStream::connect(address).unwrap());
            return Box::new(move || {
                tls.write_all(GET.as_bytes()).unwrap();
                let mut line = [0; 12];
                io::Read::read_exact(&mut tls, &mut line).unwrap();
                assert_eq!(&line, b"HTTP/1.1 200");
                200
            });
        }
        target => Conn::connect(target.clone()).unwrap(),
    };
    conn.send(GET).unwrap();
    Box::new(move || conn.read_response("GET").unwrap().status())
}

/// A stop empties a queue and closes it. What systemd holds is for whoever comes next: nobody in it is lost, neither those
/// who connect while the host drains nor those who do while there is none.
#[test]
fn stop_leaves_the_queue_of_a_socket_that_was_handed_over_to_the_next_host() {
    let sockets = Held3::new();
    let handed = sockets.handed();
    let (site, gate) = (sockets.site("hello_p2"), sockets.site("gate_p2"));
    let first = gate.serve().no_tcp().under(handed.words()).start();
    let held = Held::on(&first);
    stop(&first);
    let mut asked: Vec<_> = sockets.targets().iter().map(ask).collect();
    held.open().expect_fin();
    first.wait_exit().expect_code(0).expect_last_line("1 exchange finished, 0 cut, 0 connections");
    asked.extend(sockets.targets().iter().map(ask));
    assert!(sockets.path.0.exists(), "the path is not the host's");
    let second = site.serve().no_tcp().under(handed.words()).start();
    for answer in asked {
        assert_eq!(answer(), 200);
    }
    second.signal(Signal::TERM);
    second.wait_exit().expect_code(0);
}

/// As when systemd restarts a service that has crashed.
#[test]
fn crash_loses_nobody_who_waits_in_a_socket_that_was_handed_over() {
    let sockets = Held3::new();
    let (site, handed) = (sockets.site("hello_p2"), sockets.handed());
    let first = site.serve().no_tcp().under(handed.words()).start();
    first.signal(Signal::KILL);
    first.wait_exit().expect_code(-9);
    let asked: Vec<_> = sockets.targets().iter().map(ask).collect();
    let _second = site.serve().no_tcp().under(handed.words()).start();
    for answer in asked {
        assert_eq!(answer(), 200);
    }
}

#[test]
fn socket_that_does_not_fit_ends_the_start_with_both_names() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = socket.local_addr().unwrap().to_string();
    let elsewhere = free().to_string();
    for (name, listener, expected) in [
        (
            "htpt",
            ("http", elsewhere.as_str()),
            format!("no listener wants the socket `htpt` at {here}"),
        ),
        (
            "http",
            ("http", elsewhere.as_str()),
            format!("the socket `http` that the service manager hands over is at {here}"),
        ),
        (
            "health",
            ("http", elsewhere.as_str()),
            format!("no listener wants the socket `health` at {here}"),
        ),
    ] {
        let (site, handed) = (site("hello_p2", &[listener]), Handed::new(&[(name, &socket)]));
        let exit = site.serve().no_tcp().under(handed.words()).start_in_vain();
        exit.expect_code(3).expect_last_line(&expected).expect_last_line(&elsewhere);
    }
    // One that has another name is taken at its address.
    let site = site("hello_p2", &[("http", &here)]);
    let handed = Handed::new(&[("host.socket", &socket)]);
    let host = site.serve().no_tcp().under(handed.words()).start();
    assert_eq!(host.get("/").status(), 200);
}

#[test]
fn what_is_no_listening_socket_is_refused_with_its_number() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(held.local_addr().unwrap()).unwrap();
    for wrong in [&file as &dyn AsFd, &datagrams, &connected] {
        let handed = Handed::new(&[("http", &held), ("wrong", wrong)]);
        let exit = Host::serve("hello_p2").under(handed.words()).start_in_vain();
        exit.expect_code(3)
            .expect_last_line("descriptor 4 of LISTEN_FDS (wrong) is no listening socket");
    }
    for (name, value) in [("LISTEN_FDS", "many"), ("LISTEN_FDS", "4000000000")] {
        let exit = Host::serve("hello_p2").env(name, value).start_in_vain();
        exit.expect_code(3).expect_last_line("not a number of sockets");
    }
    // Handed to a shell that has not made way.
    let host = Host::serve("hello_p2").env("LISTEN_FDS", "1").env("LISTEN_PID", "1").start();
    host.wait_log("sockets were handed to another process");
}

/// A host binds its listener itself, and systemd keeps it meanwhile (`FileDescriptorStoreMax=`).
#[test]
fn crash_loses_nobody_who_waits_in_a_listener_that_the_service_manager_keeps() {
    let manager = ServiceManager::new();
    let address = free().to_string();
    let (site, local) = (site("hello_p2", &[("http", &address)]), TempPath::new("local"));
    let unix = format!("unix:{}", local.0.display());
    // One that has a path is not kept.
    let with_unix = format!("{}[[listener]]\naddress = {unix:?}\n", manifest(&site));
    site.write(&with_unix);
    let serve = |site: &Site| {
        let serve = site.serve().no_tcp().env("NOTIFY_SOCKET", manager.name());
        serve.env("FDSTORE", "8")
    };
    let first = serve(&site).start();
    let serving = "READY=1\nSTATUS=serving 1 component on 2 addresses";
    manager.expect("STATUS=loading 1 component");
    manager.expect(serving);
    let kept = manager.expect("FDSTORE=1\nFDNAME=kept-http").descriptors;
    assert_eq!(kept.len(), 1);
    first.signal(Signal::KILL);
    first.wait_exit().expect_code(-9);
    let asked = ask(&Target::parse(&address).unwrap());
    let old = TcpListener::bind("127.0.0.1:0").unwrap();
    let handed = Handed::new(&[("kept-old", &old), ("kept-http", &kept[0])]);
    let second = serve(&site).under(handed.words()).start();
    drop((kept, handed));
    assert_eq!(asked(), 200);
    manager.expect("STATUS=loading 1 component");
    manager.expect("FDSTOREREMOVE=1\nFDNAME=kept-old");
    manager.expect(serving);
    drop(manager.expect("FDSTORE=1\nFDNAME=kept-http"));
    // A stop closes it for good: whoever comes is refused, and does not wait for a host that may never come.
    second.signal(Signal::TERM);
    manager.expect("FDSTOREREMOVE=1\nFDNAME=kept-http");
    // The client may not have closed its connection yet.
    let told = manager.next().timeless();
    assert!(told.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=N\nSTATUS=draining: "), "{told}");
    second.wait_exit().expect_code(0);
    let why = TcpStream::connect(&address).unwrap_err();
    assert_eq!(why.kind(), io::ErrorKind::ConnectionRefused);
}

/// Whoever comes after it would be handed a listener that was closed for good.
#[test]
fn upgrade_leaves_with_the_service_manager_only_what_the_new_process_has() {
    let manager = ServiceManager::new();
    let [kept, lost] = [free(), free()].map(|address| address.to_string());
    let site = site("hello_p2", &[("http", &kept), ("lost", &lost)]);
    let without = manifest(&site).replace(&format!("name = \"lost\"\naddress = {lost:?}\n"), "");
    site.put_text("one.toml", &without.replace("[[listener]]\n[component", "[component"));
    let serve = site.serve().no_tcp().control().env("FDSTORE", "8");
    let host = serve.env("NOTIFY_SOCKET", manager.name()).start();
    manager.expect("STATUS=loading 1 component");
    manager.expect("READY=1\nSTATUS=serving 1 component on 2 addresses");
    manager.expect("FDSTORE=1\nFDNAME=kept-http");
    manager.expect("FDSTORE=1\nFDNAME=kept-lost");
    let upgrade = host.start_ctl(["upgrade", "--config", &site.file("one.toml")]);
    manager.expect("FDSTOREREMOVE=1\nFDNAME=kept-http");
    manager.expect("FDSTOREREMOVE=1\nFDNAME=kept-lost");
    let pid = manager.next().number("MAINPID");
    manager.expect("BARRIER=1");
    let exit = upgrade.wait_exit();
    exit.expect_code(0);
    assert_eq!(u64::from(upgraded_pid(&exit.stdout)), pid);
    manager.expect("READY=1\nSTATUS=serving 1 component on 1 address");
    manager.expect("FDSTORE=1\nFDNAME=kept-http");
    host.wait_log("upgrade: the old host has ended");
}

fn manifest(site: &Site) -> String {
    std::fs::read_to_string(site.folder.join("host.toml")).unwrap()
}

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd").join(name)
}

#[test]
fn units_are_sound_and_hardened() {
    if !has("systemd-analyze", "systemd") {
        return;
    }
    let analyze = |args: &[&str]| {
        let ran = Command::new("systemd-analyze").args(args).output().unwrap();
        let said =
            [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (ran.status.success(), said.concat())
    };
    // As it is installed: it wants the program in its place.
    let folder = crate::support::app::Folder::new();
    for name in ["host.service", "host.socket"] {
        let text = std::fs::read_to_string(unit(name)).unwrap();
        let text = text.replace("/usr/bin/wasm-host", env!("CARGO_BIN_EXE_host"));
        std::fs::write(folder.join(name), text).unwrap();
    }
    let [service, socket] = ["host.service", "host.socket"].map(|it| folder.join(it));
    let [service, socket] = [&service, &socket].map(|it| it.to_str().unwrap());
    let (_, said) = analyze(&["verify", "--man=no", "--recursive-errors=no", service, socket]);
    // Systemd before 253 does not know this type.
    let complaints: Vec<_> = said
        .lines()
        .filter(|line| line.contains("host."))
        .filter(|line| !line.contains("notify-reload"))
        .collect();
    assert!(complaints.is_empty(), "{said}");
    let (_, said) = analyze(&["security", "--offline=true", "--no-pager", service]);
    let line =
        said.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_default();
    let figure = line.split(": ").nth(1).and_then(|rest| rest.split(' ').next());
    let figure: f64 = figure.and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("{said}"));
    println!("systemd-analyze security --offline=true deploy/systemd/host.service: {figure}");
    assert!(figure <= 2.0, "{said}");
}
