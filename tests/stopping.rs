//! The drain: what it waits for, what it does not wait for, and how it cuts.

use std::process::Command;
use std::thread;
use std::time::Instant;

use crate::support::lines::Mark;
use crate::support::prelude::*;
use crate::support::process::Process;
use crate::support::stop::{
    Held, OPEN, POST, POST_HEAD, Told, connections, expect_cut, expect_last, stop, wait_accepted,
};

/// A drain timeout that is soon over. What it ends lasts longer than a test.
const SOON: [&str; 2] = ["--drain-timeout", "1s"];

#[track_caller]
fn get(conn: &mut Conn, path: &str) {
    conn.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n")).expect("the host reads");
}

/// Expects an end at the drain timeout, and not before.
#[track_caller]
fn expect_cut_in_time(host: Host, code: i32) -> Exit {
    let exit = host.wait_exit();
    exit.expect_code(code);
    let took = Told::by(&exit).took;
    assert!(took >= 1.0, "{took} s");
    exit
}

/// W24. Nothing to wait for: nothing is waited for. Tried more than once, because the machine may
/// be busy with something else, which is no fault of the host's.
#[test]
fn drain_with_nothing_in_flight_ends_within_50_ms() {
    let mut took = Vec::new();
    for _ in 0..10 {
        let host = Host::serve("hello_p2").unix().start();
        assert_eq!(host.get("/").status(), 200);
        host.signal(Signal::TERM);
        let exit = host.wait_exit();
        exit.expect_code(0);
        took.push(Told::by(&exit).took);
        if took.last() < Some(&0.050) {
            return;
        }
    }
    panic!("seconds for each stop: {took:?}");
}

/// W24. The last answer of the last connection ends the process, and not its timeout. That nothing comes
/// between is seen on a paused clock: `drain_ends_with_the_last_guard_and_not_at_the_deadline`.
#[test]
fn exit_follows_the_last_answer() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).unix().args(["--drain-timeout", "1h"]).start();
        let held: Vec<Held> = connections(&host).into_iter().map(Held::over).collect();
        stop(&host);
        for held in held {
            drop(held.open());
        }
        host.wait_exit().expect_code(0).expect_last_line("2 exchanges finished, 0 cut, 0 conn");
    }
}

/// An exchange is in flight until the last frame of its body, whatever has been sent before.
#[test]
fn exchange_is_waited_for_until_the_last_frame_of_its_body() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).start();
        let held = Held::on(&host);
        stop(&host);
        drop(held.open());
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(" s: 1 exchanges finished, 0 cut, 0 conn");
    }
}

#[test]
fn streaming_answer_that_ends_before_the_timeout_is_not_cut() {
    for guest in ["drip_p2", "drip_p3"] {
        let host = Host::serve(guest).unix().start();
        let mut conns = connections(&host);
        let mut h2 = H2::connect(host.addr());
        h2.get(1, "/?n=20&ms=50");
        assert_eq!(h2.expect_status(1), 200);
        let mut heads = Vec::new();
        for conn in &mut conns {
            get(conn, "/?n=20&ms=50");
            heads.push(conn.read_head().unwrap());
        }
        host.signal(Signal::TERM);
        for (conn, head) in conns.iter_mut().zip(&heads) {
            let body = conn.read_body(head, "GET").expect("to the last chunk").text();
            assert_eq!(body.lines().count(), 20, "{body}");
        }
        let mut ticks = Vec::new();
        while !ticks.ends_with(b"tick 20\n") {
            ticks.extend(h2.expect_data(1).0);
        }
        h2.expect_fin();
        drop((conns, h2));
        host.wait_exit().expect_code(0).expect_last_line("3 exchanges finished, 0 cut, 0 conn");
    }
}

#[test]
fn upload_that_goes_on_during_the_drain_is_taken_whole() {
    for guest in ["echo_p2", "echo_p3"] {
        let host = Host::serve(guest).unix().start();
        let mut conns = connections(&host);
        let mut h2 = H2::connect(host.addr());
        let mut heads = Vec::new();
        h2.send_headers(1, "POST", "/", false);
        h2.send_data(1, b"before", false);
        assert_eq!(h2.expect_data(1).0, b"before");
        for conn in &mut conns {
            conn.send(format!("{POST}6\r\nbefore\r\n")).unwrap();
            heads.push(conn.read_head().unwrap());
        }
        stop(&host);
        h2.send_data(1, b" and after", true);
        assert_eq!(h2.expect_data(1).0, b" and after");
        h2.expect_fin();
        for (conn, head) in conns.iter_mut().zip(&heads) {
            conn.send(format!("a\r\n and after\r\n{OPEN}")).unwrap();
            let body = conn.read_body(head, "POST").expect("the whole answer");
            assert_eq!(body.text(), "before and after");
        }
        drop((conns, h2));
        host.wait_exit().expect_code(0).expect_last_line("3 exchanges finished, 0 cut, 0 conn");
    }
}

/// W19. The client has all it wants; the guest has not.
#[test]
fn work_after_the_answer_is_waited_for() {
    for guest in ["after_p2", "after_p3"] {
        let host = Host::serve(guest).start();
        assert_eq!(host.get("/?ms=1500").text(), "answered\n");
        host.signal(Signal::TERM);
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        let asked = exit.stderr.find(says::ASKED).expect("it was asked");
        let done = exit.stderr.find(says::AFTER_DONE).expect("the guest finished");
        assert!(asked < done, "the stop came during the work");
    }
}

/// W19, its other end: a guest that sleeps, and one that never yields.
#[test]
fn work_after_the_answer_is_cut_at_the_drain_timeout_and_counted() {
    for guest in ["after_p2", "after_p3"] {
        for path in ["/forever", "/spin"] {
            let host = Host::serve(guest).args(SOON).start();
            assert_eq!(host.get(path).text(), "answered\n");
            host.signal(Signal::TERM);
            let exit = expect_cut_in_time(host, 1);
            let Told { finished, cut, .. } = Told::by(&exit);
            assert_eq!((finished, cut), (0, 1), "{guest} {path}: the answer was before the stop");
            let named = exit.stderr.lines().find(|line| line.contains(says::SURVIVOR));
            assert!(named.is_some_and(|line| line.contains(path)), "{named:?}");
        }
    }
}

#[test]
fn slow_upload_does_not_hold_the_stop_and_is_told_503() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).unix().args(SOON).start();
        let mut conns = connections(&host);
        for conn in &mut conns {
            conn.send(format!("{POST_HEAD}1\r\nx\r\n")).unwrap();
        }
        host.wait_log_nth(says::GATE_STARTED, 2);
        host.signal(Signal::TERM);
        for conn in &mut conns {
            expect_cut(conn);
        }
        drop(conns);
        expect_cut_in_time(host, 1).expect_last_line(" s: 0 exchanges finished, 2 cut, ");
    }
}

#[test]
fn slow_reader_does_not_hold_the_stop_and_gets_no_whole_answer() {
    for guest in ["big_p2", "big_p3"] {
        let host = Host::serve(guest).unix().args(SOON).start();
        let mut conns = connections(&host);
        for conn in &mut conns {
            get(conn, "/?kib=65536");
        }
        let heads: Vec<Head> = conns.iter_mut().map(|conn| conn.read_head().unwrap()).collect();
        host.signal(Signal::TERM);
        expect_cut_in_time(host, 1);
        for (conn, head) in conns.iter_mut().zip(heads) {
            let end = conn.read_body(&head, "GET").expect_err("the answer was not whole");
            assert!(matches!(end, Broken::Fin(_) | Broken::Reset), "{end}");
        }
    }
}

#[test]
fn http2_peer_that_opens_no_window_does_not_hold_the_stop_and_gets_no_whole_answer() {
    for guest in ["big_p2", "big_p3"] {
        let host = Host::serve(guest).args(SOON).start();
        let mut h2 = H2::connect_with_window(host.addr(), 100);
        h2.get(1, "/?kib=65536");
        assert_eq!(h2.expect_status(1), 200);
        host.signal(Signal::TERM);
        expect_cut_in_time(host, 1);
        loop {
            match h2.read_frame() {
                Ok(Frame::Data { stream: 1, end_stream: true, .. }) => panic!("it looks whole"),
                Ok(_) => {}
                Err(Broken::Fin(_) | Broken::Reset) => break,
                Err(e) => panic!("an end was due: {e}"),
            }
        }
    }
}

#[test]
fn endless_answer_does_not_hold_the_stop_and_ends_without_its_last_chunk() {
    for guest in ["drip_p2", "drip_p3"] {
        let host = Host::serve(guest).unix().args(SOON).start();
        let mut conns = connections(&host);
        for conn in &mut conns {
            get(conn, "/?n=1000000&ms=20");
        }
        let heads: Vec<Head> = conns.iter_mut().map(|conn| conn.read_head().unwrap()).collect();
        host.signal(Signal::TERM);
        for (conn, head) in conns.iter_mut().zip(heads) {
            let end = conn.read_body(&head, "GET").expect_err("the answer was not whole");
            assert!(matches!(end, Broken::Fin(_) | Broken::Reset), "{end}");
        }
        let exit = expect_cut_in_time(host, 1);
        assert_eq!(Told::by(&exit).cut, 2);
    }
}

/// Only the close ends such an answer, so a FIN would make it whole.
#[test]
fn endless_http_1_0_answer_that_is_cut_ends_with_a_reset() {
    let host = Host::serve("drip_p2").unix().args(SOON).start();
    // On a Unix socket there is no reset to tell it with.
    let mut conn = host.connect();
    conn.send("GET /?n=1000000&ms=20 HTTP/1.0\r\nHost: t\r\n\r\n").unwrap();
    conn.read_head().unwrap();
    host.signal(Signal::TERM);
    let (_, end) = conn.expect_reset_or_eof();
    assert_eq!(end, Ended::Reset);
    expect_cut_in_time(host, 1);
}

#[test]
fn http2_streams_that_are_cut_get_503_or_a_reset_and_never_a_whole_looking_answer() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).args(SOON).start();
        let mut h2 = H2::connect(host.addr());
        h2.send_headers(1, "POST", "/", false);
        assert_eq!(h2.expect_status(1), 200);
        h2.send_headers(3, "POST", "/head", false);
        host.wait_log(says::GATE_STARTED);
        host.signal(Signal::TERM);
        let answer = h2.expect_answer(3);
        assert_eq!(answer.status, 503);
        assert!(answer.headers.iter().any(|(name, _)| name == "retry-after"), "{answer:?}");
        assert_ne!(h2.expect_rst(1), NO_ERROR);
        drop(h2);
        let exit = expect_cut_in_time(host, 1);
        assert_eq!(Told::by(&exit).cut, 2);
    }
}

/// Each of them is told, however many there are at once.
#[test]
fn every_exchange_of_a_crowd_that_is_cut_before_its_head_is_told_503() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).args(["--drain-timeout", "2s"]).start();
        let mut crowd: Vec<Conn> = (0..100).map(|_| host.connect()).collect();
        for conn in &mut crowd {
            conn.send(POST_HEAD).unwrap();
        }
        let mut multiplexed: Vec<H2> = (0..5).map(|_| H2::connect(host.addr())).collect();
        let streams = || (1..40).step_by(2);
        for h2 in &mut multiplexed {
            streams().for_each(|stream| h2.send_headers(stream, "POST", "/head", false));
        }
        host.wait_log_nth(says::GATE_STARTED, 200);
        host.signal(Signal::TERM);
        for h2 in &mut multiplexed {
            for stream in streams() {
                assert_eq!(h2.expect_answer(stream).status, 503, "stream {stream}");
            }
        }
        crowd.iter_mut().for_each(expect_cut);
        drop((crowd, multiplexed));
        host.wait_exit().expect_code(1).expect_last_line(" s: 0 exchanges finished, 200 cut, ");
    }
}

/// More of them than there are threads: nobody is left to run anything else.
#[test]
fn guests_that_never_yield_do_not_hold_the_stop_and_are_told_503() {
    let cores = thread::available_parallelism().map_or(2, std::num::NonZero::get);
    for guest in ["busy_p2", "busy_p3"] {
        let host = Host::serve(guest).args(SOON).start();
        let mut conns: Vec<Conn> = (0..=cores).map(|_| host.connect()).collect();
        for conn in &mut conns {
            get(conn, "/");
        }
        host.wait_log_nth(says::SPINNING, cores + 1);
        host.signal(Signal::TERM);
        for conn in &mut conns {
            expect_cut(conn);
        }
        drop(conns);
        let exit = expect_cut_in_time(host, 1);
        assert_eq!(Told::by(&exit).cut, cores as u64 + 1);
    }
}

#[test]
fn guests_that_never_yield_after_their_head_do_not_hold_the_stop_and_break_their_answer() {
    let cores = thread::available_parallelism().map_or(2, std::num::NonZero::get);
    for guest in ["busy_p2", "busy_p3"] {
        let host = Host::serve(guest).args(SOON).start();
        let mut conns: Vec<Conn> = (0..=cores).map(|_| host.connect()).collect();
        for conn in &mut conns {
            get(conn, "/late");
        }
        let heads: Vec<Head> = conns.iter_mut().map(|conn| conn.read_head().unwrap()).collect();
        host.signal(Signal::TERM);
        for (conn, head) in conns.iter_mut().zip(heads) {
            let end = conn.read_body(&head, "GET").expect_err("the answer was not whole");
            assert!(matches!(end, Broken::Fin(_) | Broken::Reset), "{end}");
        }
        let exit = expect_cut_in_time(host, 1);
        assert_eq!(Told::by(&exit).cut, cores as u64 + 1);
    }
}

/// Guests that wait for a slot are cut like those that have one.
#[test]
fn request_that_waits_for_an_instance_at_the_drain_timeout_is_told_503() {
    let args = ["--max-instances", "1", "--queue-timeout", "60s"];
    let host = Host::serve("gate_p2").args(args).args(SOON).start();
    let held = Held::on(&host);
    let mut waiting = host.connect();
    get(&mut waiting, "/");
    host.signal(Signal::TERM);
    expect_cut(&mut waiting);
    drop(held);
    expect_cut_in_time(host, 1).expect_last_line(" s: 0 exchanges finished, 2 cut, ");
}

/// A long linger is bounded by the drain timeout, and idle connections are not work.
#[test]
fn silent_peers_do_not_hold_the_stop_and_lose_nothing() {
    let host = Host::serve("hello_p2").unix().args(["--linger", "1h"]).args(SOON).start();
    let mut fresh = connections(&host);
    let mut kept = connections(&host);
    for conn in &mut kept {
        assert_eq!(conn.get("/").unwrap().status(), 200);
    }
    wait_accepted(&host);
    host.signal(Signal::TERM);
    let exit = expect_cut_in_time(host, 0);
    exit.expect_last_line(says::NOTHING_CUT);
    for conn in fresh.iter_mut().chain(&mut kept) {
        conn.expect_fin();
    }
}

#[test]
fn half_a_head_does_not_hold_the_stop_and_is_told_503() {
    let host = Host::serve("hello_p2").unix().args(["--linger", "0s"]).args(SOON).start();
    let mut first = connections(&host);
    let mut second = connections(&host);
    for conn in &mut second {
        assert_eq!(conn.get("/").unwrap().status(), 200);
    }
    for conn in first.iter_mut().chain(&mut second) {
        conn.send("GET / HTTP/1.1\r\nHo").unwrap();
    }
    wait_accepted(&host);
    host.signal(Signal::TERM);
    for conn in first.iter_mut().chain(&mut second) {
        expect_cut(conn);
    }
    drop((first, second));
    let exit = expect_cut_in_time(host, 1);
    assert_eq!(Told::by(&exit).dropped, 4, "each had begun to ask");
}

#[test]
fn survivors_are_named_with_method_path_generation_and_age() {
    for guest in ["gate_p2", "gate_p3"] {
        let host = Host::serve(guest).args(SOON).start();
        let mut conn = host.connect();
        conn.send(POST_HEAD.replace("/head", "/head?who=me")).unwrap();
        host.wait_log(says::GATE_STARTED);
        host.signal(Signal::TERM);
        expect_cut(&mut conn);
        let exit = expect_cut_in_time(host, 1);
        let mut lines = exit.stderr.lines().skip_while(|line| !line.contains(says::CUT));
        let named = lines.find(|line| line.contains(says::SURVIVOR));
        let named = named.expect("the survivor is named");
        let age = named.split("age=").nth(1).and_then(|age| age.split('s').next()).unwrap();
        assert!(age.parse::<f64>().unwrap() >= 1.0, "{named}");
        assert!(named.contains("POST /head?who=me generation=1"), "{named}");
    }
}

/// Whoever stops it by hand sees what it waits for.
#[test]
fn drain_on_a_terminal_shows_its_progress_live() {
    let command = format!(
        "exec {} serve {} --addr 127.0.0.1:0 --no-cache",
        env!("CARGO_BIN_EXE_host"),
        guest("gate_p2").display()
    );
    let mut terminal = Command::new("script");
    terminal.args(["-q", "-e", "-f", "-c", &command, "/dev/null"]);
    let terminal = Process::spawn(&mut terminal);
    let until = Instant::now() + PATIENCE;
    let ready = terminal.stdout.wait_for("ready addr=", Mark::START, 1, until).unwrap();
    let field = |name| ready.split([' ', '=']).skip_while(|f| *f != name).nth(1).unwrap();
    let target = Target::parse(field("addr")).unwrap();
    let held = Held::over(Conn::connect(&target).unwrap());
    let pid = field("pid").trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    // Drawn over itself, so for us it ends with the next line of the log, which comes after 5 s.
    let line = terminal.stdout.wait_for("stop: waiting for 1 ex", Mark::START, 1, until).unwrap();
    let drawn = line.matches(" s of 25 s: 1 exchanges").count();
    assert!(drawn > 3, "drawn once is not live: {line:?}");
    drop(held.open());
    let until = Instant::now() + PATIENCE;
    assert_eq!(terminal.wait(until), Some(0), "{}", terminal.stdout.text());
    assert!(terminal.stdout.wait_closed(until), "the terminal goes with its last process");
    // The line is cleared before the last line is written, never after it: failed once in CI.
    assert!(terminal.stdout.last().contains(says::NOTHING_CUT), "{}", terminal.stdout.text());
}

/// Off a terminal it is said in the log instead, and nothing is drawn.
#[test]
fn drain_off_a_terminal_says_who_is_left_every_5_seconds() {
    let host = Host::serve("gate_p2").start();
    let mut conn = host.connect();
    conn.send(POST_HEAD).unwrap();
    host.wait_log(says::GATE_STARTED);
    host.signal(Signal::TERM);
    host.wait_log("stop: waiting for 1 exchanges");
    host.wait_log("stop: waiting for POST /head");
    conn.send(OPEN).unwrap();
    expect_last(&mut conn);
    drop(conn);
    let exit = host.wait_exit();
    exit.expect_code(0);
    assert!(!exit.stderr.contains('\r'), "{:?}", exit.stderr);
}
