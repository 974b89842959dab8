//! Compiles components in child processes of this process, within bounds.

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use host_clock::Moment;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::process::{self, ChildOutput};
use crate::{Artefact, ArtefactKey, ChildOrders, ChildTask, CompileError, WarmComponent, Yields};

/// How urgent a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// The host serves no request before the load is done.
    Start,
    /// Requests are being served meanwhile.
    BesideTraffic,
}

/// Bounds of one compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileBounds {
    /// Memory of the child, in bytes.
    pub memory: u64,
    /// Time from the request to the result.
    pub time: Duration,
    /// The size of the output, in bytes, which the parent has to hold.
    pub output: u64,
}

/// A component's code, and what it took to make it.
#[derive(Debug)]
pub struct Compiled {
    /// The code.
    pub artefact: Artefact,
    /// From the start of the first child to the end of the one that made it.
    pub took: Duration,
    /// The most memory that this child had resident, in bytes; none where that could not be read.
    pub memory: Option<u64>,
}

/// The least number of compiles at once, so that a slow one does not delay others.
const LEAST_AT_ONCE: usize = 2;

/// Parsing text takes a fraction of a second, and some seconds at the lowest priority on a busy machine. Other
/// changes wait for it, unlike for a compile.
const TEXT_TIME: Duration = Duration::from_secs(30);

/// Compiles components. Cheap to clone; clones share the permits for compiles at once.
#[derive(Clone, Debug)]
pub struct Compiler {
    permits: Arc<Semaphore>,
    /// Texts are parsed one at a time, beside compiles.
    texts: Arc<Semaphore>,
    cores: NonZeroUsize,
    bounds: CompileBounds,
}

/// The most threads of a child, because each takes a part of its memory: a component of 11 MB compiles within a
/// gibibyte on 8 threads, but not on 32.
const MOST_THREADS: usize = 8;

fn threads(cores: NonZeroUsize, pace: Urgency) -> usize {
    let threads = match pace {
        Urgency::Start => cores.get(),
        Urgency::BesideTraffic => cores.get().div_ceil(2),
    };
    threads.min(MOST_THREADS)
}

fn permits(cores: NonZeroUsize) -> usize {
    cores.get().div_ceil(2).max(LEAST_AT_ONCE)
}

impl Compiler {
    /// A compiler with these bounds for each component. It runs at most half as many children at once as
    /// there are cores, or two.
    #[must_use]
    pub fn new(bounds: CompileBounds) -> Self {
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let permits = Arc::new(Semaphore::new(permits(cores)));
        Self { permits, texts: Arc::new(Semaphore::new(1)), cores, bounds }
    }

    /// The most compiles at once.
    #[must_use]
    pub fn at_once(&self) -> usize {
        permits(self.cores)
    }

    /// Compiles the component, which has this key. Bounded in time; dropping the future kills the child.
    ///
    /// # Errors
    /// See [`CompileError`].
    pub async fn compile(
        &self,
        component: &[u8],
        key: &ArtefactKey,
        concurrency: bool,
        pace: Urgency,
    ) -> Result<Compiled, CompileError> {
        self.make_code((ChildTask::Code, component), key, concurrency, pace).await
    }

    /// Compiles a component that begins with a state; the key is that of [`WarmComponent::digest`]. Bounded in time;
    /// dropping the future kills the child.
    ///
    /// # Errors
    /// See [`CompileError`].
    pub async fn compile_warm(
        &self,
        component: &WarmComponent,
        key: &ArtefactKey,
        concurrency: bool,
        pace: Urgency,
    ) -> Result<Compiled, CompileError> {
        self.make_code((ChildTask::WarmCode, component.bytes()), key, concurrency, pace).await
    }

    async fn make_code(
        &self,
        (task, given): (ChildTask, &[u8]),
        key: &ArtefactKey,
        concurrency: bool,
        pace: Urgency,
    ) -> Result<Compiled, CompileError> {
        let CompileBounds { memory, time, output } = self.bounds;
        let deadline = Moment::now() + time;
        let permit = host_clock::timeout(deadline.left(), self.permits.acquire()).await;
        let _permit = permit.map_err(|_| CompileError::Busy(time))?;
        let threads = threads(self.cores, pace);
        let cpu = time.saturating_mul(u32::try_from(threads).unwrap_or(u32::MAX));
        let orders = ChildOrders {
            task,
            memory,
            cpu,
            threads,
            yields: if pace == Urgency::BesideTraffic { Yields::All } else { Yields::Nothing },
            concurrency,
            parent: std::process::id(),
        };
        let began = Instant::now();
        let left = self.run(&orders, given, deadline).await?;
        let (took, memory) = (began.elapsed(), left.memory);
        let output = process::outcome(left, &orders, output)?;
        let artefact = Artefact::check(key, output).map_err(CompileError::Garbled)?;
        Ok(Compiled { artefact, took, memory })
    }

    /// Parses text into a component. Bounded in time; dropping the future kills the child.
    ///
    /// # Errors
    /// See [`CompileError`].
    pub async fn component(&self, text: &[u8]) -> Result<Vec<u8>, CompileError> {
        self.rewritten(ChildTask::Binary, text).await
    }

    /// Has a component export what is in its memory and its globals, under [`crate::ACCESS`], and a function that takes
    /// a handle, under [`crate::HANDLES`]. Bounded in time; dropping the future kills the child.
    ///
    /// # Errors
    /// See [`CompileError`].
    pub async fn instrument(&self, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        self.rewritten(ChildTask::Instrument, component).await
    }

    async fn rewritten(&self, task: ChildTask, given: &[u8]) -> Result<Vec<u8>, CompileError> {
        let bounds = CompileBounds { time: self.bounds.time.min(TEXT_TIME), ..self.bounds };
        let CompileBounds { memory, time, output } = bounds;
        let deadline = Moment::now() + time;
        let permit = host_clock::timeout(deadline.left(), self.texts.acquire()).await;
        let _permit = permit.map_err(|_| CompileError::Busy(time))?;
        let orders = ChildOrders {
            task,
            memory,
            // The clock bounds it, not its CPU time.
            cpu: self.bounds.time.saturating_mul(2),
            threads: 1,
            yields: Yields::Most,
            concurrency: false,
            parent: std::process::id(),
        };
        let left = Self { bounds, ..self.clone() }.run(&orders, given, deadline).await;
        process::outcome(left.map_err(|why| why.for_text(TEXT_TIME))?, &orders, output)
    }

    /// Runs a child. Time in which this process did not run does not count, because then its children mostly did
    /// not run either.
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
            // Start anew: a process may not take back what it has yielded (sched(7)).
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

    /// The same with a child that gets no core while others want all of them. None if that is so: on a
    /// machine that is always busy the change would never come.
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

/// A child that runs only on idle cores has this long to show progress.
const IDLE_AT_LEAST: Duration = Duration::from_secs(5);

/// Whether a child has had less than a quarter of a core.
fn is_starved(cpu: Option<Duration>, time: Duration) -> bool {
    cpu.is_some_and(|cpu| cpu < time / 4)
}

/// Why a compile reached its deadline. If the child had less than half a core, the component is not to blame: a
/// compile that takes too long uses at least one core.
fn too_slow(time: Duration, cpu: Option<Duration>) -> CompileError {
    match cpu {
        Some(cpu) if cpu < time / 2 => CompileError::Starved { time, cpu },
        _ => CompileError::TooSlow(time),
    }
}

#[cfg(test)]
#[path = "compiler_tests.rs"]
mod tests;
