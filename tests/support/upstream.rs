//! A server for outgoing requests of guests.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::PATIENCE;

/// A server on a loopback address. It responds to every request with `GET /path` and the request's `Host`,
/// one exchange per connection. On `/keep` it responds and waits for the next request on the same connection;
/// on `/endless` the body has no end. On `/redirect?TO` it responds 302 with `TO` as the location; on `/hold`
/// it responds when it is [released](Upstream::release); a path with [text of its own](Upstream::put) has that as its
/// body. Dropping it ends it.
#[derive(Debug)]
pub struct Upstream {
    shared: Arc<Shared>,
    addr: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    ended: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Heads of requests, in the order of their arrival.
    heads: Vec<String>,
    /// The number of connections so far.
    connections: usize,
    released: bool,
    texts: BTreeMap<String, String>,
    open: BTreeMap<usize, TcpStream>,
}

impl Upstream {
    /// A server on 127.0.0.1 and a port of its own.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has room");
        let addr = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let accepting = thread::spawn(move || theirs.accept(&listener));
        Self { shared, addr, accepting: Some(accepting) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The number of requests so far.
    pub fn requests(&self) -> usize {
        self.shared.state().heads.len()
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// The heads of the requests so far, in their order.
    pub fn heads(&self) -> Vec<String> {
        self.shared.state().heads.clone()
    }

    /// Waits until `n` requests have come.
    #[track_caller]
    pub fn wait_requests(&self, n: usize) {
        let until = Instant::now() + PATIENCE;
        let mut state = self.shared.state();
        while state.heads.len() < n {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} of {n} requests came", state.heads.len());
            (state, _) = self.shared.changed.wait_timeout(state, left).expect("as in `state`");
        }
    }

    /// Responds with this text to requests for this path, from now on.
    pub fn put(&self, path: &str, text: &str) {
        self.shared.state().texts.insert(path.to_owned(), text.to_owned());
    }

    /// Lets `/hold` respond, from now on.
    pub fn release(&self) {
        self.shared.state().released = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept() else { continue };
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            let theirs = stream.try_clone().expect("a socket can be cloned");
            let mut state = self.state();
            state.connections += 1;
            state.open.insert(number, theirs);
            drop(state);
            let shared = self.clone();
            thread::spawn(move || {
                while shared.serve(&stream).is_some() {}
                shared.state().open.remove(&number);
            });
        }
    }

    /// Serves one exchange. None if no other may follow on the connection.
    fn serve(&self, mut stream: &TcpStream) -> Option<()> {
        let head = read_head(stream)?;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut state = self.state();
        state.heads.push(head.clone());
        self.changed.notify_all();
        while path == "/hold" && !state.released && !self.ended.load(Ordering::Acquire) {
            state = self.changed.wait(state).expect("as in `state`");
        }
        let text = state.texts.get(&path).cloned();
        drop(state);
        if path == "/endless" {
            return endless(stream);
        }
        let first = head.split(" HTTP/").next().unwrap_or_default();
        let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        let body = text.unwrap_or_else(|| format!("{first} at {host}\n"));
        let length = body.len();
        let status = match path.split_once("/redirect?") {
            Some((_, to)) => format!("302 Found\r\nlocation: {to}"),
            None => "200 OK".to_owned(),
        };
        let keep = path == "/keep";
        let after = if keep { "keep-alive" } else { "close" };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: {after}\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).ok()?;
        if keep {
            return Some(());
        }
        stream.shutdown(Shutdown::Write).ok()?;
        None
    }
}

/// Sends a body until the peer stops reading.
fn endless(mut stream: &TcpStream) -> Option<()> {
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    while stream.write_all(chunk.as_bytes()).is_ok() {}
    None
}

/// The whole head of a request. None if the peer sends no head.
fn read_head(mut stream: &TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    String::from_utf8(head).ok()
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.release();
        for stream in self.shared.state().open.values() {
            stream.shutdown(Shutdown::Both).ok();
        }
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.addr));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().ok();
        }
    }
}
