//! Raw arguments in, one checked [`Serve`] out. Every default is a named constant with its reason.
//!
//! Knows no other part of the host: everybody else is handed what they need. What a manifest says
//! has a crate of its own; flags make one of a single component.

pub mod args;
mod ctl;
mod file;
mod log;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use ctl::{Ctl, CtlCommand, CtlTarget};
pub use file::read;
pub use host_manifest::{
    Grant, HealthAddr, Limit, ListenAddr, LogRate, Manifest, Rate, Size, SmokeCheck, Span, Stamp,
    defaults,
};
pub use log::{BadLogFilter, log_filter};

/// Everything `host serve` needs to know, checked before any socket, component or compile.
#[derive(Clone, Debug)]
pub struct Serve {
    /// What is served, where, with which limits and grants.
    pub manifest: Manifest,
    /// Flags that stand above a manifest.
    pub over: Over,
    /// The manifest's file, to be read again; none if it is made of flags.
    pub file: Option<File>,
    /// Where compiled code is kept.
    pub cache: Cache,
    /// Worker threads for connections and guests.
    pub threads: NonZeroUsize,
    /// Where operators give commands.
    pub control: Control,
    /// Load and prove everything, then exit.
    pub dry_run: bool,
}

/// Everything that `host check` needs to know.
#[derive(Clone, Debug)]
pub struct Check {
    /// What would be served.
    pub serve: Serve,
    /// JSON instead of text.
    pub json: bool,
    /// A warning is a failure.
    pub strict: bool,
}

/// Everything that `host compile` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compile {
    /// The component.
    pub app: PathBuf,
    /// Where its code is written; `-` is stdout.
    pub output: PathBuf,
    /// How long it may take.
    pub time: Duration,
    /// Memory that it may take, in bytes.
    pub memory: u64,
}

/// Where a manifest stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path.
    pub path: PathBuf,
    /// The file there when it was read.
    pub stamp: Stamp,
}

/// What flags say of the process beside a manifest. They win, at the start and at each reload.
#[derive(Clone, Debug, Default)]
pub struct Over {
    /// Where to listen instead, unless it is empty.
    pub addresses: Vec<ListenAddr>,
    /// Where health is answered instead, or that it is not.
    pub health: Option<HealthAddr>,
    /// Swap when a file changes.
    pub watch: bool,
    /// What of the process no guest may change, with what to call it.
    pub own: Vec<(String, PathBuf)>,
}

impl Over {
    /// The manifest, with what the flags say in place of what it says.
    #[must_use]
    pub fn lay_over(&self, mut manifest: Manifest) -> Manifest {
        if !self.addresses.is_empty() {
            manifest.listen.addresses.clone_from(&self.addresses);
        }
        if let Some(health) = self.health {
            manifest.listen.health = health.0;
        }
        manifest.swap.watch |= self.watch;
        manifest
    }
}

/// Where operators give commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Nowhere: signals are all there is.
    Off,
    /// In the user's runtime directory, if there is one.
    Default,
    /// At this path.
    Path(PathBuf),
}

impl Control {
    /// At `path`, or nowhere if that is `off`.
    fn of(path: &Path) -> Self {
        if path.as_os_str() == "off" { Self::Off } else { Self::Path(path.to_owned()) }
    }

    /// The socket, or the directory that it will be in.
    fn place(&self) -> Option<PathBuf> {
        match self {
            Self::Off => None,
            Self::Path(path) => Some(path.clone()),
            Self::Default => {
                let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
                let base = base.filter(|path| path.is_absolute());
                Some(base.unwrap_or_else(|| "/run".into()).join("host"))
            }
        }
    }
}

/// Where compiled code is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Nowhere: every start compiles.
    Off,
    /// In the user's cache directory.
    Default,
    /// In this directory.
    Directory(PathBuf),
}

impl Cache {
    /// The directory: the one asked for, or the user's, or the system's for root without a home.
    #[must_use]
    pub fn directory(&self) -> Option<PathBuf> {
        let base = match self {
            Self::Off => return None,
            Self::Directory(directory) => return Some(directory.clone()),
            Self::Default => std::env::var_os("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"))),
        };
        Some(base.unwrap_or_else(|| "/var/cache".into()).join("host"))
    }
}

#[cfg(test)]
mod tests;
