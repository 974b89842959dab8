//! Why a component does not come to serve, and at which step.

use std::fmt;
use std::path::Path;

use host_code::CompileError;
use host_manifest::escape;

/// A step of a load or a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Somebody asks for a swap.
    Ask,
    /// The manifest is read.
    Manifest,
    /// What a component is granted is opened.
    Grants,
    /// The file is read.
    Read,
    /// What it says of itself: kind and imports.
    Check,
    /// It is compiled, or taken from the cache.
    Compile,
    /// Its imports get what the host has.
    Link,
    /// One instance is made.
    Instantiate,
    /// That instance's hook `on-start` runs.
    OnStart,
    /// The operator's smoke requests are answered.
    Smoke,
}

impl Step {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 10] = [
        Self::Ask,
        Self::Manifest,
        Self::Grants,
        Self::Read,
        Self::Check,
        Self::Compile,
        Self::Link,
        Self::Instantiate,
        Self::OnStart,
        Self::Smoke,
    ];

    /// The name in logs and in the control socket's answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Manifest => "manifest",
            Self::Grants => "grants",
            Self::Read => "read",
            Self::Check => "check",
            Self::Compile => "compile",
            Self::Link => "link",
            Self::Instantiate => "instantiate",
            Self::OnStart => "on-start",
            Self::Smoke => "smoke",
        }
    }
}

/// A component that does not come to serve: at which step, and why. Says what to do where there is
/// something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Where it failed.
    pub step: Step,
    /// The reason, in one line.
    pub why: String,
    /// It is not for what the files are: the same may be taken a moment later.
    pub passing: bool,
}

impl Rejected {
    /// A refusal at `step`, for what is to be loaded. Of what strangers have put into it nothing is a
    /// command to a terminal.
    pub fn at(step: Step, why: impl Into<String>) -> Self {
        Self { step, why: escape::harmless(&why.into()), passing: false }
    }

    /// A refusal at `step` for something that passes: the process or the machine is out of it, or
    /// somebody does not answer.
    pub fn for_now(step: Step, why: impl Into<String>) -> Self {
        Self { passing: true, ..Self::at(step, why) }
    }

    /// A refusal for what the compiler has said of this file.
    pub(crate) fn not_compiled(path: &Path, why: &CompileError) -> Self {
        let passing = why.is_passing();
        Self { passing, ..Self::at(Step::Compile, format!("{} {why}", path.display())) }
    }

    /// The same, of a component that has a name.
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
