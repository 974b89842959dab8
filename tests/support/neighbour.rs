//! A component beside a hostile guest, and a client that sends it requests all the while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use rustix::process::Signal;

use super::PATIENCE;
use super::host::Host;
use super::raw::Conn;
use super::says;

/// This many responses must come while the other guest works.
const ANSWERS: usize = 9;

/// A client that requests one path in a loop, each time on a connection of its own. Every response must be
/// `hello_p2`'s. `make bench` measures how long they take.
#[derive(Debug)]
pub struct Neighbour {
    /// The outcome of each request: an error says what was wrong.
    answers: Receiver<Result<(), String>>,
    ended: Arc<AtomicBool>,
    client: Option<JoinHandle<()>>,
}

impl Neighbour {
    /// Begins to request `path` of `host`. Returns after the first response.
    #[track_caller]
    pub fn at(host: &Host, path: &'static str) -> Self {
        let (send, answers) = channel();
        let ended = Arc::new(AtomicBool::new(false));
        let (target, until) = (host.addrs()[0].clone(), ended.clone());
        let client = thread::spawn(move || {
            while !until.load(Ordering::Acquire) {
                if send.send(ask(Conn::connect(&target), path)).is_err() {
                    return;
                }
            }
        });
        let neighbour = Self { answers, ended, client: Some(client) };
        neighbour.expect_answers(1);
        neighbour
    }

    /// Fails unless all responses since the last call were right, and [`ANSWERS`] more come.
    #[track_caller]
    pub fn expect_well(&self) {
        self.expect_right_so_far();
        self.expect_answers(ANSWERS);
    }

    /// Fails unless it is served to the end, and its host stops as if nothing had been.
    #[track_caller]
    pub fn expect_clean_stop(self, host: Host) {
        self.expect_well();
        drop(self);
        host.signal(Signal::TERM);
        let exit = host.wait_exit();
        exit.expect_code(0).expect_last_line(says::NOTHING_CUT);
        assert!(!exit.stderr.contains("panicked"), "{}", exit.stderr);
    }

    /// Runs `deed`, which may use a core all the time, and fails unless responses came meanwhile. A guest
    /// that waits until the deed has ended gets one response at most.
    #[track_caller]
    pub fn expect_served_beside<T>(&self, deed: impl FnOnce() -> T) -> T {
        self.expect_right_so_far();
        let done = deed();
        let answered = self.expect_right_so_far();
        assert!(answered >= ANSWERS, "the neighbour had {answered} answers beside it");
        done
    }

    /// The number of responses since the last call.
    #[track_caller]
    fn expect_right_so_far(&self) -> usize {
        let come = self.answers.try_iter();
        come.map(|answer| answer.expect("the neighbour has its answers")).count()
    }

    #[track_caller]
    fn expect_answers(&self, count: usize) {
        for _ in 0..count {
            let answer = self.answers.recv_timeout(PATIENCE).expect("the neighbour has answers");
            answer.expect("the neighbour has its answers");
        }
    }
}

fn ask(conn: std::io::Result<Conn>, path: &str) -> Result<(), String> {
    let answer = conn.map_err(|e| e.to_string())?.get(path).map_err(|e| e.to_string())?;
    match (answer.status(), answer.text().as_str()) {
        (200, "hello world\n") => Ok(()),
        _ => Err(answer.to_string()),
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(client) = self.client.take() {
            client.join().ok();
        }
    }
}
