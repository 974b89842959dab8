//! Clients that ask as fast as they are answered, and count which version answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::h2raw::H2;
use super::host::Host;
use super::load::Mode;
use super::raw::Conn;

/// What was answered. Every request is one of them: a client whose request is lost panics.
#[derive(Debug, Default)]
pub struct Answers {
    /// By version a.
    pub a: AtomicU64,
    /// By version b.
    pub b: AtomicU64,
    /// With 500 and more.
    pub failed: AtomicU64,
}

impl Answers {
    /// All of them.
    pub fn all(&self) -> u64 {
        let Self { a, b, failed } = self;
        [a, b, failed].iter().map(|count| count.load(Ordering::SeqCst)).sum()
    }

    /// Those that failed.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }

    fn count(&self, status: u16, version: Option<&str>) {
        let counter = match (status, version) {
            (500.., _) => &self.failed,
            (200, Some("a")) => &self.a,
            (200, Some("b")) => &self.b,
            _ => panic!("not an answer of ours: {status} {version:?}"),
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

/// Clients at work. Dropping it stops them.
#[derive(Debug)]
pub struct Visitors {
    /// What they were answered so far.
    pub answers: Arc<Answers>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Visitors {
    /// So many clients of `host`, each with one request at a time. With `pause` each waits for so long from the beginning
    /// of one request to that of the next.
    pub fn of(host: &Host, clients: usize, mode: Mode, pause: Option<Duration>) -> Self {
        let (answers, stop) = (Arc::<Answers>::default(), Arc::<AtomicBool>::default());
        let addr = host.addr();
        let client = |_| {
            let (answers, stop) = (answers.clone(), stop.clone());
            thread::spawn(move || {
                let mut client = Client::new(addr, mode);
                let mut next = Instant::now();
                while !stop.load(Ordering::SeqCst) {
                    let (status, version) = client.ask();
                    answers.count(status, version.as_deref());
                    if let Some(pause) = pause {
                        next += pause;
                        thread::sleep(next.saturating_duration_since(Instant::now()));
                    }
                }
            })
        };
        let threads = (0..clients).map(client).collect();
        Self { answers, stop, threads }
    }

    /// Stops them. What they were answered, of which nothing was lost.
    #[track_caller]
    pub fn stop(mut self) -> Arc<Answers> {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client lost a request");
        }
        self.answers.clone()
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// A client with one connection at a time.
struct Client {
    addr: SocketAddr,
    mode: Mode,
    h1: Option<Conn>,
    h2: Option<(H2, u32)>,
}

/// Streams on one connection, before another is made.
const STREAMS: u32 = 2000;

impl Client {
    fn new(addr: SocketAddr, mode: Mode) -> Self {
        Self { addr, mode, h1: None, h2: None }
    }

    /// The status and the version of an answer that came whole.
    fn ask(&mut self) -> (u16, Option<String>) {
        match self.mode {
            Mode::H1Kept | Mode::H1Fresh => self.ask_h1(),
            Mode::H2Kept | Mode::H2Fresh => self.ask_h2(),
        }
    }

    fn ask_h1(&mut self) -> (u16, Option<String>) {
        let kept = self.h1.take().filter(|_| self.mode == Mode::H1Kept);
        let mut conn = kept.unwrap_or_else(|| Conn::connect(self.addr).expect("a connection"));
        let answer = conn.get("/?bytes=250").expect("no request is lost");
        let version = answer.header("x-version").map(str::to_owned);
        let kept = !answer.head.says_close();
        let status = answer.status();
        self.h1 = Some(conn).filter(|_| kept);
        (status, version)
    }

    fn ask_h2(&mut self) -> (u16, Option<String>) {
        let fits = |stream: u32| self.mode == Mode::H2Kept && stream < STREAMS;
        let kept = self.h2.take().filter(|(_, stream)| fits(*stream));
        let (mut h2, stream) = kept.unwrap_or_else(|| (H2::connect(self.addr), 1));
        h2.get(stream, "/?bytes=250");
        let answer = h2.expect_answer(stream);
        let version = answer.headers.iter().find(|(name, _)| name == "x-version");
        let version = version.map(|(_, value)| value.clone());
        self.h2 = Some((h2, stream + 2));
        (answer.status, version)
    }
}
