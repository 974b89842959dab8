//! Has components compiled by children of this process, within bounds.

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use host_clock::Moment;
use tokio::sync::Semaphore;

use crate::process::{self, ChildOutput};
use crate::{Artefact, ArtefactKey, ChildOrders, ChildTask, CompileError, Yields};

/// How urgent a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// The host serves no request before it is done.
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

/// At least this many are compiled at once, so that one that is slow does not hold up others.
const SEATS: usize = 2;

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
        let output = process::outcome(left, &orders, output)?;
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
        process::outcome(left.map_err(|why| why.for_text(TEXT_TIME))?, &orders, output)
    }

    /// Has a child do it. Time in which this process did not run does not count: its children mostly did not
    /// run either.
    async fn run(
        &self,
        orders: &ChildOrders,
        input: &[u8],
        deadline: Moment,
    ) -> Result<ChildOutput, CompileError> {
        if orders.yields == Yields::All {
            if let Some(left) = self.run_when_idle(orders, input, deadline).await? {
                return Ok(left);
            }
            // It begins anew: a process may not take back what it has yielded (sched(7)).
            let orders = ChildOrders { yields: Yields::Most, ..*orders };
            return Box::pin(self.run(&orders, input, deadline)).await;
        }
        let CompileBounds { time, output, .. } = self.bounds;
        let mut child = process::start(orders).map_err(CompileError::NoProcess)?;
        let number = child.id();
        match host_clock::timeout(deadline.left(), process::run(&mut child, input, output)).await {
            Ok(left) => left.map_err(CompileError::NoProcess),
            Err(_) => Err(too_slow(time, number.and_then(process::cpu_time))),
        }
    }

    /// The same by a child that gets nothing while others want all cores. Gives none where that is so: on a
    /// machine that is busy for good a change would never come.
    async fn run_when_idle(
        &self,
        orders: &ChildOrders,
        input: &[u8],
        deadline: Moment,
    ) -> Result<Option<ChildOutput>, CompileError> {
        let CompileBounds { time, output, .. } = self.bounds;
        let mut child = process::start(orders).map_err(CompileError::NoProcess)?;
        let number = child.id();
        let cpu = || number.and_then(process::cpu_time);
        let mut left = pin!(process::run(&mut child, input, output));
        let idle = IDLE_AT_LEAST.min(deadline.left());
        if let Ok(left) = host_clock::timeout(idle, &mut left).await {
            return left.map(Some).map_err(CompileError::NoProcess);
        }
        if number.is_some_and(process::is_kept_waiting)
            && is_starved(cpu(), idle)
            && !deadline.is_over()
        {
            return Ok(None);
        }
        match host_clock::timeout(deadline.left(), left).await {
            Ok(left) => left.map(Some).map_err(CompileError::NoProcess),
            Err(_) => Err(too_slow(time, cpu())),
        }
    }
}

/// A child that runs only on idle cores has this long to show that it gets on.
const IDLE_AT_LEAST: Duration = Duration::from_secs(5);

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

#[cfg(test)]
#[path = "compiler_tests.rs"]
mod tests;
