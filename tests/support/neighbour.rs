//! A good neighbour of a hostile guest, and a client that asks for it all the while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use super::PATIENCE;
use super::host::Host;
use super::raw::Conn;

/// A client that asks for one path in a loop, each time on a connection of its own. Every answer has
/// to be `hello_p2`'s.
#[derive(Debug)]
pub struct Neighbour {
    answers: Receiver<Result<(), String>>,
    ended: Arc<AtomicBool>,
    client: Option<JoinHandle<()>>,
}

impl Neighbour {
    /// Begins to ask `host` for `path`; returns with the first answer.
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
        neighbour.wait_answer();
        neighbour
    }

    /// Fails unless every answer so far was right, and one that was asked for from now on.
    #[track_caller]
    pub fn expect_well(&self) {
        while let Ok(answer) = self.answers.try_recv() {
            answer.expect("the neighbour has its answers");
        }
        // The first may have been on its way before.
        self.wait_answer();
        self.wait_answer();
    }

    #[track_caller]
    fn wait_answer(&self) {
        let answer = self.answers.recv_timeout(PATIENCE).expect("the neighbour has answers");
        answer.expect("the neighbour has its answers");
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
