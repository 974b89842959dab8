//! Changes of what is served, and why a command was not carried out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::canary::{CanaryRequest, CanaryStatus};

/// What became of a reload, a swap or a rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum ChangeOutcome {
    /// The next request runs the new generation.
    Swapped {
        /// The generation that served until now.
        from: u64,
        /// The one that serves from now on.
        to: u64,
        /// From the request to the pointer store.
        took_ms: u64,
    },
    /// A new generation takes over step by step: see [`CanaryStatus`].
    Canary {
        /// The component.
        component: String,
        /// The generation that served until now.
        from: u64,
        /// The one that takes over.
        to: u64,
        /// From the request to the pointer store.
        took_ms: u64,
    },
    /// A canary has ended, and its generation serves.
    Promoted {
        /// The component.
        component: String,
        /// The generation that served until now.
        from: u64,
        /// The one that serves from now on.
        to: u64,
        /// The reason, in one sentence.
        why: String,
    },
    /// A canary has ended, and the generation before goes on.
    Aborted {
        /// The component.
        component: String,
        /// The generation that goes on.
        from: u64,
        /// The one that was taken back.
        to: u64,
        /// The reason, in one sentence.
        why: String,
    },
    /// The bytes are those that are served already.
    Unchanged {
        /// The generation that goes on serving.
        generation: u64,
    },
    /// What the manifest says is in force.
    Reloaded {
        /// Components that serve from now on.
        added: Vec<String>,
        /// Components on a new generation: other code, grants or limits.
        changed: Vec<String>,
        /// Components that do not serve any more.
        removed: Vec<String>,
        /// Components with a new generation that takes over step by step; left out if there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        canaries: Vec<String>,
        /// Whether requests may go other ways.
        routes: bool,
        /// Certificates of listeners that are new, in words; left out if there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        certificates: Vec<String>,
        /// Components that stay as a change has made them that was asked for later; left out if there
        /// are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<String>,
        /// Parts of the manifest that have changed and stay as they were until a restart.
        restart: Vec<String>,
        /// From the request to the pointer store.
        took_ms: u64,
    },
    /// The generation before goes on serving.
    Rejected {
        /// The step at which it failed.
        step: String,
        /// The reason, in one sentence.
        why: String,
        /// The functions that were running, one a line, the innermost first, if the new version trapped; left out
        /// if not.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        stack: Vec<String>,
    },
}

impl ChangeOutcome {
    /// A refusal before anything was tried.
    #[must_use]
    pub fn refused(why: String) -> Self {
        Self::Rejected { step: "ask".into(), why, stack: Vec::new() }
    }
}

/// One line of a followed swap or reload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ChangeLine {
    /// What became of the change: the first line.
    Outcome(ChangeOutcome),
    /// How far a canary is, or how it ended. Nothing follows once all have.
    Canary(CanaryStatus),
}

/// The latest swap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastChange {
    /// How long ago it ended.
    pub ago_ms: u64,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: ChangeOutcome,
    /// What asked for it: `host ctl`, `SIGHUP` or `--watch`; `canary` for the end of one that nobody asked for.
    pub trigger: String,
}

/// Body of `POST /v1/swap`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwapRequest {
    /// The new component, an absolute path: the host's directory is not the client's.
    pub path: PathBuf,
    /// Which component it is for; not needed if there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// How it takes over; as the manifest has it if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryRequest>,
    /// Answer with lines until the canary has ended, if there is one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
}

/// Body of `POST /v1/reload`; without a body nothing of it is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadRequest {
    /// Answer with lines until all canaries that it begins have ended.
    pub follow: bool,
}

/// Body of `POST /v1/rollback`, `promote` and `abort`; without a body nothing of it is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RollbackRequest {
    /// Which component; not needed if there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
}

/// Body of the other commands: there is nothing to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmptyRequest {}

/// Why a command was not carried out: the body of every answer that is none of 2xx and 422.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandError {
    /// One sentence, with what to do where there is something.
    pub error: String,
}
