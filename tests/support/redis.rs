//! A Redis server of one test's own.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::PATIENCE;
use super::app::{Folder, text};
use super::lines::Mark;
use super::process::Process;

/// Debian's server on a Unix socket. Dropping it kills it.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    folder: Folder,
}

impl Redis {
    /// A new one, empty; nothing, and a sentence on stdout, where the program is not installed.
    pub fn start() -> Option<Self> {
        let installed = Command::new("redis-server").arg("--version").output().is_ok();
        if !installed {
            println!("skipped: there is no redis-server here (Debian: apt install redis-server)");
            return None;
        }
        let folder = Folder::new();
        let process = spawn(&folder.join("redis.sock"), &folder.join(""));
        Some(Self { process, folder })
    }

    /// Kills it and starts another in its place, with what it had written down: nothing.
    pub fn restart(&mut self) {
        self.process = spawn(&self.folder.join("redis.sock"), &self.folder.join(""));
    }

    /// What a manifest calls it.
    pub fn url(&self) -> String {
        format!("unix://{}", text(&self.folder.join("redis.sock")))
    }

    /// Runs `redis-cli ARGS...`, and gives what it says.
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
