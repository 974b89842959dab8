//! A program at a terminal of its own: what it draws, the keys that it gets, and how it leaves the terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::tcsetwinsize;

use super::PATIENCE;

/// A program, and the other end of its terminal. Dropping it kills the program.
pub struct Pty {
    child: Child,
    keys: File,
    /// Kept open, so that what was drawn can be read after the program's end.
    terminal: OwnedFd,
    before: Termios,
    drawn: Arc<(Mutex<Vec<u8>>, Condvar)>,
}

impl Pty {
    /// Starts `command` at a terminal of so many columns and rows, which is its controlling one.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(command: &Command, (columns, rows): (u16, u16)) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("a terminal can be made");
        for end in [&pty.master, &pty.slave] {
            fcntl_setfd(end, FdFlags::CLOEXEC).expect("it is open");
        }
        let before = tcgetattr(&pty.slave).expect("it is a terminal");
        let end = || pty.slave.try_clone().expect("there are descriptors");
        let mut leader = Command::new("setsid");
        leader.arg("--ctty").arg(command.get_program()).args(command.get_args());
        leader.env("TERM", "xterm-256color");
        // What the command has of its own.
        leader.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        leader.stdin(end()).stdout(end()).stderr(end());
        let child = leader.spawn().expect("setsid is of util-linux");
        let keys = File::from(pty.master);
        let drawn = Arc::<(Mutex<Vec<u8>>, Condvar)>::default();
        let (mut reader, seen) = (keys.try_clone().expect("there are descriptors"), drawn.clone());
        thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(count) = reader.read(&mut some) {
                if count == 0 {
                    return;
                }
                seen.0.lock().unwrap().extend(&some[..count]);
                seen.1.notify_all();
            }
        });
        Self { child, keys, terminal: pty.slave, before, drawn }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it is open");
    }

    /// Makes the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size =
            rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.keys, size).expect("it is a terminal");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("it is small")).expect("not 0");
        kill_process(pid, signal).expect("it is not reaped");
    }

    /// How many bytes it has drawn.
    pub fn mark(&self) -> usize {
        self.drawn.0.lock().unwrap().len()
    }

    /// Waits until it has drawn `text` behind `mark`, and returns all that it has drawn there.
    #[track_caller]
    pub fn wait_drawn(&self, text: &str, mark: usize) -> String {
        let until = Instant::now() + PATIENCE;
        let mut drawn = self.drawn.0.lock().unwrap();
        loop {
            let all = String::from_utf8_lossy(&drawn[mark..]).into_owned();
            if all.contains(text) {
                return all;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {text:?} in {all:?}");
            drawn = self.drawn.1.wait_timeout(drawn, left).unwrap().0;
        }
    }

    /// Waits for its end: its exit code. The terminal must be as it was before.
    #[track_caller]
    pub fn wait_exit(&mut self) -> i32 {
        let status = self.child.wait().expect("it is ours");
        let now = tcgetattr(&self.terminal).expect("it is a terminal");
        assert_eq!(now, self.before, "the terminal is not as it was");
        status.code().unwrap_or(-1)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
