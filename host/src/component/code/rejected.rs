//! Why a component cannot serve, and at which step of a load.

use std::fmt;
use std::path::Path;

use host_code::CompileError;
use host_manifest::{ConfigLine, escape};

/// A step of a load or a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A swap is asked for.
    Ask,
    /// The manifest is read.
    Manifest,
    /// The certificates of listeners are read.
    Certificates,
    /// Components are pulled from where they come from.
    Fetch,
    /// The component's grants are opened.
    Grants,
    /// The file is read.
    Read,
    /// Its kind and its imports are checked.
    Check,
    /// It is compiled, or taken from the cache.
    Compile,
    /// Its imports are linked to the host's functions.
    Link,
    /// One instance is made.
    Instantiate,
    /// That instance's hook `on-start` runs.
    OnStart,
    /// What it has in its memory then is taken, for instances to begin with.
    Snapshot,
    /// The operator's smoke requests are sent.
    Smoke,
}

impl Step {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 13] = [
        Self::Ask,
        Self::Manifest,
        Self::Certificates,
        Self::Fetch,
        Self::Grants,
        Self::Read,
        Self::Check,
        Self::Compile,
        Self::Link,
        Self::Instantiate,
        Self::OnStart,
        Self::Snapshot,
        Self::Smoke,
    ];

    /// The name in logs and in responses of the control socket.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Manifest => "manifest",
            Self::Certificates => "certificates",
            Self::Fetch => "fetch",
            Self::Grants => "grants",
            Self::Read => "read",
            Self::Check => "check",
            Self::Compile => "compile",
            Self::Link => "link",
            Self::Instantiate => "instantiate",
            Self::OnStart => "on-start",
            Self::Snapshot => "snapshot",
            Self::Smoke => "smoke",
        }
    }
}

/// A component that cannot serve: at which step it failed, and why. The reason says what to do, where
/// something can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Where it failed.
    pub step: Step,
    /// The reason, in one line.
    pub why: String,
    /// The functions that were running, if a guest trapped: one a line, the innermost first.
    pub stack: Vec<String>,
    /// The cause is not in the files: the same load may succeed a moment later.
    pub passing: bool,
}

impl Rejected {
    /// A rejection at `step`. Text in `why` that comes from a file is escaped, so that it cannot control a
    /// terminal.
    pub fn at(step: Step, why: impl Into<String>) -> Self {
        Self { step, why: escape::harmless(&why.into()), stack: Vec::new(), passing: false }
    }

    /// A rejection at `step` for a passing cause: the process or the machine is short of something, or
    /// another party does not answer.
    pub fn for_now(step: Step, why: impl Into<String>) -> Self {
        Self { passing: true, ..Self::at(step, why) }
    }

    /// The same rejection, with the functions that were running, one a line.
    #[must_use]
    pub(crate) fn with_stack(self, stack: Option<String>) -> Self {
        let stack = stack.unwrap_or_default().lines().map(escape::harmless).collect();
        Self { stack, ..self }
    }

    /// The rejection for a file that the compiler refused.
    pub(crate) fn not_compiled(path: &Path, why: &CompileError) -> Self {
        let passing = why.is_passing();
        Self { passing, ..Self::at(Step::Compile, format!("{} {why}", path.display())) }
    }

    /// The same rejection, for what stands on this line of the manifest, if it does.
    #[must_use]
    pub(crate) fn on_line(self, line: Option<&ConfigLine>) -> Self {
        let Some(line) = line else { return self };
        Self { why: format!("with the config on {line}: {}", self.why), ..self }
    }

    /// The same rejection, for a component with this name.
    #[must_use]
    pub fn for_component(self, component: &str) -> Self {
        Self { why: format!("component {component}: {}", self.why), ..self }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Rejected {}
