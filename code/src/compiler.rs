//! Has components compiled by children of this process, within bounds.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Once};
use std::thread;
use std::time::Duration;

use host_clock::Moment;
use rustix::param::clock_ticks_per_second;
use rustix::process::Signal;
use thiserror::Error;
use tokio::io::{self, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::child::ChildFailure;
use crate::{Artefact, ArtefactKey, ChildOrders, ChildTask, Damaged, Yields};

/// How urgent a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Nobody is served before it is done.
    Start,
    /// Others are being served meanwhile.
    BesideTraffic,
}

/// What compiling one component may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileBounds {
    /// Memory of the child, in bytes.
    pub memory: u64,
    /// From when it is asked for until it is there.
    pub time: Duration,
    /// What it gives, in bytes: the process that waits for it has to hold that.
    pub output: u64,
}

/// This program, also when the file that it was started from has been replaced or removed: the kernel
/// follows the link to what runs, not to what stands at that path now.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The allocator of the child takes memory in small steps, because what it sets aside counts too:
/// 16 MiB (in KiB) instead of a gibibyte.
const SMALL_STEPS: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "16384");

/// At least this many are compiled at once, so that one that is slow does not hold up others.
const SEATS: usize = 2;

/// What a child has to say for itself is no longer.
const LONGEST_WORDS: u64 = 16 << 10;

/// Why a component was not compiled, in words that follow its name. Says what to do where there is
/// something to be done.
#[derive(Debug, Error)]
pub enum CompileError {
    /// Others are being compiled, and went on for too long.
    #[error("was not compiled: others still are, after {0:?}; ask again later")]
    Busy(Duration),
    /// It was killed at its deadline.
    #[error("did not compile within {0:?}; raise --compile-timeout")]
    TooSlow(Duration),
    /// It was killed at its deadline, and had hardly run by then.
    #[error(
        "did not compile within {time:?}; raise --compile-timeout, or ask again when the machine has less to \
         do: it had {cpu:?} of a core"
    )]
    Starved {
        /// When it was killed.
        time: Duration,
        /// The CPU time that it had.
        cpu: Duration,
    },
    /// Its text was not made a component in time, which no flag raises.
    #[error("was not parsed within {0:?}; make a .wasm file of it with `wasm-tools parse`")]
    LongText(Duration),
    /// It used all its CPU time.
    #[error("was not compiled: that took more than {0:?} of CPU time (--compile-timeout)")]
    Cpu(Duration),
    /// It wanted more memory than it may have.
    #[error("was not compiled: compiling took more than {} (--compile-memory)", size(*.0))]
    Memory(u64),
    /// What the compiler says.
    #[error("does not compile: {0}")]
    Refused(String),
    /// More came of it than this process is to hold.
    #[error("was not compiled: what comes of it is more than {}", size(*.0))]
    TooLarge(u64),
    /// The child could not even try.
    #[error("was not compiled: the compiler cannot work here: {0}")]
    Unable(String),
    /// Somebody killed the child: the kernel, when memory ran out, or an operator.
    #[error(
        "was not compiled: the compiler was killed, by the kernel for want of memory or by \
         somebody; try again, or with less --compile-memory"
    )]
    Killed,
    /// A bug of the compiler.
    #[error("was not compiled: the compiler failed ({how}){}", said(.words))]
    Failed {
        /// How it ended.
        how: String,
        /// The last that it wrote.
        words: String,
    },
    /// There was no process to be had.
    #[error("was not compiled: the compiler cannot be started: {0}{hint}", hint = without_proc(.0))]
    NoProcess(io::Error),
    /// It gave something else than it should.
    #[error("was not compiled: what the compiler gave is not whole: {0}")]
    Garbled(Damaged),
}

impl CompileError {
    fn of_text(self) -> Self {
        match self {
            Self::TooSlow(time) if time == TEXT_TIME => Self::LongText(time),
            why => why,
        }
    }

    /// It is not for what the component is: the same may be taken a moment later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Busy(_) | Self::Killed | Self::NoProcess(_) | Self::Garbled(_) => true,
            Self::Unable(_) | Self::Starved { .. } => true,
            Self::TooSlow(_)
            | Self::LongText(_)
            | Self::Cpu(_)
            | Self::Memory(_)
            | Self::Refused(_) => false,
            Self::Failed { .. } | Self::TooLarge(_) => false,
        }
    }
}

/// It is started from a file of /proc.
fn without_proc(why: &io::Error) -> &'static str {
    let missing = why.kind() == io::ErrorKind::NotFound;
    if missing { "; it is started from /proc/self/exe: is /proc mounted?" } else { "" }
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

/// A size as people write it on a command line.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let exact = units.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    exact.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// To make a component of its text takes a fraction of a second, and at the lowest priority on a machine that
/// is busy some seconds. Other changes wait for it meanwhile, unlike for a compile.
const TEXT_TIME: Duration = Duration::from_secs(30);

/// Has components compiled. Cheap to clone: all clones share the seats.
#[derive(Clone, Debug)]
pub struct Compiler {
    seats: Arc<Semaphore>,
    /// Texts are made into components one at a time, beside what is compiled.
    texts: Arc<Semaphore>,
    cores: NonZeroUsize,
    bounds: CompileBounds,
}

/// A child compiles on no more threads than this, because each takes of the memory that it may have: a
/// component of 11 MB compiles within a gibibyte on 8 threads, and on 32 it does not.
const MOST_THREADS: usize = 8;

fn threads(cores: NonZeroUsize, pace: Urgency) -> usize {
    let threads = match pace {
        Urgency::Start => cores.get(),
        Urgency::BesideTraffic => cores.get().div_ceil(2),
    };
    threads.min(MOST_THREADS)
}

fn seats(cores: NonZeroUsize) -> usize {
    cores.get().div_ceil(2).max(SEATS)
}

/// What a child has left behind.
struct Left {
    status: ExitStatus,
    output: Vec<u8>,
    words: String,
}

impl Compiler {
    /// One that keeps to these bounds for each component, and has at most half as many children at once
    /// as there are cores, or two.
    #[must_use]
    pub fn new(bounds: CompileBounds) -> Self {
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let seats = Arc::new(Semaphore::new(seats(cores)));
        Self { seats, texts: Arc::new(Semaphore::new(1)), cores, bounds }
    }

    /// How many are compiled at once, at most.
    #[must_use]
    pub fn at_once(&self) -> usize {
        seats(self.cores)
    }

    /// Compiles the component with this key. Bounded in time; dropping the future kills the child.
    ///
    /// # Errors
    /// See [`CompileError`].
    pub async fn compile(
        &self,
        component: &[u8],
        key: &ArtefactKey,
        concurrency: bool,
        pace: Urgency,
    ) -> Result<Artefact, CompileError> {
        let CompileBounds { memory, time, output } = self.bounds;
        let deadline = Moment::now() + time;
        let seat = host_clock::timeout(deadline.left(), self.seats.acquire()).await;
        let _seat = seat.map_err(|_| CompileError::Busy(time))?;
        let threads = threads(self.cores, pace);
        let cpu = time.saturating_mul(u32::try_from(threads).unwrap_or(u32::MAX));
        let orders = ChildOrders {
            task: ChildTask::Code,
            memory,
            cpu,
            threads,
            yields: if pace == Urgency::BesideTraffic { Yields::All } else { Yields::Nothing },
            concurrency,
            parent: std::process::id(),
        };
        let left = self.run(&orders, component, deadline).await?;
        let output = judge(left, &orders, output)?;
        Artefact::check(key, output).map_err(CompileError::Garbled)
    }

    /// Makes a component of its text. Bounded in time; dropping the future kills the child.
    ///
    /// # Errors
    /// See [`CompileError`].
    pub async fn component(&self, text: &[u8]) -> Result<Vec<u8>, CompileError> {
        let bounds = CompileBounds { time: self.bounds.time.min(TEXT_TIME), ..self.bounds };
        let CompileBounds { memory, time, output } = bounds;
        let deadline = Moment::now() + time;
        let seat = host_clock::timeout(deadline.left(), self.texts.acquire()).await;
        let _seat = seat.map_err(|_| CompileError::Busy(time))?;
        let orders = ChildOrders {
            task: ChildTask::Binary,
            memory,
            // It is by the clock that it is too slow.
            cpu: self.bounds.time.saturating_mul(2),
            threads: 1,
            yields: Yields::Most,
            concurrency: false,
            parent: std::process::id(),
        };
        let left = Self { bounds, ..self.clone() }.run(&orders, text, deadline).await;
        judge(left.map_err(|why| why.of_text())?, &orders, output)
    }

    /// Has a child do it. Nobody is judged for time in which this process did not run: its children mostly
    /// did not either.
    async fn run(
        &self,
        orders: &ChildOrders,
        input: &[u8],
        deadline: Moment,
    ) -> Result<Left, CompileError> {
        if orders.yields == Yields::All {
            if let Some(left) = self.run_when_idle(orders, input, deadline).await? {
                return Ok(left);
            }
            // It begins anew: a process may not take back what it has yielded (sched(7)).
            let orders = ChildOrders { yields: Yields::Most, ..*orders };
            return Box::pin(self.run(&orders, input, deadline)).await;
        }
        let CompileBounds { time, output, .. } = self.bounds;
        let mut child = start(orders).map_err(CompileError::NoProcess)?;
        let number = child.id();
        match host_clock::timeout(deadline.left(), run(&mut child, input, output)).await {
            Ok(left) => left.map_err(CompileError::NoProcess),
            Err(_) => Err(too_slow(time, number.and_then(cpu_time))),
        }
    }

    /// The same by a child that gets nothing while others want all cores. Gives none where that is so: on a
    /// machine that is busy for good a change would never come.
    async fn run_when_idle(
        &self,
        orders: &ChildOrders,
        input: &[u8],
        deadline: Moment,
    ) -> Result<Option<Left>, CompileError> {
        let CompileBounds { time, output, .. } = self.bounds;
        let mut child = start(orders).map_err(CompileError::NoProcess)?;
        let number = child.id();
        let cpu = || number.and_then(cpu_time);
        let mut left = pin!(run(&mut child, input, output));
        let idle = IDLE_AT_LEAST.min(deadline.left());
        if let Ok(left) = host_clock::timeout(idle, &mut left).await {
            return left.map(Some).map_err(CompileError::NoProcess);
        }
        if number.is_some_and(is_kept_waiting) && is_starved(cpu(), idle) && !deadline.is_over() {
            return Ok(None);
        }
        match host_clock::timeout(deadline.left(), left).await {
            Ok(left) => left.map(Some).map_err(CompileError::NoProcess),
            Err(_) => Err(too_slow(time, cpu())),
        }
    }
}

/// A child that runs when nobody else wants to has this long to show that it gets on.
const IDLE_AT_LEAST: Duration = Duration::from_secs(5);

/// Whether a process could run, and does not: one that was stopped waits for nobody.
fn is_kept_waiting(number: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['T', 't']))
}

/// Whether a child has had less than a quarter of a core.
fn is_starved(cpu: Option<Duration>, time: Duration) -> bool {
    cpu.is_some_and(|cpu| cpu < time / 4)
}

/// What kept a compile from its end: not the component, where the child has had less than half of a core.
/// One that takes longer than it may uses one core at least.
fn too_slow(time: Duration, cpu: Option<Duration>) -> CompileError {
    match cpu {
        Some(cpu) if cpu < time / 2 => CompileError::Starved { time, cpu },
        _ => CompileError::TooSlow(time),
    }
}

/// The CPU time that a process of this number has had, as far as /proc tells.
fn cpu_time(number: u32) -> Option<Duration> {
    ticks(&fs::read_to_string(format!("/proc/{number}/stat")).ok()?)
}

/// User and system time in a line of /proc/PID/stat: the 14th and the 15th field.
fn ticks(stat: &str) -> Option<Duration> {
    // The second one may have blanks and brackets in it.
    let (_, behind_the_name) = stat.rsplit_once(") ")?;
    let mut times = behind_the_name.split(' ').skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()?.saturating_add(times.next()?.ok()?);
    Some(Duration::from_millis(ticks.saturating_mul(1000) / clock_ticks_per_second().max(1)))
}

/// Starts a child. Whoever drops it kills it, and so does the kernel when the thread ends that started it, so that is one that lives as long as
/// the runtime: no thread for blocking work.
fn start(orders: &ChildOrders) -> io::Result<Child> {
    // Whoever started us may have us ignore the ends of children: then the kernel keeps none of them, and
    // there is nothing to wait for. A handler ends that, for as long as the process lives.
    let _ends = signal(SignalKind::child())?;
    Command::new(THIS_PROGRAM)
        .arg0("host")
        .args(orders.words())
        .env_clear()
        .env(SMALL_STEPS.0, SMALL_STEPS.1)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C at a terminal is for the host, which then decides what becomes of this one.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Hands a child what it works on and waits for what it gives.
async fn run(child: &mut Child, component: &[u8], most: u64) -> io::Result<Left> {
    let Child { stdin, stdout, stderr, .. } = &mut *child;
    let (mut stdin, stdout, stderr) = (stdin.take(), stdout.take(), stderr.take());
    let write = async {
        if let Some(stdin) = &mut stdin {
            // A child that has gone says why by how it went.
            stdin.write_all(component).await.ok();
        }
        drop(stdin.take());
    };
    let (output, words, ()) =
        tokio::join!(read(stdout, most.saturating_add(1)), read(stderr, LONGEST_WORDS), write);
    let status = child.wait().await?;
    let words = String::from_utf8_lossy(&words?).split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Left { status, output: output?, words })
}

async fn read(from: Option<impl AsyncRead + Unpin>, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(most).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// What Rust says before it aborts for want of memory; and what before it aborts because a panic panics, of
/// which the words may be the component's.
const NO_MEMORY: &str = "memory allocation of ";
const PANIC: &str = "panicked at";

/// Says what a child has come to, by how it ended, in the words of who asked for it. What it says may be the
/// component's choice.
fn judge(left: Left, orders: &ChildOrders, most: u64) -> Result<Vec<u8>, CompileError> {
    let Left { status, output, words } = left;
    // It could write no more than that.
    if output.len() as u64 > most {
        return Err(CompileError::TooLarge(most));
    }
    if status.success() {
        static SAID: Once = Once::new();
        if !words.is_empty() {
            SAID.call_once(|| warn!("compiling: {words}"));
        }
        return Ok(output);
    }
    Err(match (status.code(), status.signal()) {
        (Some(code), _) if code == i32::from(ChildFailure::NO_MEMORY) => {
            CompileError::Memory(orders.memory)
        }
        (Some(code), _) if code == i32::from(ChildFailure::REFUSED) => CompileError::Refused(words),
        (Some(code), _) if code == i32::from(ChildFailure::UNABLE) => CompileError::Unable(words),
        (_, Some(_)) if is_out_of_memory(&words) => CompileError::Memory(orders.memory),
        (_, Some(signal)) if signal == Signal::XCPU.as_raw() => CompileError::Cpu(orders.cpu),
        (_, Some(signal)) if signal == Signal::KILL.as_raw() => CompileError::Killed,
        _ => CompileError::Failed { how: status.to_string(), words },
    })
}

fn is_out_of_memory(words: &str) -> bool {
    words.contains(NO_MEMORY) && !words.contains(PANIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than any child of a test gives.
    const MOST: u64 = 100;

    const ORDERS: ChildOrders = ChildOrders {
        task: ChildTask::Code,
        memory: 1 << 30,
        cpu: Duration::from_secs(60),
        threads: 1,
        yields: Yields::Most,
        concurrency: false,
        parent: 1,
    };

    fn judged(status: i32, words: &str) -> String {
        let (status, output) = (ExitStatus::from_raw(status), b"code".to_vec());
        match judge(Left { status, output, words: words.into() }, &ORDERS, MOST) {
            Ok(output) => String::from_utf8(output).unwrap(),
            Err(why) => why.to_string(),
        }
    }

    /// A swap would never come to its end on a machine that is busy for good.
    #[test]
    fn a_child_that_hardly_runs_is_starved_unless_somebody_has_stopped_it() {
        let cpu = |millis| Some(Duration::from_millis(millis));
        assert!(is_starved(cpu(1249), IDLE_AT_LEAST) && !is_starved(cpu(1250), IDLE_AT_LEAST));
        assert!(!is_starved(None, IDLE_AT_LEAST), "nobody knows");
        assert!(is_kept_waiting(std::process::id()));
        let mut stopped = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&stopped);
        rustix::process::kill_process(pid, Signal::STOP).unwrap();
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::UNTRACED).unwrap();
        assert!(!is_kept_waiting(stopped.id()));
        stopped.kill().unwrap();
        stopped.wait().unwrap();
    }

    #[test]
    fn every_end_of_a_child_has_its_sentence() {
        const CODE: i32 = 1 << 8;
        for (status, words, says) in [
            (0, "", "code"),
            (10 * CODE, "unknown instruction", "does not compile: unknown instruction"),
            (3 * CODE, "no threads", "the compiler cannot work here: no threads"),
            (9, "", "the compiler was killed, by the kernel for want of memory or by somebody"),
            (24, "", "took more than 60s of CPU time"),
            (6, "memory allocation of 8 bytes failed", "took more than 1GiB (--compile-memory)"),
            (11 * CODE, "mmap failed: Cannot allocate memory", "more than 1GiB (--compile-memory)"),
            // Names of a component's own.
            (10 * CODE, "export `out of memory` conflicts", "does not compile: export `out of"),
            // It may not send itself the signal of an abort.
            (11, "memory allocation of 8 bytes failed", "took more than 1GiB (--compile-memory)"),
            (6, "panicked at x: memory allocation of 8 bytes failed", "the compiler failed"),
            (101 * CODE, "panicked at x: out of memory", "the compiler failed (exit status: 101)"),
            (11, "", "the compiler failed (signal: 11"),
            (101 * CODE, "index out of bounds", "(exit status: 101): index out of bounds"),
        ] {
            let judged = judged(status, words);
            assert!(judged.contains(says), "{status} {words}: {judged}");
        }
    }

    #[test]
    fn text_that_takes_too_long_is_not_told_of_a_flag_that_does_not_help() {
        let says = |time| CompileError::TooSlow(time).of_text().to_string();
        assert!(says(TEXT_TIME).contains("wasm-tools parse"));
        assert!(says(TEXT_TIME / 2).contains("raise --compile-timeout"));
    }

    #[test]
    fn no_more_is_held_of_what_a_child_gives_than_may_be() {
        let most = usize::try_from(MOST).unwrap();
        for (bytes, says) in [(most, None), (most + 1, Some("more than 100B"))] {
            // A child that finds nobody to write to has failed, for that reason.
            let status = ExitStatus::from_raw(if says.is_none() { 0 } else { 3 << 8 });
            let left = Left { status, output: vec![0; bytes], words: String::new() };
            let judged = judge(left, &ORDERS, MOST);
            match says {
                None => assert_eq!(judged.unwrap().len(), bytes),
                Some(says) => assert!(judged.unwrap_err().to_string().contains(says)),
            }
        }
    }

    /// `--watch` asks again for what a busy machine had no time for, and not for what takes too long.
    #[test]
    fn a_child_that_had_no_core_was_not_too_slow() {
        let (time, second) = (Duration::from_secs(10), Duration::from_secs(1));
        let judged = |cpu| too_slow(time, cpu);
        assert!(judged(Some(4 * second)).is_passing());
        assert!(!judged(Some(5 * second)).is_passing() && !judged(Some(40 * second)).is_passing());
        assert!(!judged(None).is_passing());
        for cpu in [None, Some(second)] {
            let words = judged(cpu).to_string();
            assert!(words.starts_with("did not compile within 10s; raise --compile-timeout"));
        }
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 99 1 1";
        assert_eq!(ticks(stat), Some(Duration::from_millis(200_000 / clock_ticks_per_second())));
        assert_eq!(ticks("7 (a"), None);
        assert!(cpu_time(std::process::id()).is_some());
    }

    #[test]
    fn threads_follow_the_cores_and_the_pace_up_to_a_bound() {
        for (cores, at_start, beside_traffic) in [(1, 1, 1), (2, 2, 1), (8, 8, 4), (64, 8, 8)] {
            let cores = NonZeroUsize::new(cores).unwrap();
            assert_eq!(threads(cores, Urgency::Start), at_start);
            assert_eq!(threads(cores, Urgency::BesideTraffic), beside_traffic);
        }
    }

    #[test]
    fn sizes_are_said_as_people_write_them() {
        for (bytes, says) in
            [(1 << 30, "1GiB"), (200 << 20, "200MiB"), (65_536, "64KiB"), (1, "1B")]
        {
            assert_eq!(size(bytes), says);
        }
    }
}
