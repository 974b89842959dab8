//! The process that compiles: it reads a component from stdin and writes an artefact to stdout, and nothing
//! else. It also parses text into a component, which takes fifty times the memory of the text.
//!
//! It sets its bounds before it reads a byte, and gives up the network and the file system. The component may
//! be hostile. The parent takes the output for code, and believes nothing else that the child says.

use std::fs;
use std::io::{self, Read as _, Write as _};

use host_symbols::CopiedFunctions;
use host_unshim::{CopiedAllocator, Unshimmed};
use rustix::io::Errno;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal,
    setpriority_process, setrlimit,
};
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};
use wasmtime::Engine;

use crate::child_failure::{ChildFailure, is_of_memory, one_line};
use crate::{
    Artefact, ArtefactKey, ChildOrders, ChildTask, Yields, component_digest, sandbox, settings,
    snapshot,
};

/// The lowest priority for a core (setpriority(2)). Such a process gets the cores that are idle, and a
/// seventieth of a core that others want.
const NICEST: i32 = 19;

/// The child's words when the kernel could not confine it.
pub(crate) const NOT_CONFINED: &str = "this kernel has no seccomp filters: the compiler keeps the files and \
     the network of its user; its bounds hold";

/// Seconds of CPU time between the warning (SIGXCPU) and the kill by the kernel.
const CPU_GRACE: u64 = 1;

/// Reads stdin and writes to stdout what the orders ask for.
///
/// # Errors
/// See [`ChildFailure`]. Each has one line.
pub fn run(orders: &ChildOrders) -> Result<(), ChildFailure> {
    bound(orders).map_err(ChildFailure::Unable)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(orders.threads)
        .build()
        // If the system gives no threads, which is not the component's fault, this thread compiles alone.
        .or_else(|_| rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build())
        .map_err(|why| ChildFailure::Unable(format!("no threads to compile on: {why}")))?;
    // From here on there are no new threads, no files and no sockets.
    if !sandbox::confine().map_err(ChildFailure::Unable)? {
        // The parent logs it.
        drop(writeln!(io::stderr(), "{NOT_CONFINED}"));
    }
    let mut given = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut given);
    read.map_err(|why| io_failure("reading it", &why))?;
    let made = match orders.task {
        ChildTask::Binary => binary(&given)?,
        ChildTask::Code => pool.install(|| code(given, orders.concurrency))?,
        ChildTask::Instrument => snapshot::instrument(&given)?,
        ChildTask::WarmCode => pool.install(|| warm_code(given, orders.concurrency))?,
    };
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(&made).and_then(|()| stdout.flush());
    written.map_err(|why| io_failure("handing it over", &why))
}

fn io_failure(doing: &str, why: &io::Error) -> ChildFailure {
    let words = format!("{doing}: {why}");
    if is_of_memory(why) { ChildFailure::NoMemory(words) } else { ChildFailure::Unable(words) }
}

fn binary(text: &[u8]) -> Result<Vec<u8>, ChildFailure> {
    let made =
        wat::parse_bytes(text).map_err(|why| ChildFailure::Refused(one_line(&why.to_string())))?;
    Ok(made.into_owned())
}

fn code(component: Vec<u8>, concurrency: bool) -> Result<Vec<u8>, ChildFailure> {
    let engine = Engine::new(&settings(concurrency))?;
    let key = ArtefactKey::new(&engine, &component_digest(&component));
    let (code, symbols) = compile(&engine, &component)?;
    drop(component);
    Ok(Artefact::seal(&key, &code, &symbols).into_bytes())
}

fn warm_code(given: Vec<u8>, concurrency: bool) -> Result<Vec<u8>, ChildFailure> {
    let engine = Engine::new(&settings(concurrency))?;
    let key = ArtefactKey::new(&engine, &component_digest(&given));
    let component = snapshot::begin_warm(&given)?;
    drop(given);
    let (code, symbols) = compile(&engine, &component)?;
    drop(component);
    Ok(Artefact::seal(&key, &code, &symbols).into_bytes())
}

/// Compiles the component without its shim, where it has one (docs/adr/0033), and with a module that writes to pages
/// of its memory, where that is large (docs/adr/0039). If that does not compile, the component as it is says why, or
/// does. Beside the code its symbols (docs/adr/0044).
fn compile(engine: &Engine, component: &[u8]) -> wasmtime::Result<(Vec<u8>, Vec<u8>)> {
    let (unshimmed, copies) = match host_unshim::unshim(component) {
        Ok(Unshimmed { bytes, allocator }) => (Some(bytes), Some(copied(allocator))),
        Err(_) => (None, None),
    };
    let prefaulted = host_prefault::prefault(unshimmed.as_deref().unwrap_or(component));
    if let Some(rewritten) = prefaulted.or(unshimmed)
        && let Ok(code) = engine.precompile_component(&rewritten)
    {
        return Ok((code, host_symbols::extract(component, &rewritten, copies.as_ref())));
    }
    let code = engine.precompile_component(component)?;
    Ok((code, host_symbols::extract(component, component, None)))
}

fn copied(CopiedAllocator { base, main, functions }: CopiedAllocator) -> CopiedFunctions {
    CopiedFunctions { to: base, from: main, functions }
}

/// Takes only idle cores (sched(7), `SCHED_IDLE`): any other thread that wakes up gets the core at once. With
/// nice alone that thread would wait for the end of a slice of milliseconds. Later threads inherit this.
fn run_when_idle() -> Result<(), thread_priority::Error> {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle)
}

/// Sets all bounds that the kernel enforces.
fn bound(orders: &ChildOrders) -> Result<(), String> {
    let failed = |what: &str, why: Errno| format!("{what} cannot be bounded: {why}");
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|why| failed("its life", why))?;
    // The parent may have gone before that.
    let parent = getppid().map_or(0, Pid::as_raw_pid);
    if u32::try_from(parent) != Ok(orders.parent) {
        return Err("nobody waits for it".into());
    }
    // If the cgroup has too little memory for both, the kernel is to kill this process.
    fs::write("/proc/self/oom_score_adj", "1000").ok();
    // Some sandboxes do not allow it, which is no reason to fail. The policy resets the priority, so it comes
    // first.
    if orders.yields == Yields::All {
        run_when_idle().ok();
    }
    if orders.yields != Yields::Nothing {
        setpriority_process(None, NICEST).ok();
    }
    let set = |what: &str, resource, soft: u64, hard: u64| {
        // The limit at the start may be lower.
        let least = |limit: u64| getrlimit(resource).maximum.map_or(limit, |has| has.min(limit));
        let limit = Rlimit { current: Some(least(soft)), maximum: Some(least(hard)) };
        setrlimit(resource, limit).map_err(|why| failed(what, why))
    };
    let cpu = orders.cpu.as_secs();
    set("its CPU time", Resource::Cpu, cpu, cpu + CPU_GRACE)?;
    // A core dump of a gibibyte helps no reader.
    set("its dump", Resource::Core, 0, 0)?;
    let memory = mapped().saturating_add(orders.memory);
    set("its memory", Resource::As, memory, memory)
}

/// Bytes of address space in use before compiling: the program itself, and the memory that its allocator
/// reserves.
fn mapped() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    // Without /proc: the measured size of this program, rounded up.
    pages.map_or(256 << 20, |pages| pages.saturating_mul(rustix::param::page_size() as u64))
}
