//! A child process. Its signals cannot hit another process, its end is awaited without polling, and no test
//! leaves it behind. When a test panics, the drop prints the child's stderr.

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open,
    pidfd_send_signal, waitid,
};
use tempfile::{Builder, TempDir};

use super::lines::Lines;

/// A child in a process group of its own.
///
/// Only the drop reaps it, after it has killed the whole group. Until then no other process can get its
/// number, so neither a signal nor the kill can hit another process.
pub struct Process {
    child: Child,
    pidfd: OwnedFd,
    /// Its stdout.
    pub stdout: Lines,
    /// Its stderr.
    pub stderr: Lines,
}

impl Process {
    /// Starts `command` with no stdin and both outputs collected.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> Self {
        Self::spawn_reading(command, Stdio::null())
    }

    /// The same with `stdin` as its stdin.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn_reading(command: &mut Command, stdin: Stdio) -> Self {
        let (reader, writer) = io::pipe().expect("a pipe can be made");
        Self::spawned(command.stdin(stdin).stderr(writer), reader)
    }

    /// The same with `stderr` as its stderr, which is read from `reader`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn_writing(
        command: &mut Command,
        stderr: OwnedFd,
        reader: impl Read + Send + 'static,
    ) -> Self {
        Self::spawned(command.stdin(Stdio::null()).stderr(stderr), reader)
    }

    fn spawned(command: &mut Command, stderr: impl Read + Send + 'static) -> Self {
        command.stdout(Stdio::piped()).process_group(0);
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {:?}: {e}", command.get_program()));
        // The command holds our end of the pipe, which would keep the pipe open.
        command.stderr(Stdio::null());
        let stdout = Lines::collect(child.stdout.take().expect("piped"));
        let stderr = Lines::collect(stderr);
        let pidfd = pidfd_open(pid(&child), PidfdFlags::empty()).expect("the child is ours");
        Self { child, pidfd, stdout, stderr }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal` to this process only. Does nothing if the process has ended; its exit code shows that.
    pub fn signal(&self, signal: Signal) {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(e) => panic!("cannot send {signal:?}: {e}"),
        }
    }

    /// Waits for its end. Returns its exit code, or minus the number of the signal that killed it. None when
    /// `until` passes first.
    pub fn wait(&self, until: Instant) -> Option<i32> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).expect("a wait is short");
            let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return None,
                Ok(_) => return Some(self.status().expect("its end can be read").expect("ended")),
                Err(Errno::INTR) => {}
                Err(e) => panic!("cannot wait for the child: {e}"),
            }
        }
    }

    /// Its exit code if it has ended, without reaping it.
    fn status(&self) -> io::Result<Option<i32>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), options)?;
        Ok(status.and_then(|s| s.exit_status().or_else(|| s.terminating_signal().map(|n| -n))))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not reaped yet, so the number is still its own. Both calls fail only when it is gone.
        kill_process_group(pid(&self.child), Signal::KILL).ok();
        self.child.wait().ok();
        if thread::panicking() {
            self.stderr.wait_closed(Instant::now() + Duration::from_secs(1));
            let log = self.stderr.text();
            eprintln!("---- stderr of process {} ----\n{log}----", self.child.id());
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process").field(&self.pid()).finish()
    }
}

/// A path in a folder of its own, which is removed on drop with all that lies in it. A host that a test
/// kills leaves the lock of its socket; once the number of a process had come again, a host of another user
/// met that lock and could not start.
#[derive(Debug)]
pub struct TempPath(pub PathBuf, TempDir);

impl TempPath {
    /// A new path that ends in `name`. Every user may make a file there, because some hosts run as another
    /// user.
    pub fn new(name: &str) -> Self {
        let folder = Builder::new().prefix("host-e2e-").tempdir().expect("a folder can be made");
        // Afterwards: what a folder is made with, the umask narrows.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("it is ours");
        Self(folder.path().join(name), folder)
    }
}

fn pid(child: &Child) -> Pid {
    let raw = i32::try_from(child.id()).expect("a process number is small");
    Pid::from_raw(raw).expect("a process number is not 0")
}
