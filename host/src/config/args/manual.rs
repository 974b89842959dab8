//! `host completions`, and what only packagers ask for: `host man`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

/// The name of the program, and the other one that packages install it under: some systems have a `host`
/// that looks up names.
const NAMES: [&str; 2] = ["host", "wasm-host"];

/// A shell that completes command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompletingShell {
    /// GNU Bash
    Bash,
    /// The Z shell
    Zsh,
    /// fish
    Fish,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell that is to complete
    #[arg(value_name = "SHELL")]
    pub(super) shell: CompletingShell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The directory that they are written to
    #[arg(value_name = "DIRECTORY")]
    pub(super) directory: PathBuf,
}

/// The name by which this process was called, as far as it is one of ours.
pub(super) fn called(program: Option<&OsStr>) -> &'static str {
    let file = program.and_then(|program| Path::new(program).file_name());
    NAMES.into_iter().find(|name| file == Some(OsStr::new(name))).unwrap_or(NAMES[0])
}
