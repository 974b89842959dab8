//! Threads, made at the start as far as that can be: a limit on them (the pids limit of a container,
//! TasksMax, RLIMIT_NPROC) is met there, with a reason, and not by a request or by a stop.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, io, panic};

use rustix::io::Errno;
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

/// A thread that has ended is still counted for a moment: looked at this often, for so long. Mostly one of the
/// first looks finds it gone, so there is no sleep between those.
const GONE_POLL: Duration = Duration::from_micros(200);
const GONE_POLLS: u32 = 5_000;
const GONE_AT_ONCE: u32 = 10;

/// If no more threads begin for so long, they are counted: tokio does not say that there are no more.
const QUIET: Duration = Duration::from_millis(20);

/// The name of the threads of a runtime, and of the one that makes them.
const WORKER: &str = "worker";
const MAKER: &str = "runtime";

/// The stack of a thread, as Rust makes it; it counts whether it is used or not.
const STACK: u64 = 2 << 20;

/// What else the process takes by then.
const BESIDE_STACKS: u64 = 8 << 20;

/// Why there is no runtime.
#[derive(Debug, Error)]
pub(crate) enum RuntimeError {
    /// The system gave fewer threads than it takes.
    #[error(
        "it takes {wanted} more threads, and after {made} of them the system gave none ({why}): raise the \
         limit on threads (systemd: TasksMax=; a container: its pids limit; else `ulimit -u` of the user)"
    )]
    TooFewThreads {
        /// How many it takes.
        wanted: usize,
        /// How many there were.
        made: usize,
        /// What the system said.
        why: io::Error,
    },
    /// Their stacks do not fit into what the process may have. Nothing is tried: what asks for memory where
    /// there is none left ends the process.
    #[error(
        "it takes {wanted} more threads, and their stacks {takes} bytes; the process may have {limit}: raise that \
         limit (`ulimit -d` and `ulimit -v`; systemd: LimitDATA= and LimitAS=)"
    )]
    TooLittleMemory {
        /// How many it takes.
        wanted: usize,
        /// What those take.
        takes: u64,
        /// What there is.
        limit: u64,
    },
    /// Something else is missing: descriptors.
    #[error(transparent)]
    Unmade(#[from] io::Error),
}

/// Whether a process that may have `limit` bytes has room for so many threads.
fn fit(wanted: usize, limit: Option<u64>) -> Result<(), RuntimeError> {
    let takes = (wanted as u64).saturating_mul(STACK).saturating_add(BESIDE_STACKS);
    match limit {
        Some(limit) if limit < takes => Err(RuntimeError::TooLittleMemory { wanted, takes, limit }),
        _ => Ok(()),
    }
}

/// What this process may have of memory, whatever the machine has.
fn memory_limit() -> Option<u64> {
    [Resource::Data, Resource::As].into_iter().filter_map(|of| getrlimit(of).current).min()
}

/// The threads that serve, and those for what blocks, once all threads of the process are known to be there:
/// `workers` and [`BLOCKING`], and `others` that are made later. Those are made as a trial, beside the ones of the
/// runtime, and kept until all are there at once.
///
/// # Errors
/// [`RuntimeError`]. Threads may be left then.
pub(crate) fn runtime(workers: usize, others: usize) -> Result<Runtime, RuntimeError> {
    let wanted = workers + BLOCKING + others;
    fit(wanted, memory_limit())?;
    let before = alive();
    let too_few = |why| {
        let made = alive().saturating_sub(before).min(wanted - 1);
        RuntimeError::TooFewThreads { wanted, made, why }
    };
    // Tokio panics when it finds no thread for a worker, and then waits for those that it has, for
    // ever: on a thread of its own that costs nothing but the thread.
    let (send, built) = mpsc::channel();
    on_panic_of_the_maker(send.clone());
    let mut trial = Trial::default();
    let build = move || drop(send.send(Some(build(workers))));
    trial.make(MAKER, build).map_err(too_few)?;
    let tried = (1..others).try_for_each(|_| trial.make("trial", || {}));
    let built = built.recv_timeout(PATIENCE).ok().flatten();
    let (runtime, blocked) = built.ok_or_else(|| too_few(Errno::AGAIN.into()))??;
    let there = || blocked.are_there(workers).then_some(()).ok_or_else(|| Errno::AGAIN.into());
    if let Err(why) = tried.and_then(|()| there()) {
        let why = too_few(why);
        runtime.shutdown_background();
        return Err(why);
    }
    drop(blocked);
    trial.end();
    Ok(runtime)
}

/// Sends nothing when the thread that makes a runtime panics, and has nothing said of it: it is an error that is
/// reported.
fn on_panic_of_the_maker<T: Send + 'static>(send: Sender<Option<T>>) {
    let said = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if thread::current().name() == Some(MAKER) {
            send.send(None).ok();
        } else {
            said(panic);
        }
    }));
}

/// Threads that do nothing any more. That they were made shows that there are as many. Dropping it ends them, and
/// does not wait until they are gone.
#[derive(Default)]
struct Trial(Vec<(Sender<()>, JoinHandle<()>)>);

impl Trial {
    /// Makes one more, which first does `work`.
    fn make(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let (end, ended) = mpsc::channel();
        let work = move || {
            work();
            ended.recv().unwrap_or_default();
        };
        let thread = thread::Builder::new().name(name.into()).spawn(work)?;
        self.0.push((end, thread));
        Ok(())
    }

    /// Ends them, and waits until the system does not count them any more.
    fn end(self) {
        let left = alive().saturating_sub(self.0.len());
        let (ends, threads): (Vec<_>, Vec<_>) = self.0.into_iter().unzip();
        drop(ends);
        for thread in threads {
            thread.join().ok();
        }
        wait_until_gone(left);
    }
}

/// A runtime, and its threads for what blocks, as far as they could be had.
fn build(workers: usize) -> io::Result<(Runtime, Blocked)> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_keep_alive(Duration::MAX)
        .thread_name(WORKER)
        .enable_all()
        .build()?;
    let blocked = Blocked::on(&runtime);
    Ok((runtime, blocked))
}

/// Work that keeps all threads for what blocks, so that each is made. Dropping it ends the work.
struct Blocked {
    begun: Receiver<()>,
    _ends: Vec<Sender<()>>,
}

impl Blocked {
    fn on(runtime: &Runtime) -> Self {
        let (begin, begun) = mpsc::channel();
        let block = |_| {
            let (begin, (end, ended)) = (begin.clone(), mpsc::channel());
            drop(runtime.spawn_blocking(move || {
                begin.send(()).ok();
                ended.recv().unwrap_or_default();
            }));
            end
        };
        Self { _ends: (0..BLOCKING).map(block).collect(), begun }
    }

    /// Whether all threads are there. Waits until they have begun, or are known to be missing.
    fn are_there(&self, workers: usize) -> bool {
        let (mut there, mut waited) = (0, Duration::ZERO);
        while there < BLOCKING {
            if self.begun.recv_timeout(QUIET).is_ok() {
                there += 1;
            } else if waited > PATIENCE || in_the_making() <= workers + there {
                return false;
            } else {
                waited += QUIET;
            }
        }
        true
    }
}

/// Threads of runtimes, those that have not begun too: until then they have the name of their maker.
fn in_the_making() -> usize {
    let named = names().filter(|name| [WORKER, MAKER].contains(&name.as_str())).count();
    // The maker itself.
    named.saturating_sub(1)
}

/// The names of the threads of this process, as far as the system tells.
fn names() -> impl Iterator<Item = String> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    let name = |path: PathBuf| Some(fs::read_to_string(path.join("comm")).ok()?.trim().to_owned());
    tasks.filter_map(move |task| name(task.ok()?.path()))
}

/// Threads of this process, as far as the system tells.
fn alive() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// A thread counts against the limits until the kernel has let go of it, which is after it was joined.
fn wait_until_gone(left: usize) {
    for poll in 0..GONE_POLLS {
        if alive() <= left {
            return;
        }
        if poll < GONE_AT_ONCE { thread::yield_now() } else { thread::sleep(GONE_POLL) }
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
    fn runtime_has_its_threads_and_none_of_the_trial_is_kept() {
        let runtime = runtime(1, 8).unwrap();
        let count = |wanted: &str| names().filter(|name| name == wanted).count();
        // Other tests of this process may have some too.
        assert!(count(WORKER) > BLOCKING, "{}", count(WORKER));
        // The end of other threads may have been taken for theirs, so the last may take a moment.
        let gone = |_| count("trial") == 0 || (thread::sleep(GONE_POLL), false).1;
        assert!((0..GONE_POLLS).any(gone));
        runtime.shutdown_background();
    }

    /// Tokio says nothing of it.
    #[test]
    fn threads_that_are_missing_are_noticed() {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name(WORKER).max_blocking_threads(3);
        let runtime = builder.build().unwrap();
        let blocked = Blocked::on(&runtime);
        assert!(!blocked.are_there(1));
        drop(blocked);
        runtime.shutdown_background();
    }
}
