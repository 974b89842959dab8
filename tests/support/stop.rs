//! Steps that tests of a stop have in common.

use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use super::exit::Exit;
use super::host::Host;
use super::http1::{Head, Response};
use super::raw::Conn;
use super::says;

/// A bare request.
pub const GET: &str = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";
/// The head of a request to `gate` that sends its own head at once and then waits.
pub const POST: &str = "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
/// The same to `gate` on the path where it waits before its head.
pub const POST_HEAD: &str = "POST /head HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
/// The end of a chunked body, which `gate` waits for.
pub const OPEN: &str = "0\r\n\r\n";

/// An exchange with `gate`: its head is out, without `Connection: close`, and its body waits.
#[derive(Debug)]
pub struct Held {
    conn: Conn,
    head: Head,
}

impl Held {
    /// Begins an exchange on a connection of its own.
    #[track_caller]
    pub fn on(host: &Host) -> Self {
        Self::over(host.connect())
    }

    /// Begins an exchange over `conn`.
    #[track_caller]
    pub fn over(mut conn: Conn) -> Self {
        conn.send(POST).expect("the host reads");
        let head = conn.read_head().expect("a head before the gate opens");
        assert_eq!(head.status, 200);
        assert!(!head.says_close(), "no stop has begun, so nobody is told to leave");
        Self { conn, head }
    }

    /// Lets it end, expects the whole response and returns the connection.
    #[track_caller]
    pub fn open(mut self) -> Conn {
        self.conn.send(OPEN).expect("the host reads");
        let body = self.conn.read_body(&self.head, "POST").expect("the whole body");
        assert_eq!(body.text(), "started\ndone\n");
        self.conn
    }

    /// The connection, to see how it ends.
    pub fn into_conn(self) -> (Conn, Head) {
        (self.conn, self.head)
    }
}

/// A connection to each address of `host`.
#[track_caller]
pub fn connections(host: &Host) -> Vec<Conn> {
    let connect = |target| Conn::connect(target).expect("the host listens");
    host.addrs().iter().map(connect).collect()
}

/// Returns when `host` has accepted every earlier connection: each listener accepts in order, and a later
/// connection has been served.
#[track_caller]
pub fn wait_accepted(host: &Host) {
    for mut conn in connections(host) {
        assert_eq!(conn.get("/").expect("an answer").status(), 200);
    }
}

/// Stops every thread of `host`, and returns when they stand still. The kernel goes on: it completes
/// handshakes, takes bytes, and keeps signals for later.
pub fn freeze(host: &Host) {
    host.signal(Signal::STOP);
    let raw = i32::try_from(host.pid()).expect("a process number is small");
    let pid = Pid::from_raw(raw).expect("a process number is not 0");
    let stands = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(pid), stands).expect("the host is our child");
    assert!(status.is_some_and(|status| status.stopped()), "the host ended instead");
}

/// Sends `signal` to a frozen `host` and lets it continue.
pub fn thaw_with(host: &Host, signal: Signal) {
    host.signal(signal);
    host.signal(Signal::CONT);
}

/// Sends SIGTERM and waits until no listener is open any more.
#[track_caller]
pub fn stop(host: &Host) {
    host.signal(Signal::TERM);
    host.wait_log(says::DRAINING);
}

/// Sends the signal that counts as the second one of a stop which `host` has logged.
pub fn lose_patience(host: &Host, signal: Signal) {
    // Not a wait for the host: two signals closer to each other than this count as one.
    thread::sleep(Duration::from_millis(500));
    host.signal(signal);
}

/// Stops `host`, which has no work left, and returns its whole log. A test looks there for lines that must be
/// missing, because a line of a running host may still be on its way.
#[track_caller]
pub fn whole_log(host: Host) -> String {
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(0);
    exit.stderr
}

/// Expects a whole 200 that is not the last response on its connection.
#[track_caller]
pub fn expect_served(conn: &mut Conn) -> Response {
    let response = conn.read_response("GET").expect("a whole answer");
    assert_eq!(response.status(), 200, "{response}");
    response
}

/// Expects a whole 200 that says `Connection: close`, and then FIN.
#[track_caller]
pub fn expect_last(conn: &mut Conn) -> Response {
    let response = expect_served(conn);
    assert!(response.head.says_close(), "not told to leave: {response}");
    conn.expect_fin();
    response
}

/// Expects the 503 of a cut: whole, with the headers that a client needs, and FIN after it.
#[track_caller]
pub fn expect_cut(conn: &mut Conn) {
    let response = conn.read_response("GET").expect("a whole answer");
    assert_eq!(response.status(), 503, "{response}");
    assert!(response.head.says_close(), "{response}");
    assert!(response.header("retry-after").is_some(), "{response}");
    conn.expect_fin();
}

/// Waits for a stop that cut and dropped nothing, and returns its numbers.
#[track_caller]
pub fn expect_clean_exit(host: Host) -> StopSummary {
    let exit = host.wait_exit();
    exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
    StopSummary::read(&exit)
}

/// The numbers of the last line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StopSummary {
    /// Seconds from the first signal to the end.
    pub took: f64,
    /// Exchanges that finished since the stop began.
    pub finished: u64,
    /// Exchanges and work after a response that were cut.
    pub cut: u64,
    /// Connections that were dropped while the host owed them bytes.
    pub dropped: u64,
}

impl StopSummary {
    /// Reads the last line of `exit`.
    ///
    /// # Panics
    /// When it does not have exactly the form of the design.
    #[track_caller]
    pub fn read(exit: &Exit) -> Self {
        Self::parse(&exit.last_line)
            .unwrap_or_else(|| panic!("not a last line: {:?}", exit.last_line))
    }

    fn parse(line: &str) -> Option<Self> {
        let (took, rest) = line.strip_prefix(says::STOPPED)?.split_once("s: ")?;
        let (finished, rest) = counted(rest, "exchange", " finished, ")?;
        let (cut, rest) = rest.split_once(" cut, ")?;
        let (dropped, rest) = counted(rest, "connection", " dropped")?;
        let (whole, part) = took.split_once('.')?;
        let exact = rest.is_empty()
            && part.len() == 3
            && [whole, part, finished, cut, dropped].into_iter().all(digits);
        exact.then_some(Self {
            took: took.parse().ok()?,
            finished: finished.parse().ok()?,
            cut: cut.parse().ok()?,
            dropped: dropped.parse().ok()?,
        })
    }
}

/// `2 exchanges finished, `, and what is behind it.
fn counted<'a>(text: &'a str, what: &str, then: &str) -> Option<(&'a str, &'a str)> {
    let (number, rest) = text.split_once(' ')?;
    let rest = rest.strip_prefix(what)?;
    let rest = if number == "1" { rest } else { rest.strip_prefix('s')? };
    Some((number, rest.strip_prefix(then)?))
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}
