//! Why a guest failed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use host_manifest::LimitReached;
use thiserror::Error;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use super::backtrace::Backtrace;

/// Why a guest failed. The text is for the log, never for the wire.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum GuestFailure {
    /// It trapped, or the host ended it because it broke a rule.
    #[error("guest trapped: {0}")]
    Trapped(Arc<GuestTrap>),
    /// It called wasi:cli/exit.
    #[error("guest called exit with status {0}")]
    Exited(i32),
    /// It returned and never set a response.
    #[error("guest returned without a response")]
    NoResponse,
    /// It answered with a status that ends no exchange: an interim one (RFC 9110 §15.2), or one above 599, which
    /// HTTP does not have.
    #[error("guest answered with the status {0}, which ends no exchange")]
    Status(u16),
    /// It answered with an error instead of a response.
    #[error("guest answered with an error: {0}")]
    Refused(String),
    /// It used up its CPU time.
    #[error("guest used more than {0:?} of CPU time (limits.cpu-time)")]
    CpuTime(Duration),
    /// Its hook `on-start` returned an error.
    #[error("on-start gave an error: {0}")]
    StartRefused(String),
    /// Its hook did not return in time: in that of the limit, or in what was left of a stop or a swap.
    #[error("{0} did not return within {1:?}{limit}", limit = hook_limit(*.2))]
    HookTooSlow(&'static str, Duration, HookTime),
    /// There was no memory for another instance, in the budget of its component or of all.
    #[error("no memory for another instance: {0}")]
    NoMemory(LimitReached),
    /// Making its instance took too long.
    #[error("instance did not start within {0:?} (limits.response-head-timeout)")]
    StartTooSlow(Duration),
    /// The pool had no room, although admission had found some.
    #[error("no room in the instance pool")]
    PoolFull,
    /// Its code had been given back, and could not be loaded again.
    #[error("its code was given back (total.code-memory), and cannot be loaded again: {0}")]
    NoCode(Arc<str>),
    /// The instance that it shared failed.
    #[error("its instance was lost to the failure of another exchange on it")]
    InstanceLost,
    /// It returned, and nothing can finish its body any more.
    #[error("guest returned without finishing the response body")]
    BodyLeaked,
}

/// A trap: what wasmtime says of it, and what the host knows besides. Its text is one line.
#[derive(Debug)]
pub struct GuestTrap {
    why: String,
    /// What the guest said on stderr before, if that was a panic of Rust.
    panic: Option<String>,
    /// The limit that the guest ran into by it.
    limit: Option<LimitReached>,
    /// The limit at which its memory could not grow before.
    refused: Option<LimitReached>,
    backtrace: Option<Backtrace>,
}

/// Which time of a hook was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookTime {
    /// That of its limit.
    Limit,
    /// That of the stop or the swap, which is shorter.
    Left,
}

fn hook_limit(time: HookTime) -> &'static str {
    match time {
        HookTime::Limit => " (limits.hook-timeout)",
        HookTime::Left => ", and no more was left",
    }
}

/// What is known of a trap besides wasmtime's words.
pub(crate) struct KnownOfTrap {
    pub(crate) panic: Option<String>,
    /// Words of wasmtime's by which a limit is known.
    pub(crate) limits: [(&'static str, LimitReached); 4],
    pub(crate) refused: Option<LimitReached>,
    pub(crate) backtrace: Option<Backtrace>,
}

impl GuestTrap {
    /// A trap of which nothing else is known.
    pub(crate) fn new(why: impl Into<String>) -> Arc<Self> {
        let why = why.into();
        Arc::new(Self { why, panic: None, limit: None, refused: None, backtrace: None })
    }
}

impl fmt::Display for GuestTrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.panic {
            Some(panic) => write!(f, "{panic} ({})", self.why)?,
            None => f.write_str(&self.why)?,
        }
        if let Some(limit) = self.limit {
            write!(f, "; {limit}")?;
        }
        if let Some(refused) = self.refused {
            write!(f, "; its memory could not grow before: {refused}")?;
        }
        Ok(())
    }
}

impl GuestFailure {
    /// The functions that were running, one line for each, the innermost first. None where they are not known, and
    /// where there were too many such texts of this generation just now: ask once for each line of the log.
    #[must_use]
    pub fn stacktrace(&self) -> Option<String> {
        match self {
            Self::Trapped(trap) => trap.backtrace.as_ref()?.text(),
            _ => None,
        }
    }

    /// The trap behind an error, with what is known besides. None if it is no trap, or known in full already.
    pub(crate) fn trap_of(why: &wasmtime::Error, known: KnownOfTrap) -> Option<Self> {
        match Self::from_error(why) {
            Self::Trapped(trap) if trap.backtrace.is_none() => {
                let (why, KnownOfTrap { panic, limits, refused, backtrace }) =
                    (trap.why.clone(), known);
                let limit = limits.iter().find(|(words, _)| why.contains(words));
                let limit = limit.map(|(_, limit)| *limit);
                Some(Self::Trapped(Arc::new(GuestTrap { why, panic, limit, refused, backtrace })))
            }
            _ => None,
        }
    }

    /// The failure behind an error of wasmtime.
    pub(crate) fn from_error(why: &wasmtime::Error) -> Self {
        if why.is::<PoolConcurrencyLimitError>() {
            return Self::PoolFull;
        }
        if let Some(known) = why.downcast_ref::<Self>() {
            return known.clone();
        }
        if let Some(exit) = why.downcast_ref::<I32Exit>() {
            return Self::Exited(exit.0);
        }
        if let Some(trap) = why.downcast_ref::<Trap>() {
            return Self::Trapped(GuestTrap::new(words(trap, why)));
        }
        Self::Trapped(GuestTrap::new(why.root_cause().to_string()))
    }
}

/// A trap, and the address where memory was not: wasmtime adds that as another cause.
fn words(trap: &Trap, why: &wasmtime::Error) -> String {
    let said = trap.to_string();
    let trap = said.strip_prefix("wasm trap: ").unwrap_or(&said);
    let address =
        why.chain().map(ToString::to_string).find(|text| text.starts_with("memory fault"));
    address.map_or_else(|| trap.to_owned(), |address| format!("{trap}: {address}"))
}
