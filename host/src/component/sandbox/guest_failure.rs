//! Why a guest failed.

use std::time::Duration;

use host_clock::Elapsed;
use thiserror::Error;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

/// Why a guest failed. The text is for the log, never for the wire.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum GuestFailure {
    /// It trapped, or the host ended it because it broke a rule.
    #[error("guest trapped: {0}")]
    Trapped(String),
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
    #[error("guest used more than {0:?} of CPU time")]
    CpuTime(Duration),
    /// Its hook `on-start` returned an error.
    #[error("on-start gave an error: {0}")]
    StartRefused(String),
    /// Its hook did not return in time.
    #[error("{0} did not return within {1:?}")]
    HookTooSlow(&'static str, Duration),
    /// There was no memory for another instance, in the budget of its component or of all.
    #[error("no memory for another instance: memory-total, or [total] memory, is used up")]
    NoMemory,
    /// Making its instance took too long.
    #[error("instance took too long to start")]
    StartTooSlow,
    /// The pool had no room, although admission had found some.
    #[error("no room in the instance pool")]
    PoolFull,
    /// The instance that it shared failed.
    #[error("its instance was lost to the failure of another exchange on it")]
    InstanceLost,
    /// It returned, and nothing can finish its body any more.
    #[error("guest returned without finishing the response body")]
    BodyLeaked,
}

impl GuestFailure {
    /// The failure behind an error of wasmtime.
    pub(crate) fn from_error(why: &wasmtime::Error) -> Self {
        if why.is::<PoolConcurrencyLimitError>() {
            return Self::PoolFull;
        }
        if why.is::<Elapsed>() {
            return Self::StartTooSlow;
        }
        if let Some(known) = why.downcast_ref::<Self>() {
            return known.clone();
        }
        if let Some(exit) = why.downcast_ref::<I32Exit>() {
            return Self::Exited(exit.0);
        }
        if let Some(trap) = why.downcast_ref::<Trap>() {
            return Self::Trapped(trap.to_string());
        }
        Self::Trapped(why.root_cause().to_string())
    }
}
