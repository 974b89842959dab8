//! What goes over the control socket, in both directions, as JSON. `docs/control.md` shows each type;
//! a test compares the two.
//!
//! Fields are added without a new version; [`SCHEMA`] changes when one is renamed, removed or means
//! something else. Times are milliseconds, counted back from the moment of the answer where a name
//! says age, ago or since.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Version of everything in this module.
pub const SCHEMA: &str = "1";

/// The process as a whole: `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the host.
    pub version: String,
    /// Number of the process.
    pub pid: u32,
    /// Since the start of the process.
    pub uptime_ms: u64,
    /// Where it stands.
    pub phase: Phase,
    /// The stop that is under way, if one is.
    pub stopping: Option<Stopping>,
    /// Where it listens, as the ready line prints it; empty before it is ready.
    pub addresses: Vec<String>,
    /// Connections by what they are doing.
    pub connections: ConnectionCounts,
    /// Exchanges whose answer has not been handed over whole.
    pub exchanges_in_flight: u64,
    /// Instances at work after their answer.
    pub afterwork_in_flight: u64,
    /// Instances and how many there may be.
    pub instances: Instances,
    /// Versions of the component: current, previous, and those that still finish work.
    pub generations: Vec<Generation>,
    /// What became of the latest swap, if there was one.
    pub last_swap: Option<LastSwap>,
    /// What is served, by name.
    pub components: Vec<Component>,
    /// Key-value stores that fail; empty while all work.
    #[serde(default)]
    pub stores: Vec<StoreTrouble>,
    /// Limits in force, by the name of their flag, as people write them.
    pub limits: BTreeMap<String, String>,
}

/// Where the process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Not ready yet.
    Starting,
    /// Serving.
    Ready,
    /// Not ready any more, still accepting.
    LameDuck,
    /// Finishing what is in flight.
    Draining,
    /// Ending by force what is left.
    Cut,
}

impl Phase {
    /// The phase as the JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::LameDuck => "lame-duck",
            Self::Draining => "draining",
            Self::Cut => "cut",
        }
    }
}

/// A stop that has been asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// How long ago.
    pub asked_ms_ago: u64,
    /// From being asked to the cut.
    pub deadline_ms: u64,
}

/// How many connections there are, by what they are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionCounts {
    /// All of them.
    pub open: u64,
    /// See [`Doing::Idle`].
    pub idle: u64,
    /// See [`Doing::Reading`].
    pub reading: u64,
    /// See [`Doing::Serving`].
    pub serving: u64,
    /// See [`Doing::Writing`].
    pub writing: u64,
}

/// Instances and their limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instances {
    /// How many there are.
    pub in_use: u64,
    /// How many there may be.
    pub limit: u64,
}

/// A key-value store that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreTrouble {
    /// Where it is, without a password.
    pub store: String,
    /// Why its last operation failed.
    pub why: String,
    /// Since the first one did so.
    pub failing_ms: u64,
}

/// One component as it is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Number of the generation that serves.
    pub generation: u64,
    /// Instances that serve, and how many may.
    pub instances: Instances,
    /// Bytes of linear memory of all its instances.
    pub memory: u64,
    /// It keeps failing and is put aside for so long.
    pub put_aside_ms: Option<u64>,
}

/// Answer to `GET /v1/generations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generations {
    /// Newest first.
    pub generations: Vec<Generation>,
}

/// One loaded version of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Counted from 1 in the life of the process.
    pub number: u64,
    /// Name of the component.
    pub component: String,
    /// The file it was loaded from.
    pub path: PathBuf,
    /// Digest of the file's bytes.
    pub digest: String,
    /// What it was built against.
    pub kind: String,
    /// Its place.
    pub state: GenerationState,
    /// Exchanges and work after answers that it still has.
    pub in_flight: u64,
    /// Made so long ago.
    pub since_ms: u64,
    /// A retired one's work is cut in so many milliseconds.
    pub deadline_ms: Option<u64>,
}

/// The place of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GenerationState {
    /// Gets every new request.
    Current,
    /// Kept for a rollback.
    Previous,
    /// Finishes its work, then is freed.
    Retired,
}

/// The latest swap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSwap {
    /// How long ago it ended.
    pub ago_ms: u64,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Who asked for it.
    pub trigger: String,
}

/// Answer to `GET /v1/connections`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Oldest first.
    pub connections: Vec<Connection>,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Its number, which the log uses too.
    pub id: u64,
    /// The peer's address; `unix` for a Unix socket.
    pub peer: String,
    /// The address on which it was accepted.
    pub listener: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// What it is doing.
    pub state: Doing,
    /// Since accept.
    pub age_ms: u64,
    /// Since a byte last went either way.
    pub idle_ms: u64,
    /// Requests that have come on it.
    pub exchanges_served: u64,
    /// Requests whose answer has not been handed over whole.
    pub exchanges_in_flight: u64,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// Not known before its first bytes.
    #[serde(rename = "unknown")]
    Unknown,
    /// HTTP/1.0 or HTTP/1.1.
    #[serde(rename = "http/1")]
    Http1,
    /// HTTP/2.
    #[serde(rename = "http/2")]
    Http2,
}

impl Protocol {
    /// The protocol as the JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Http1 => "http/1",
            Self::Http2 => "http/2",
        }
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doing {
    /// Kept alive; nothing has begun and nothing is owed.
    Idle,
    /// A request's head or body is arriving.
    Reading,
    /// A request is here and its answer is not whole yet.
    Serving,
    /// The peer does not take the bytes of its answer.
    Writing,
}

impl Doing {
    /// The state as the JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Reading => "reading",
            Self::Serving => "serving",
            Self::Writing => "writing",
        }
    }
}

/// What became of a reload, a swap or a rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The next request runs the new generation.
    Swapped {
        /// The generation that served until now.
        from: u64,
        /// The one that serves from now on.
        to: u64,
        /// From being asked to the store.
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
        /// From being asked to the store.
        took_ms: u64,
    },
    /// The generation before goes on serving.
    Rejected {
        /// How far it came.
        step: String,
        /// Why no further, in one sentence.
        why: String,
    },
}

/// Body of `POST /v1/swap`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swap {
    /// The new component, an absolute path: the host's directory is not the client's.
    pub path: PathBuf,
    /// Which component it is for; not needed if there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
}

/// Body of `POST /v1/rollback`; without a body nothing of it is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rollback {
    /// Which component; not needed if there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
}

/// Body of `POST /v1/stop`; without a body nothing of it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stop {
    /// Cut at once.
    pub now: bool,
    /// Answer with [`Line`]s until the end.
    pub follow: bool,
}

/// Body of the other commands: there is nothing to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nothing {}

/// What is in flight: answer to stop, drain and undrain, and a line of a followed stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Where the process stands.
    pub phase: Phase,
    /// Since the stop was asked for; 0 while none is.
    pub elapsed_ms: u64,
    /// From being asked to the cut; none while no stop is under way.
    pub deadline_ms: Option<u64>,
    /// Exchanges in flight.
    pub exchanges: u64,
    /// Connections that are open.
    pub connections: u64,
    /// Instances at work after their answer.
    pub afterwork: u64,
}

/// How the process ended: the last line of a followed stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The exit code.
    pub exit: u8,
    /// The last line that the host prints.
    pub report: String,
}

/// One line of a followed stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// The end; nothing follows.
    Ended(Ended),
    /// Who is left.
    Progress(Progress),
}

/// Why a command was not carried out: the body of every answer that is none of 2xx and 422.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// One sentence, with what to do where there is something.
    pub error: String,
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
