//! Changes of what is served, and why a command was not carried out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
        /// Whether requests may go other ways.
        routes: bool,
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
    },
}

/// The latest swap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastChange {
    /// How long ago it ended.
    pub ago_ms: u64,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: ChangeOutcome,
    /// What asked for it: `host ctl`, `SIGHUP` or `--watch`.
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
}

/// Body of `POST /v1/rollback`; without a body nothing of it is said.
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
