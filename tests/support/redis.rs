//! A Redis server of one test's own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use super::PATIENCE;
use super::app::{Folder, text};
use super::lines::Mark;
use super::process::Process;
use super::tools::has;

/// Debian's server on a Unix socket. Dropping it kills it.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    folder: Folder,
}

impl Redis {
    /// A new, empty server. Where the program is not installed, prints a sentence to stdout and returns None.
    pub fn start() -> Option<Self> {
        if !has("redis-server", "redis-server") {
            return None;
        }
        let folder = Folder::new();
        let process = spawn(&folder.join("redis.sock"), &folder.join(""));
        Some(Self { process, folder })
    }

    /// Kills it and starts another in its place, which is empty.
    pub fn restart(&mut self) {
        self.process = spawn(&self.folder.join("redis.sock"), &self.folder.join(""));
    }

    /// Its URL in a manifest.
    pub fn url(&self) -> String {
        format!("unix://{}", text(&self.folder.join("redis.sock")))
    }

    /// Runs `redis-cli ARGS...`, and returns its output.
    pub fn cli(&self, args: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(self.folder.join("redis.sock")).args(args);
        let output = command.output().expect("redis-cli comes with redis-server");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Kills it.
    pub fn kill(&self) {
        self.process.signal(rustix::process::Signal::KILL);
        self.process.wait(Instant::now() + PATIENCE).expect("who is killed ends");
    }
}

fn spawn(socket: &Path, folder: &Path) -> Process {
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]);
    command.arg(socket).arg("--dir").arg(folder);
    let process = Process::spawn(&mut command);
    let ready = "eady to accept connections";
    let line = process.stdout.wait_for(ready, Mark::START, 1, Instant::now() + PATIENCE);
    line.expect("redis-server starts");
    process
}

/// A small part of a Redis server: it responds for empty buckets, and may refuse clients. Needs no program. Its
/// threads end with the test.
#[derive(Debug)]
pub struct Fake {
    port: u16,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    refusal: Option<&'static str>,
    open: Vec<TcpStream>,
}

impl Fake {
    /// A server that refuses no client.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::<Mutex<Shared>>::default();
        let theirs = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut shared = theirs.lock().expect("nobody panics with it");
                shared.open.push(stream.try_clone().expect("a descriptor"));
                let refusal = shared.refusal;
                thread::spawn(move || talk(BufReader::new(stream), refusal));
            }
        });
        Self { port, shared }
    }

    /// Its URL in a manifest.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Closes all connections. From now on responds to new ones with this error, if there is one.
    pub fn refuse(&self, refusal: Option<&'static str>) {
        let mut shared = self.shared.lock().expect("nobody panics with it");
        shared.refusal = refusal;
        for stream in shared.open.drain(..) {
            // The client may have closed it first.
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

/// Serves a connection until it ends.
fn talk(mut stream: BufReader<TcpStream>, refusal: Option<&str>) {
    while let Some(name) = command(&mut stream) {
        let answer = match (&*name.to_ascii_uppercase(), refusal) {
            (_, Some(refusal)) => format!("-{refusal}\r\n"),
            ("HELLO", None) => "%1\r\n$5\r\nproto\r\n:3\r\n".to_owned(),
            ("PING", None) => "+PONG\r\n".to_owned(),
            ("HMGET", None) => "*2\r\n_\r\n_\r\n".to_owned(),
            _ => "+OK\r\n".to_owned(),
        };
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The name of the next command.
fn command(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut name = None;
    for _ in 0..number(stream, '*')? {
        let mut word = vec![0; number(stream, '$')? + 2];
        stream.read_exact(&mut word).ok()?;
        name = name.or_else(|| Some(String::from_utf8_lossy(&word).trim_end().to_owned()));
    }
    name
}

fn number(stream: &mut BufReader<TcpStream>, sign: char) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    line.trim_end().strip_prefix(sign)?.parse().ok()
}
