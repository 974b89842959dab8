//! Bounds on the connections of one client, and on how fast connections come.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::support::metrics::{self, Metrics};
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::target::Target;
use crate::support::wire;

/// A connection from another address of this machine.
#[track_caller]
fn connect_from(address: &str, host: &Host) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from: SocketAddr = format!("{address}:0").parse().expect("an address");
    socket.bind(&from.into()).expect("all of 127.0.0.0/8 is ours");
    socket.connect(&host.addr().into()).expect("the host listens");
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).expect("it is not 0");
    stream
}

/// The status of a request over a connection, which stays open.
#[track_caller]
fn status(mut stream: &TcpStream) -> u16 {
    stream.write_all(wire::get("/").as_bytes()).expect("the host reads");
    let mut answer = Vec::new();
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).expect("an answer");
        assert!(read > 0, "no whole answer: {answer:?}");
        answer.extend(&piece[..read]);
    }
    let text = String::from_utf8_lossy(&answer);
    text.split(' ').nth(1).expect("a status").parse().expect("a number")
}

#[test]
fn client_beyond_its_connections_is_told_and_other_clients_are_served() {
    let args = ["--max-connections-per-client", "2"];
    let host = Host::serve("hello_p2").args(args).args(metrics::ARGS).start();
    let mut mine = [host.connect(), host.connect()];
    for conn in &mut mine {
        assert_eq!(conn.get("/").unwrap().status(), 200);
    }
    let mut third = host.connect();
    let refused = third.read_response("GET").expect("an answer, before it asks");
    assert_eq!((refused.status(), &*refused.text()), (429, "too many connections\n"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.head.says_close());
    third.expect_fin();
    // Another address, and those of a Unix socket, are others.
    let other = connect_from("127.0.0.2", &host);
    assert_eq!(status(&other), 200);
    for conn in &mut mine {
        assert_eq!(conn.get("/").unwrap().status(), 200, "who was there is served on");
    }
    let line = host.wait_log("connections are refused");
    assert!(line.contains("127.0.0.1") && line.contains("client-connections"), "{line}");
    let told = Metrics::of(&host);
    let reason = [("reason", "client-connections")];
    assert_eq!(told.sum("host_connections_refused_total", &reason), 1.0);
    // A connection that ends makes room for the next one.
    let [first, _second] = mine;
    drop(first);
    Metrics::wait(&host, |told| told.sum("host_in_flight", &[("what", "connections")]) == 2.0);
    assert_eq!(host.get("/").status(), 200);
}

#[test]
fn peers_of_a_unix_socket_are_not_bounded() {
    let args = ["--max-connections-per-client", "1"];
    let host = Host::serve("hello_p2").args(args).unix().start();
    let connect = || Conn::connect(Target::Unix(host.unix_path().to_owned())).unwrap();
    let mut all = [connect(), connect(), connect()];
    for conn in &mut all {
        assert_eq!(conn.get("/").unwrap().status(), 200);
    }
}

#[test]
fn trusted_proxies_bring_as_many_connections_as_they_like() {
    let args = ["--max-connections-per-client", "1", "--trusted-proxies", "127.0.0.1/32"];
    let host = Host::serve("hello_p2").args(args).start();
    let mut proxy = [host.connect(), host.connect(), host.connect()];
    for conn in &mut proxy {
        assert_eq!(conn.get("/").unwrap().status(), 200);
    }
    let only = connect_from("127.0.0.2", &host);
    assert_eq!(status(&only), 200);
    let mut refused = Conn::over(connect_from("127.0.0.2", &host).into());
    assert_eq!(refused.read_response("GET").unwrap().status(), 429);
}

/// The refused ones are many more than are told so at once, and than there are places: others get theirs.
#[test]
fn client_that_opens_hundreds_takes_no_place_of_others() {
    let args = ["--max-connections-per-client", "3", "--max-connections", "5"];
    let host = Host::serve("hello_p2").args(args).args(metrics::ARGS).start();
    let attack: Vec<Conn> = (0..400).map(|_| host.connect()).collect();
    Metrics::wait(&host, |told| told.sum("host_connections_refused_total", &[]) == 397.0);
    for address in ["127.0.0.2", "127.0.0.3"] {
        assert_eq!(status(&connect_from(address, &host)), 200);
    }
    assert!(!host.log().contains("as many connections as there may be"), "{}", host.log());
    assert_eq!(host.log().matches("connections are refused").count(), 1, "said once");
    drop(attack);
}

#[test]
fn client_that_connects_too_fast_is_told_when_to_come_back() {
    let args = ["--connection-rate-per-client", "3/h"];
    let host = Host::serve("hello_p2").args(args).start();
    for _ in 0..3 {
        assert_eq!(host.get("/").status(), 200);
    }
    let refused = host.connect().read_response("GET").expect("an answer");
    assert_eq!(refused.status(), 429);
    let retry: u64 = refused.header("retry-after").expect("it says when").parse().unwrap();
    assert!((1100..=1200).contains(&retry), "one comes back in 20 minutes: {retry}");
    assert_eq!(status(&connect_from("127.0.0.2", &host)), 200);
}

/// One connection an hour is more than a test waits for: who came beyond it waits in the kernel's queue, and the stop,
/// which waits for nobody's rate, serves them all.
#[test]
fn connections_beyond_the_rate_of_all_wait_and_a_stop_serves_them() {
    let host =
        Host::serve("hello_p2").args(["--connection-rate", "2/h"]).args(metrics::ARGS).start();
    let mut conns: Vec<Conn> = (0..6).map(|_| host.connect()).collect();
    for conn in &mut conns {
        conn.send(wire::get("/")).unwrap();
    }
    for conn in &mut conns[..2] {
        assert_eq!(conn.read_response("GET").unwrap().status(), 200);
    }
    Metrics::wait(&host, |told| told.sum("host_accept_waits_total", &[]) >= 1.0);
    host.wait_log("they wait in the kernel's queue");
    assert!(conns[2..].iter().all(Conn::is_quiet), "nobody is refused");
    host.signal(Signal::TERM);
    for conn in &mut conns[2..] {
        assert_eq!(conn.read_response("GET").unwrap().status(), 200);
    }
    drop(conns);
    host.wait_exit().expect_code(0);
}

#[test]
fn bounds_of_a_manifest_are_in_force_and_shown() {
    let site = Site::new(
        "[listen]\nmax-connections-per-client = 1\nconnection-rate = \"600/m\"\n\
         connection-rate-per-client = \"10/s\"\n\
         [component.shop]\nsource = \"guest:hello_p2\"\n",
    );
    let host = site.serve().control().start();
    let mut only = host.connect();
    assert_eq!(only.get("/").unwrap().status(), 200);
    assert_eq!(host.connect().read_response("GET").unwrap().status(), 429);
    let limits = host.ctl(["status", "--limits"]).stdout;
    for (limit, value) in [
        ("--max-connections-per-client", "1"),
        ("--connection-rate ", "600/m"),
        ("--connection-rate-per-client", "10/s"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(limit));
        assert!(line.is_some_and(|line| line.ends_with(value)), "{limit} {value} in {limits}");
    }
}
