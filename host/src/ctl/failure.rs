//! Why `host ctl` did not get what it asked for, and the exit code for that.

use std::io;

use http::StatusCode;
use thiserror::Error;

use super::client::NoAnswer;
use super::find::NotFound;
use crate::control::schema::{ChangeOutcome, CommandError};
use crate::exit::Exit;

/// Why `host ctl` did not get what it asked for.
#[derive(Debug, Error)]
pub(super) enum CtlError {
    #[error(transparent)]
    NotFound(#[from] NotFound),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Ended(String),
    #[error("cannot write the answer to stdout: {0}")]
    Unprinted(io::Error),
    #[error("cannot start: {0}")]
    NoStart(#[from] io::Error),
}

impl CtlError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::NotFound(NotFound::Several(_)) => Exit::Several,
            Self::NotFound(_) | Self::NoStart(_) => Exit::NoHost,
            Self::Refused(_) => Exit::Refused,
            Self::Usage(_) => Exit::Usage,
            Self::Ended(_) => Exit::Clean,
            Self::NoAnswer(_) | Self::Unprinted(_) => Exit::Lost,
        }
    }
}

/// The reason in an answer that is a refusal.
pub(super) fn refusal_text(status: StatusCode, body: &[u8]) -> String {
    if let Ok(ChangeOutcome::Rejected { step, why, stack }) = serde_json::from_slice(body) {
        let rejected = format!("rejected ({step}): {why}");
        if stack.is_empty() {
            return rejected;
        }
        let stack: String = stack.iter().map(|line| format!("    {line}\n")).collect();
        // The last line says what became of it, with or without a stack.
        return format!("the new version trapped at\n{stack}host ctl: {rejected}");
    }
    serde_json::from_slice::<CommandError>(body)
        .map_or_else(|_| format!("the host answered {status}"), |refusal| refusal.error)
}
