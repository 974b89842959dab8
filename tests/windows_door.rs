//! The door: connections that come before it closes, while it closes, and after. What waits in the queue
//! is in `windows_queue.rs`.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use rustix::process::geteuid;
use socket2::{Domain, SockFilter, Socket, Type};

use crate::support::prelude::*;
use crate::support::stop::{
    GET, Held, OPEN, StopSummary, connections, expect_last, expect_served, stop,
};

/// The host as the user of the tests runs it, and as a user without rights: what a stop
/// needs for closing a door was a right of root's once.
pub type Start = fn(&str) -> Serve;
pub const AS_WE_ARE: Start = Host::serve;
pub const UNPRIVILEGED: Start = |guest| Host::serve(guest).unprivileged();

/// W1. The load balancer still sends traffic for a while after SIGTERM.
#[test]
fn during_the_drain_delay_new_connections_are_served_and_told_to_close() {
    for guest in ["hello_p2", "hello_p3"] {
        let host = Host::serve(guest).everywhere().args(["--drain-delay", "15s"]).start();
        host.signal(Signal::TERM);
        host.wait_log(says::LAME_DUCK);
        for mut conn in connections(&host) {
            conn.send(GET).unwrap();
            expect_last(&mut conn);
        }
        assert!(!host.log().contains(says::CLOSING_DOOR), "the delay is not over");
    }
}

/// W1, for who was connected before.
#[test]
fn during_the_drain_delay_a_kept_alive_connection_is_told_to_close_by_its_next_answer() {
    let host = Host::serve("gate_p2").everywhere().args(["--drain-delay", "15s"]).start();
    let mut kept = connections(&host);
    for conn in &mut kept {
        assert!(!conn.get("/").unwrap().head.says_close());
    }
    let mut held = host.connect();
    held.send("POST /head HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    host.wait_log(says::GATE_STARTED);
    host.signal(Signal::TERM);
    host.wait_log(says::LAME_DUCK);
    for conn in &mut kept {
        assert!(conn.is_quiet(), "an idle connection is not closed during the delay");
        conn.send(GET).unwrap();
        expect_last(conn);
    }
    held.send(OPEN).unwrap();
    expect_last(&mut held);
}

/// W1, over HTTP/2: nobody is sent away before the door closes.
#[test]
fn during_the_drain_delay_http2_streams_are_served_as_before() {
    let host = Host::serve("hello_p2").args(["--drain-delay", "15s"]).start();
    let mut old = H2::connect(host.addr());
    old.get(1, "/");
    assert_eq!(old.expect_answer(1).status, 200);
    host.signal(Signal::TERM);
    host.wait_log(says::LAME_DUCK);
    let mut new = H2::connect(host.addr());
    for (h2, stream) in [(&mut old, 3), (&mut new, 1)] {
        h2.get(stream, "/");
        assert_eq!(h2.expect_answer(stream).status, 200);
    }
}

/// W1: the delay ends, and then the stop goes on by itself.
#[test]
fn after_the_drain_delay_the_door_closes() {
    let host = Host::serve("hello_p2").args(["--drain-delay", "300ms"]).start();
    let addr = host.addr();
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
    let took = StopSummary::read(&exit).took;
    assert!((0.3..1.3).contains(&took), "{took} s");
    assert_eq!(Conn::connect(addr).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

/// W23. One clock: were the delay added to the timeout, this would take 4 s.
#[test]
fn drain_delay_lies_inside_the_drain_timeout() {
    let args = ["--drain-delay", "1900ms", "--drain-timeout", "2s"];
    let host = Host::serve("gate_p2").args(args).start();
    let held = Held::on(&host);
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(1);
    let took = StopSummary::read(&exit).took;
    assert!((2.0..3.5).contains(&took), "{took} s");
    drop(held);
}

/// W3. The host's SYN-ACK is lost, so the handshake is not finished when the stop comes; the
/// kernel repeats it a second after the first.
#[test]
fn handshake_under_way_when_the_stop_comes_is_finished_and_served() {
    for serve in [AS_WE_ARE, UNPRIVILEGED] {
        let host = serve("hello_p2").args(["--addr", "[::1]:0"]).start();
        let sockets: Vec<(Socket, SocketAddr)> = host.addrs().iter().filter_map(deaf).collect();
        thread::scope(|scope| {
            let connect = |(socket, addr): &(Socket, SocketAddr)| {
                socket.connect_timeout(&(*addr).into(), PATIENCE).expect("it is finished");
            };
            for pair in &sockets {
                scope.spawn(move || connect(pair));
                wait_half_done(pair.1);
            }
            host.signal(Signal::TERM);
            host.wait_log(says::CLOSING_DOOR);
            for (socket, _) in &sockets {
                socket.detach_filter().unwrap();
            }
        });
        for (socket, _) in sockets {
            let mut conn = Conn::over(socket);
            conn.send(GET).unwrap();
            expect_last(&mut conn);
        }
        host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
    }
}

/// The door is shut before it is closed: as any user but root the host emptied its queue while others
/// came, and up to 53 requests in ten stops were reset by the close; the last line said 0. A handshake
/// that is half done holds the closing up here, so that there is time to come.
#[test]
fn whoever_comes_while_the_door_closes_is_served_or_refused_and_never_reset() {
    for serve in [AS_WE_ARE, UNPRIVILEGED] {
        let host = serve("hello_p2").start();
        let half_done = deaf(&host.addrs()[0]);
        thread::scope(|scope| {
            if let Some((socket, addr)) = &half_done {
                let connect = || socket.connect_timeout(&(*addr).into(), PATIENCE);
                scope.spawn(move || connect().expect("the handshake is finished"));
                wait_half_done(*addr);
            }
            host.signal(Signal::TERM);
            // A reset is an error of one of these.
            let refused = loop {
                match Conn::connect(host.addr()) {
                    Ok(mut conn) => {
                        conn.send(GET).unwrap();
                        expect_served(&mut conn);
                    }
                    Err(why) => break why.kind(),
                }
            };
            assert_eq!(refused, io::ErrorKind::ConnectionRefused);
            if let Some((socket, _)) = &half_done {
                assert!(!host.log().contains(says::DRAINING), "refused by a door that is open");
                socket.detach_filter().unwrap();
            }
            host.wait_log(says::DRAINING);
        });
        if let Some((socket, _)) = half_done {
            let mut conn = Conn::over(socket);
            conn.send(GET).unwrap();
            expect_last(&mut conn);
        }
        host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
    }
}

/// A peer that has been told that it is connected, and whose handshake is not finished in time, is
/// lost. That is counted, and the exit says so.
#[test]
fn handshake_that_is_given_up_is_counted_as_a_dropped_connection() {
    let host = UNPRIVILEGED("hello_p2").start();
    let Some((socket, addr)) = deaf(&host.addrs()[0]) else { return };
    socket.set_nonblocking(true).unwrap();
    socket.connect(&addr.into()).unwrap_err();
    wait_half_done(addr);
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(1).expect_last_line(", 0 cut, 1 connection dropped");
}

/// Returns when the kernel has a handshake with `addr` that is half done.
#[track_caller]
fn wait_half_done(addr: SocketAddr) {
    const SYN_RECEIVED: &str = "03";
    let port = format!(":{:04X}", addr.port());
    let until = Instant::now() + PATIENCE;
    let half_done = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next().is_some_and(|local| local.ends_with(&port));
        local && fields.nth(1) == Some(SYN_RECEIVED)
    };
    let table = if addr.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    while !fs::read_to_string(table).unwrap().lines().any(half_done) {
        assert!(Instant::now() < until, "no handshake with {addr} has begun");
        thread::yield_now();
    }
}

/// A socket that will hear nothing of what comes from `target`, and so not of the SYN-ACK either. None
/// where that takes a right that we do not have, which is said.
#[track_caller]
fn deaf(target: &Target) -> Option<(Socket, SocketAddr)> {
    let Target::Tcp(addr) = target else { panic!("a TCP address") };
    let socket = Socket::new(Domain::for_address(*addr), Type::STREAM, None).unwrap();
    // What a filter that returns 0 sees is dropped.
    if let Err(why) = socket.attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]) {
        assert!(!geteuid().is_root(), "{why}");
        println!("no handshake can be held up by this user ({why}): that part is not tested");
        return None;
    }
    Some((socket, *addr))
}

/// W2, W3. Whoever has connected is answered, whoever comes later is refused; nothing between.
#[test]
fn signal_in_the_same_instant_as_connect_loses_nothing() {
    for round in 0..50 {
        let serve = [AS_WE_ARE, UNPRIVILEGED][round / 2 % 2];
        let host = serve("hello_p2").unix().start();
        let target = host.addrs()[round % 2].clone();
        let together = Barrier::new(2);
        thread::scope(|scope| {
            let client = scope.spawn(|| {
                let mut early = Conn::connect(&target).expect("the stop has not begun");
                early.send(GET).unwrap();
                together.wait();
                if let Ok(mut late) = Conn::connect(&target) {
                    late.send(GET).unwrap();
                    expect_served(&mut late);
                }
                expect_served(&mut early);
            });
            together.wait();
            host.signal(Signal::TERM);
            client.join().unwrap_or_else(|_| panic!("lost in round {round}: {}", host.log()));
        });
        host.wait_exit().expect_code(0).expect_last_line(says::NOTHING_CUT);
    }
}

/// Also while the queue is emptied.
#[test]
fn after_the_door_is_closed_new_connections_are_refused_and_old_work_goes_on() {
    let host = Host::serve("gate_p2").unix().start();
    let held = Held::on(&host);
    stop(&host);
    let [tcp, unix] = host.addrs() else { panic!("two listeners") };
    assert_eq!(Conn::connect(tcp).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(Conn::connect(unix).unwrap_err().kind(), io::ErrorKind::NotFound);
    drop(held.open());
    host.wait_exit().expect_code(0);
}

/// A successor may bind the path while the old process still drains.
#[test]
fn unix_path_is_removed_by_the_stop_and_left_to_a_successor_who_binds_it_then() {
    let host = Host::serve("gate_p2").unix().start();
    let held = Held::on(&host);
    let path = host.unix_path().to_owned();
    assert!(path.exists());
    stop(&host);
    assert!(!path.exists(), "the door is closed, so its path is gone");
    let successor = UnixListener::bind(&path).unwrap();
    drop(held.open());
    let exit = host.wait_exit();
    exit.expect_code(0);
    Conn::connect(&*path).expect("the successor's path is still there");
    drop(successor);
}

/// A successor may also have taken the path before the stop.
#[test]
fn unix_path_that_a_successor_has_bound_anew_is_not_removed_by_the_stop() {
    let host = Host::serve("hello_p2").unix().start();
    let path = host.unix_path().to_owned();
    let mut old = Conn::connect(&*path).unwrap();
    fs::remove_file(&path).unwrap();
    let successor = UnixListener::bind(&path).unwrap();
    host.signal(Signal::TERM);
    old.send(GET).unwrap();
    expect_served(&mut old);
    drop(old);
    let exit = host.wait_exit();
    exit.expect_code(0);
    Conn::connect(&*path).expect("the successor's path is still there");
    drop(successor);
}
