//! Upgrades: the processes that follow each other, and points at which one of two stands still.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::PATIENCE;
use super::host::Host;
use super::process::TempPath;
use super::serve::Serve;

/// A process that is no child of ours: one that took over from a host. It is in the group of that host, which dies with
/// the test's handle of it.
#[derive(Debug)]
pub struct Successor {
    pid: u32,
    pidfd: OwnedFd,
}

impl Successor {
    /// The process with this number.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn new(pid: u32) -> Self {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("the number of a process");
        let pidfd = pidfd_open(raw, PidfdFlags::empty()).expect("it lives");
        Self { pid, pidfd }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.pidfd, signal).ok();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    #[track_caller]
    pub fn wait_end(&self) {
        assert!(self.ends_within(PATIENCE), "process {} does not end", self.pid);
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.ends_within(Duration::ZERO)
    }

    fn ends_within(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).expect("a wait is short");
            let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return false,
                Ok(_) => return true,
                Err(_) => {}
            }
        }
    }
}

/// Upgrades `host`, or the process that has taken over from it, and gives the process that serves now.
///
/// # Panics
/// When the upgrade is refused.
#[track_caller]
pub fn upgrade(host: &Host) -> Successor {
    let exit = host.ctl(["upgrade"]);
    exit.expect_code(0);
    Successor::new(upgraded_pid(&exit.stdout))
}

/// The process that `host ctl upgrade` names.
///
/// # Panics
/// When it names none.
#[track_caller]
pub fn upgraded_pid(line: &str) -> u32 {
    let rest = line.strip_prefix("upgraded: process ").and_then(|rest| rest.split(',').next());
    rest.and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("no process in {line:?}"))
}

/// A host that serves this guest, and whoever of the two comes to `point` in its upgrade stands still there.
pub fn standing_still_at(guest: &str, point: &str) -> (Host, StandsStill) {
    stand_still(Host::serve(guest), point)
}

/// The same of a host that is started in this way.
#[track_caller]
pub fn stand_still(serve: Serve, point: &str) -> (Host, StandsStill) {
    let told = StandsStill::new();
    let serve = serve.control().env("HOST_UPGRADE_STOP_AT", point);
    (serve.env("HOST_UPGRADE_STOP_TOLD", told.path()).start(), told)
}

/// What the kernel says of a process under this name (`/proc/PID/status`, proc(5)).
///
/// # Panics
/// When there is no such process.
#[track_caller]
pub fn status_of(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
}

/// Waits until no process has this number.
///
/// # Panics
/// When one has for longer than [`PATIENCE`].
#[track_caller]
pub fn wait_gone(pid: u32) {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("the number of a process");
    if let Ok(pidfd) = pidfd_open(raw, PidfdFlags::empty()) {
        Successor { pid, pidfd }.wait_end();
    }
}

/// Where a process tells that it stands still.
#[derive(Debug)]
pub struct StandsStill {
    pipe: TempPath,
}

impl StandsStill {
    /// A pipe for it.
    #[track_caller]
    pub fn new() -> Self {
        let pipe = TempPath::new("told");
        mknodat(CWD, &pipe.0, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        Self { pipe }
    }

    /// The path of the pipe.
    pub fn path(&self) -> &Path {
        &self.pipe.0
    }

    /// Waits until a process stands still, and gives its number.
    ///
    /// # Panics
    /// When none does within [`PATIENCE`].
    #[track_caller]
    pub fn wait(&self) -> u32 {
        let path = self.pipe.0.clone();
        let (told, number) = std::sync::mpsc::channel();
        // Opening the pipe waits for the other end.
        thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(File::open(path).expect("a pipe")).read_line(&mut line);
            told.send(read.map(|_| line)).ok();
        });
        let line = number.recv_timeout(PATIENCE).expect("a process stands still").expect("a line");
        let pid =
            line.trim().parse().unwrap_or_else(|_| panic!("no number of a process: {line:?}"));
        wait_stopped(pid);
        pid
    }
}

/// Waits until the process stands still, which it has announced: a signal that comes before would be lost. It is no child
/// of ours, so nothing but its state tells.
fn wait_stopped(pid: u32) {
    let until = Instant::now() + PATIENCE;
    let is_stopped = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
    };
    while !is_stopped() {
        assert!(Instant::now() < until, "process {pid} does not stand still");
        thread::yield_now();
    }
}
