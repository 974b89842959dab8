//! A child process that compiles, from its start to its exit and output.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Once;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::Signal;
use tokio::io::{self, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

use crate::child_failure::ChildFailure;
use crate::{ChildOrders, CompileError};

/// This program, even if its file has been replaced or removed: the kernel resolves the link to the program
/// that runs, not to the file at that path now.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Makes the child's allocator reserve memory in small steps, because reserved memory counts too: 16 MiB (in
/// KiB) instead of a gibibyte.
const SMALL_STEPS: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "16384");

/// The longest stderr of a child that is read.
const LONGEST_WORDS: u64 = 16 << 10;

/// The output and exit of a child.
pub(crate) struct ChildOutput {
    status: ExitStatus,
    output: Vec<u8>,
    words: String,
    /// The most memory that it had resident, in bytes. None where it had gone before that could be read.
    pub(crate) memory: Option<u64>,
}

/// Whether a process could run but does not. A stopped process could not.
pub(crate) fn is_kept_waiting(number: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['T', 't']))
}

/// The CPU time of the process with this number, as far as /proc tells.
pub(crate) fn cpu_time(number: u32) -> Option<Duration> {
    ticks(&fs::read_to_string(format!("/proc/{number}/stat")).ok()?)
}

/// User and system time in a line of /proc/PID/stat: the 14th and the 15th field.
fn ticks(stat: &str) -> Option<Duration> {
    // The second field may have spaces and brackets in it.
    let (_, behind_the_name) = stat.rsplit_once(") ")?;
    let mut times = behind_the_name.split(' ').skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()?.saturating_add(times.next()?.ok()?);
    Some(Duration::from_millis(ticks.saturating_mul(1000) / clock_ticks_per_second().max(1)))
}

/// The most memory that the process with this number has had resident since its exec, in bytes. (What wait4(2) says of
/// a child begins with what its parent had.)
fn peak_memory(number: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{number}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = peak.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// Starts a child. Dropping it kills it. The kernel also kills it when the thread that started it ends, so that
/// thread has to live as long as the runtime: it may not be one for blocking work.
pub(crate) fn start(orders: &ChildOrders) -> io::Result<Child> {
    // The parent of this process may have made it ignore SIGCHLD. Then the kernel reaps children at once, and no
    // exit status is left to wait for. A handler ends that for the life of the process.
    let _ends = signal(SignalKind::child())?;
    Command::new(THIS_PROGRAM)
        .arg0("host")
        .args(orders.words())
        .env_clear()
        .env(SMALL_STEPS.0, SMALL_STEPS.1)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C at a terminal is for the host, which then decides about the child.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Sends a child its input and waits for its output.
pub(crate) async fn run(child: &mut Child, component: &[u8], most: u64) -> io::Result<ChildOutput> {
    let number = child.id();
    let Child { stdin, stdout, stderr, .. } = &mut *child;
    let (mut stdin, stdout, stderr) = (stdin.take(), stdout.take(), stderr.take());
    let write = async {
        if let Some(stdin) = &mut stdin {
            // If the child has gone, its exit says why.
            stdin.write_all(component).await.ok();
        }
        drop(stdin.take());
    };
    let peak = || number.and_then(peak_memory);
    let (output, words, ()) = tokio::join!(
        read_made(stdout, most.saturating_add(1), peak),
        read(stderr, LONGEST_WORDS),
        write
    );
    let status = child.wait().await?;
    let words = String::from_utf8_lossy(&words?).split_whitespace().collect::<Vec<_>>().join(" ");
    let (output, memory) = output?;
    Ok(ChildOutput { status, output, words, memory })
}

/// Reads what a child has made, and its peak once that begins to come: then it has made it, and waits for the rest to be
/// taken, unless a pipe holds all of it.
async fn read_made(
    from: Option<impl AsyncRead + Unpin>,
    most: u64,
    peak: impl Fn() -> Option<u64>,
) -> io::Result<(Vec<u8>, Option<u64>)> {
    let mut first = [0; 1];
    let mut from = from.map(|from| from.take(most));
    let Some(made) = &mut from else { return Ok((Vec::new(), None)) };
    let begun = made.read(&mut first).await?;
    let memory = peak();
    let mut bytes = first[..begun].to_vec();
    made.read_to_end(&mut bytes).await?;
    Ok((bytes, memory))
}

async fn read(from: Option<impl AsyncRead + Unpin>, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(most).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Rust's words before it aborts for want of memory, and its words before it aborts because a panic panics,
/// which may contain words of the component.
const NO_MEMORY: &str = "memory allocation of ";
const PANIC: &str = "panicked at";

/// The output of a child, or why there is none, judged by its exit. Its words may be the component's choice.
pub(crate) fn outcome(
    left: ChildOutput,
    orders: &ChildOrders,
    most: u64,
) -> Result<Vec<u8>, CompileError> {
    let ChildOutput { status, output, words, .. } = left;
    // The child could write no more than that.
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
#[path = "process_tests.rs"]
mod tests;
