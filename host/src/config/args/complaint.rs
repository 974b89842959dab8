//! Errors of the command line that clap does not find itself.

use host_manifest::{LimitFault, escape};

/// An error with this text.
pub(super) fn complaint(text: &str) -> clap::Error {
    let text = escape::lines(text);
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{text}\n"))
}

/// Refuses the first fault, by the name of its flag.
///
/// # Errors
/// There is one.
pub(super) fn refuse(faults: Vec<LimitFault>) -> Result<(), clap::Error> {
    let Some(fault) = faults.into_iter().next() else { return Ok(()) };
    let flag = match fault.key {
        "instances" => "max-instances",
        "queue" => "max-queue",
        "memory" => "max-memory",
        same => same,
    };
    Err(complaint(&format!("--{flag} {}", fault.why)))
}
