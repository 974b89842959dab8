//! Threads, made at the start as far as that can be: a limit on them (the pids limit of a container,
//! TasksMax, RLIMIT_NPROC) is met there, with a reason, and not by a request or by a stop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, io};

use rustix::process::{Resource, getrlimit};
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};

/// Threads for what blocks (files and names of guests, reads of a reload) that are there from the start
/// and stay. Tokio makes more when they are all at work; where it cannot, the work waits for one of
/// these. Without any it panics. Each keeps some tens of KiB.
pub(crate) const BLOCKING: usize = 16;

/// Threads that come and go: what makes the workers, a compile, what asks the kernel of handshakes at a
/// stop. A start wants to find them too, not to fail on the way for want of one.
pub(crate) const SPARE: usize = 4;

/// Making a thread takes microseconds, on a machine that is busy milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A thread that has ended is still counted for a moment: looked at this often, for so long.
const GONE_POLL: Duration = Duration::from_micros(200);
const GONE_POLLS: u32 = 5_000;

/// The stack of a thread, as Rust makes it; it counts whether it is used or not.
const STACK: u64 = 2 << 20;

/// What else the process takes by then.
const BESIDE_STACKS: u64 = 8 << 20;

/// There are fewer threads to be had than it takes.
#[derive(Debug, Error)]
pub(crate) enum TooFew {
    /// The system gave no more.
    #[error(
        "it takes {wanted} more threads, and after {made} of them the system gave none ({why}): raise the \
         limit on threads (systemd: TasksMax=; a container: its pids limit; else `ulimit -u` of the user)"
    )]
    Given {
        /// How many it takes.
        wanted: usize,
        /// How many there were.
        made: usize,
        /// What the system said.
        why: String,
    },
    /// Their stacks do not fit into what the process may have. Nothing is tried: what asks for memory where
    /// there is none left ends the process.
    #[error(
        "it takes {wanted} more threads, and their stacks {takes} bytes; the process may have {limit}: raise that \
         limit (`ulimit -d` and `ulimit -v`; systemd: LimitDATA= and LimitAS=)"
    )]
    Memory {
        /// How many it takes.
        wanted: usize,
        /// What those take.
        takes: u64,
        /// What there is.
        limit: u64,
    },
}

/// Whether a process that may have `limit` bytes has room for so many threads.
fn fit(wanted: usize, limit: Option<u64>) -> Result<(), TooFew> {
    let takes = (wanted as u64).saturating_mul(STACK).saturating_add(BESIDE_STACKS);
    match limit {
        Some(limit) if limit < takes => Err(TooFew::Memory { wanted, takes, limit }),
        _ => Ok(()),
    }
}

/// What this process may have of memory, whatever the machine has.
fn memory_limit() -> Option<u64> {
    [Resource::Data, Resource::As].into_iter().filter_map(|of| getrlimit(of).current).min()
}

/// Whether there are `wanted` threads to be had: makes as many, and ends them. What libraries make they
/// make with a panic if there are none, so this comes first.
///
/// # Errors
/// [`TooFew`].
pub(crate) fn check(wanted: usize) -> Result<(), TooFew> {
    fit(wanted, memory_limit())?;
    let before = alive();
    // All of them may pass at once: of a mutex one would wait for the other.
    let gate = Arc::new(RwLock::new(()));
    let closed = gate.write().unwrap_or_else(PoisonError::into_inner);
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    let mut refused = None;
    for made in 0..wanted {
        let gate = gate.clone();
        match thread::Builder::new().name("check".into()).spawn(move || drop(gate.read())) {
            Ok(thread) => threads.push(thread),
            Err(why) => {
                refused = Some(TooFew::Given { wanted, made, why: why.to_string() });
                break;
            }
        }
    }
    drop(closed);
    for thread in threads {
        thread.join().ok();
    }
    wait_until_gone(before);
    refused.map_or(Ok(()), Err)
}

/// The threads that serve, and those for what blocks. `workers` is their number.
///
/// # Errors
/// When there are too few threads or descriptors to be had.
pub(crate) fn runtime(workers: usize) -> io::Result<Runtime> {
    // Tokio panics when it finds no thread for a worker, and then waits for those that it has, for
    // ever: on a thread of its own that costs nothing but the thread.
    let (send, built) = mpsc::channel();
    thread::Builder::new().name("runtime".into()).spawn(move || send.send(build(workers)).ok())?;
    built.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(none()))
}

fn build(workers: usize) -> io::Result<Runtime> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_keep_alive(Duration::MAX)
        .thread_name("worker")
        .enable_all()
        .build()?;
    if !make_ready(&runtime) {
        runtime.shutdown_background();
        return Err(none());
    }
    Ok(runtime)
}

/// Has all threads for what blocks made, by keeping each at work until the last is there.
fn make_ready(runtime: &Runtime) -> bool {
    let gate = Arc::new(Mutex::new(()));
    let closed = lock(&gate);
    let (send, ready) = mpsc::channel();
    for _ in 0..BLOCKING {
        let (gate, send) = (gate.clone(), send.clone());
        drop(runtime.spawn_blocking(move || {
            send.send(()).ok();
            drop(lock(&gate));
        }));
    }
    let all = (0..BLOCKING).all(|_| ready.recv_timeout(PATIENCE).is_ok());
    drop(closed);
    all
}

fn none() -> io::Error {
    io::Error::other("the system gave too few threads for the workers")
}

fn lock(gate: &Mutex<()>) -> MutexGuard<'_, ()> {
    gate.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Threads of this process, as far as the system tells.
fn alive() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// A thread counts against the limits until the kernel has let go of it, which is after it was joined.
fn wait_until_gone(before: usize) {
    for _ in 0..GONE_POLLS {
        if alive() <= before {
            return;
        }
        thread::sleep(GONE_POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A limit on memory was blamed on a limit on threads, or the process aborted.
    #[test]
    fn stacks_that_do_not_fit_are_told_before_they_are_made() {
        assert!(fit(26, None).is_ok() && fit(26, Some(60 << 20)).is_ok());
        let why = fit(26, Some(59 << 20)).unwrap_err().to_string();
        assert!(why.contains("26 more threads") && why.contains("`ulimit -d`"), "{why}");
    }

    #[test]
    fn threads_that_can_be_had_are_not_kept() {
        check(64).unwrap();
    }

    #[test]
    fn what_blocks_finds_its_threads_there() {
        let runtime = runtime(1).unwrap();
        let names = || {
            fs::read_dir("/proc/self/task")
                .unwrap()
                .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
        };
        let workers = names().filter(|name| name.trim() == "worker").count();
        // Other tests of this process may have some too.
        assert!(workers > BLOCKING, "{workers}");
        runtime.shutdown_background();
    }
}
