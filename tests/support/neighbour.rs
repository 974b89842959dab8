//! A good neighbour of a hostile guest, and a client that asks for it all the while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::host::Host;
use super::pace::Pace;
use super::raw::Conn;

/// Answers at the beginning, by which the later ones are judged.
const BEFORE: usize = 30;

/// Answers of one judgement, at least: a single slow one is no median.
const JUDGED: usize = 9;

/// A client that asks for one path in a loop, each time on a connection of its own. Every answer has
/// to be `hello_p2`'s, and most of them have to come about as fast as before.
#[derive(Debug)]
pub struct Neighbour {
    /// How long each has taken, or what was wrong with it.
    answers: Receiver<Result<Duration, String>>,
    pace: Pace,
    ended: Arc<AtomicBool>,
    client: Option<JoinHandle<()>>,
}

impl Neighbour {
    /// Begins to ask `host` for `path`; returns when it knows how fast answers come. Nothing that may
    /// disturb the neighbour may be under way yet.
    #[track_caller]
    pub fn at(host: &Host, path: &'static str) -> Self {
        let (send, answers) = channel();
        let ended = Arc::new(AtomicBool::new(false));
        let (target, until) = (host.addrs()[0].clone(), ended.clone());
        let client = thread::spawn(move || {
            while !until.load(Ordering::Acquire) {
                let began = Instant::now();
                let answer = ask(Conn::connect(&target), path).map(|()| began.elapsed());
                if send.send(answer).is_err() {
                    return;
                }
            }
        });
        let pace = Pace::among((0..BEFORE).map(|_| next(&answers)).collect());
        Self { answers, pace, ended, client: Some(client) }
    }

    /// Fails unless every answer since the last time was right, and one that was asked for from now
    /// on, and unless they came as fast as at the beginning, by their median.
    #[track_caller]
    pub fn expect_well(&self) {
        let mut times = Vec::new();
        while let Ok(answer) = self.answers.try_recv() {
            times.push(answer.expect("the neighbour has its answers"));
        }
        // The first may have been on its way before.
        for _ in 0..JUDGED.saturating_sub(times.len()).max(2) {
            times.push(next(&self.answers));
        }
        self.pace.expect_kept_by(times);
    }
}

/// How long the next answer took.
#[track_caller]
fn next(answers: &Receiver<Result<Duration, String>>) -> Duration {
    let answer = answers.recv_timeout(PATIENCE).expect("the neighbour has answers");
    answer.expect("the neighbour has its answers")
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
