//! What may be asked of a running host, by which trigger, and how it comes out.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use host_manifest::CanaryOverrides;
use tokio::time::Instant;

use crate::component::{Rejected, Step};

/// A change of what is served. Where there is only one component its name may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwapCommand {
    /// Read again what is served: the manifest and all of its files, or the file of the one
    /// component where there is no manifest.
    Reload,
    /// Read the certificates of listeners again, and nothing else.
    ReloadTls,
    /// Serve a component from this file from now on.
    Swap(Option<String>, PathBuf, CanaryChoice),
    /// Put the code of a component's previous generation back; while a canary is under way, [`Self::Abort`].
    Rollback(Option<String>),
    /// Give a component's canary all exchanges now.
    Promote(Option<String>),
    /// Take a component's canary back.
    Abort(Option<String>),
}

/// Whether a new version takes over step by step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CanaryChoice {
    /// As the manifest has it.
    #[default]
    Manifest,
    /// At once.
    Off,
    /// Step by step, like this; what is left out is as in the manifest.
    Asked(CanaryOverrides),
}

impl fmt::Display for SwapCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name) = match self {
            Self::Reload => ("reload", &None),
            Self::ReloadTls => ("reload of certificates", &None),
            Self::Swap(name, ..) => ("swap", name),
            Self::Rollback(name) => ("rollback", name),
            Self::Promote(name) => ("promote", name),
            Self::Abort(name) => ("abort", name),
        };
        f.write_str(what)?;
        name.as_ref().map_or(Ok(()), |name| write!(f, " of {name}"))?;
        if let Self::Swap(_, path, _) = self {
            write!(f, " to {}", path.display())?;
        }
        Ok(())
    }
}

impl SwapCommand {
    /// The component that it names.
    pub(super) fn component(&self) -> Option<&str> {
        match self {
            Self::Reload | Self::ReloadTls => None,
            Self::Swap(name, ..)
            | Self::Rollback(name)
            | Self::Promote(name)
            | Self::Abort(name) => name.as_deref(),
        }
    }
}

/// How much a reload reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadScope {
    /// All that is served.
    All,
    /// The certificates of listeners.
    Certificates,
}

impl ReloadScope {
    pub(super) fn command(self) -> SwapCommand {
        match self {
            Self::All => SwapCommand::Reload,
            Self::Certificates => SwapCommand::ReloadTls,
        }
    }
}

/// What asked for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Hangup,
    /// An operator, over the control socket.
    Operator,
    /// The file has changed.
    Watch,
    /// A tag in a registry leads to something else.
    Registry,
    /// A canary has come to its end.
    Canary,
}

impl Trigger {
    /// What the log calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Operator => "host ctl",
            Self::Watch => "--watch",
            Self::Registry => "registry",
            Self::Canary => "canary",
        }
    }
}

/// How a change came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwapOutcome {
    /// Exchanges that begin from now on run on another generation.
    Swapped {
        /// Number of the generation that is retired.
        from: u64,
        /// Number of the one that serves.
        to: u64,
        /// From the first attempt to the pointer store.
        took: Duration,
    },
    /// A new generation takes over step by step.
    Canary {
        /// The component.
        component: Arc<str>,
        /// Number of the generation before.
        from: u64,
        /// Number of the new one.
        to: u64,
        /// From the first attempt to the pointer store.
        took: Duration,
    },
    /// The canary of a component has ended, and its new generation serves.
    Promoted {
        /// The component.
        component: Arc<str>,
        /// Number of the generation that is retired.
        from: u64,
        /// Number of the one that serves.
        to: u64,
        /// Why.
        why: String,
    },
    /// The canary of a component has ended, and the generation before goes on.
    Aborted {
        /// The component.
        component: Arc<str>,
        /// Number of the generation that goes on.
        from: u64,
        /// Number of the one that was taken back.
        to: u64,
        /// Why.
        why: String,
    },
    /// The file holds the bytes that serve already, or those that were rolled back.
    Unchanged {
        /// Number of the generation that goes on.
        generation: u64,
    },
    /// A manifest is in force.
    Reloaded(Reloaded),
    /// The generation that served goes on.
    Rejected(Rejected),
}

impl SwapOutcome {
    /// No change is carried out any more.
    pub(super) fn process_is_ending() -> Self {
        Self::Rejected(Rejected::for_now(Step::Ask, "the process is ending"))
    }
}

impl fmt::Display for SwapOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swapped { from, to, took } => {
                write!(f, "swapped from generation {from} to {to} in {took:.3?}")
            }
            Self::Canary { component, from, to, took } => {
                write!(
                    f,
                    "canary: generation {to} of {component} takes over from {from} step by step, after {took:.3?}"
                )
            }
            Self::Promoted { component, from, to, why } => {
                write!(
                    f,
                    "promoted: generation {to} of {component} serves in place of {from}: {why}"
                )
            }
            Self::Aborted { component, from, to, why } => {
                write!(
                    f,
                    "aborted: generation {to} of {component} is taken back, {from} goes on: {why}"
                )
            }
            Self::Unchanged { generation } => {
                write!(f, "unchanged: the file says nothing new, generation {generation} goes on")
            }
            Self::Reloaded(reloaded) => reloaded.fmt(f),
            Self::Rejected(Rejected { step, why, .. }) => {
                write!(f, "rejected at step {}: {why}", step.name())
            }
        }
    }
}

/// What a reload of a manifest has changed, by the names of components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Serve from now on.
    pub added: Vec<String>,
    /// Serve on a new generation: other code, grants or limits.
    pub changed: Vec<String>,
    /// Do not serve any more.
    pub removed: Vec<String>,
    /// Get a new generation that takes over step by step.
    pub canaries: Vec<String>,
    /// Whether routes have changed.
    pub routes: bool,
    /// Certificates of listeners that are new, in words.
    pub certificates: Vec<String>,
    /// Stay as another change has left them that was asked for later.
    pub left: Vec<String>,
    /// Parts of the manifest that have changed and stay as they were until a restart.
    pub restart: Vec<String>,
    /// From the first attempt to the pointer store.
    pub took: Duration,
}

impl Reloaded {
    /// Whether anything is served differently.
    #[must_use]
    pub fn changes_something(&self) -> bool {
        let lists = [&self.added, &self.changed, &self.removed, &self.canaries];
        self.routes || !self.certificates.is_empty() || lists.iter().any(|it| !it.is_empty())
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.changes_something() {
            f.write_str("unchanged: what is served is what the manifest says")?;
        } else {
            write!(f, "reloaded in {:.3?}", self.took)?;
        }
        let lists = [
            ("added", &self.added),
            ("changed", &self.changed),
            ("removed", &self.removed),
            ("canary", &self.canaries),
        ];
        for (what, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "; {what}: {}", names.join(", "))?;
        }
        if !self.left.is_empty() {
            write!(f, "; left to a later change: {}", self.left.join(", "))?;
        }
        if self.routes {
            f.write_str("; routes changed")?;
        }
        if !self.certificates.is_empty() {
            write!(f, "; certificates: {}", self.certificates.join(", "))?;
        }
        if !self.restart.is_empty() {
            write!(f, "; needs a restart: {}", self.restart.join(", "))?;
        }
        Ok(())
    }
}

/// The last change, for a look at it later.
#[derive(Clone, Debug)]
pub struct SwapRecord {
    /// When it was over.
    pub at: Instant,
    /// What had asked.
    pub trigger: Trigger,
    /// How it came out.
    pub outcome: SwapOutcome,
}

/// Why no change is carried out after a stop has been asked for.
pub(super) const STOPPING: &str =
    "the host is stopping, and what it serves is not swapped any more";
