//! A host under ptrace: its worker goes one instruction at a time, and its other threads stand still.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use nix::errno::Errno;
use nix::libc::{self, user_regs_struct as Registers};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::support::host::Host;

/// How long a host may be traced before it is killed, which ends any wait for one of its threads.
const PATIENCE: Duration = Duration::from_secs(240);

/// The name of the worker's thread.
const WORKER: &str = "worker";

/// A traced host. Dropping this kills it.
#[derive(Debug)]
pub(super) struct Tracer {
    host: Pid,
    worker: Pid,
    seized: Vec<Pid>,
    /// When it was stopped.
    pub(super) since: Instant,
    memory: File,
    /// Kills the host when it is not told in time that all is well.
    watchdog: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Tracer {
    /// Stops all threads of `host`, and takes its one worker, which has nothing to do or a little.
    ///
    /// # Errors
    /// When this process may not trace, with the reason.
    pub(super) fn seize(host: &Host) -> Result<Self, String> {
        let pid = Pid::from_raw(host.pid().cast_signed());
        let memory = File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/{pid}/mem"))
            .map_err(|why| format!("its memory cannot be read: {why}"))?;
        let (since, seized) = (Instant::now(), Vec::new());
        let mut tracer = Self { host: pid, worker: pid, seized, since, memory, watchdog: None };
        let tasks = tasks(pid);
        for (task, _) in &tasks {
            let task = *task;
            match ptrace::seize(task, Options::empty()) {
                Ok(()) => tracer.seized.push(task),
                Err(Errno::ESRCH) => {}
                Err(why) => return Err(format!("ptrace is not permitted: {why}")),
            }
        }
        tracer.watchdog = Some(tracer.watch());
        for task in tracer.seized.clone() {
            ptrace::interrupt(task).expect("it is traced");
            tracer.wait(task);
        }
        tracer.worker = tracer.find_worker(&tasks);
        Ok(tracer)
    }

    /// Workers and the threads for what blocks have one name. At rest the worker waits for events, the others
    /// for work.
    fn find_worker(&self, tasks: &[(Pid, String)]) -> Pid {
        let at_work = |task: Pid| {
            let registers = ptrace::getregs(task).expect("it is stopped");
            registers.orig_rax.cast_signed() != libc::SYS_futex
        };
        let workers = tasks.iter().filter(|(task, name)| name == WORKER && at_work(*task));
        let workers: Vec<_> = workers.map(|(task, _)| *task).collect();
        let [worker] = workers[..] else { panic!("one worker, not {workers:?} of {tasks:?}") };
        worker
    }

    fn watch(&self) -> (Sender<()>, JoinHandle<()>) {
        let (well, told) = mpsc::channel();
        let host = self.host;
        let watch = move || {
            if told.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("the traced host has not come back in {PATIENCE:?}, and is killed");
                kill(host, Signal::SIGKILL).ok();
            }
        };
        (well, thread::spawn(watch))
    }

    /// The registers of the worker.
    pub(super) fn registers(&self) -> Registers {
        ptrace::getregs(self.worker).expect("the worker is stopped")
    }

    /// Executes one instruction of the worker.
    pub(super) fn step(&self) -> Registers {
        let mut signal = None;
        loop {
            ptrace::step(self.worker, signal).expect("the worker is stopped");
            signal = self.wait(self.worker);
            if signal.is_none() {
                return self.registers();
            }
        }
    }

    /// Waits until `task` has stopped. Returns the signal that it is to be given, if that is why.
    fn wait(&self, task: Pid) -> Option<Signal> {
        loop {
            match waitpid(task, Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::Stopped(_, Signal::SIGTRAP) | WaitStatus::PtraceEvent(..)) => {
                    return None;
                }
                Ok(WaitStatus::Stopped(_, signal)) => return Some(signal),
                Err(Errno::EINTR) => {}
                other => panic!("the thread {task} of host {} is lost: {other:?}", self.host),
            }
        }
    }

    /// Fills `bytes` from the memory of the host, up to what is not mapped.
    pub(super) fn read(&self, address: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.memory.read_at(bytes, address)
    }

    /// Replaces what the host has at `address`.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) {
        self.memory.write_all_at(bytes, address).expect("it is mapped");
    }

    /// What is mapped where (`/proc/PID/maps`).
    pub(super) fn maps(&self) -> String {
        fs::read_to_string(format!("/proc/{}/maps", self.host)).expect("it runs")
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if let Some((well, watch)) = self.watchdog.take() {
            well.send(()).ok();
            watch.join().ok();
        }
        kill(self.host, Signal::SIGKILL).ok();
        // The end of a traced thread waits for who traces it, and that of the process for its threads. The
        // first thread is left to whoever started the host.
        for task in self.seized.iter().filter(|task| **task != self.host) {
            while waitpid(*task, Some(WaitPidFlag::__WALL)).is_ok_and(|status| {
                !matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..))
            }) {}
        }
    }
}

/// The threads of `process` with their names.
fn tasks(process: Pid) -> Vec<(Pid, String)> {
    let folder = format!("/proc/{process}/task");
    let tasks = fs::read_dir(&folder).expect("it runs").filter_map(|entry| {
        let path = entry.ok()?.path();
        let task = path.file_name()?.to_str()?.parse().ok()?;
        let name = fs::read_to_string(path.join("comm")).ok()?;
        Some((Pid::from_raw(task), name.trim_end().to_owned()))
    });
    tasks.collect()
}
