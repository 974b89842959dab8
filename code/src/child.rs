//! The process that compiles: a component on stdin, an artefact on stdout, and nothing else.
//!
//! It bounds itself before it reads a byte, and gives up the network and the file system. What it
//! compiles may be hostile; what it gives is taken for code by the one who waits for it, but nothing
//! else of it is believed.

use std::fs;
use std::io::{self, Read as _, Write as _};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal,
    setpriority_process, setrlimit,
};
use wasmtime::Engine;

use crate::{Artefact, Key, Orders, component_digest, sandbox, settings};

/// The weakest claim to a core (setpriority(2)): such a process gets what others leave, and a
/// seventieth of what they do not.
const NICEST: i32 = 19;

/// What it says where the kernel could not confine it.
pub(crate) const NOT_CONFINED: &str = "this kernel has no seccomp filters: the compiler keeps the files and \
     the network of its user; its bounds hold";

/// Between the CPU time at which it is told (SIGXCPU) and the one at which the kernel kills it.
const CPU_GRACE: u64 = 1;

/// Compiles stdin to stdout as ordered.
///
/// # Errors
/// In one line, why the component does not compile, or what keeps this process from trying.
pub fn run(orders: &Orders) -> Result<(), String> {
    bound(orders)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(orders.threads)
        .build()
        // Where there are no threads to be had, which is not the component's fault, the first one has to do.
        .or_else(|_| rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build())
        .map_err(|why| format!("no threads to compile on: {why}"))?;
    // From here on there are no new threads, no files and no sockets.
    if !sandbox::enter()? {
        // The one who waits for the code logs it.
        drop(writeln!(io::stderr(), "{NOT_CONFINED}"));
    }
    let mut component = Vec::new();
    io::stdin().lock().read_to_end(&mut component).map_err(|why| format!("reading it: {why}"))?;
    let engine = Engine::new(&settings(orders.concurrency)).map_err(|why| one_line(&why))?;
    let key = Key::of(&engine, &component_digest(&component));
    let code = pool.install(|| engine.precompile_component(&component));
    let code = code.map_err(|why| one_line(&why))?;
    drop(component);
    let artefact = Artefact::seal(&key, &code);
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(artefact.bytes())
        .and_then(|()| stdout.flush())
        .map_err(|why| format!("handing it over: {why}"))
}

/// Sets every bound that the kernel keeps for us.
fn bound(orders: &Orders) -> Result<(), String> {
    let failed = |what: &str, why: rustix::io::Errno| format!("{what} cannot be bounded: {why}");
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|why| failed("its life", why))?;
    // It may have gone before that.
    let parent = getppid().map_or(0, Pid::as_raw_pid);
    if u32::try_from(parent) != Ok(orders.parent) {
        return Err("nobody waits for it".into());
    }
    // Where its cgroup has not enough memory for both, it is this process that the kernel is to kill.
    fs::write("/proc/self/oom_score_adj", "1000").ok();
    if orders.yields {
        // Not to be had under some sandboxes, and no reason to fail.
        setpriority_process(None, NICEST).ok();
    }
    let set = |what: &str, resource, soft: u64, hard: u64| {
        // What it was started with may be less.
        let least = |limit: u64| getrlimit(resource).maximum.map_or(limit, |has| has.min(limit));
        let limit = Rlimit { current: Some(least(soft)), maximum: Some(least(hard)) };
        setrlimit(resource, limit).map_err(|why| failed(what, why))
    };
    let cpu = orders.cpu.as_secs();
    set("its CPU time", Resource::Cpu, cpu, cpu + CPU_GRACE)?;
    // Nobody reads a dump of a gibibyte.
    set("its dump", Resource::Core, 0, 0)?;
    let memory = mapped().saturating_add(orders.memory);
    set("its memory", Resource::As, memory, memory)
}

/// Bytes of address space in use before anything is compiled: the program itself, and what its
/// allocator sets aside.
fn mapped() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    // Without /proc: what this program had when that was measured, rounded up.
    pages.map_or(256 << 20, |pages| pages.saturating_mul(rustix::param::page_size() as u64))
}

/// An error with all its causes in one line.
fn one_line(why: &wasmtime::Error) -> String {
    let text = why.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
