//! The process, its connections and its generations.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::changes::LastChange;
use super::stop::PhaseName;
use super::traffic::TrafficStatus;

/// The process as a whole: `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: String,
    /// Version of the host.
    pub version: String,
    /// Number of the process.
    pub pid: u32,
    /// Since the start of the process.
    pub uptime_ms: u64,
    /// Where it stands.
    pub phase: PhaseName,
    /// The stop that is under way, if one is.
    pub stopping: Option<StopStatus>,
    /// Where it listens, as the ready line prints it; empty before it is ready.
    pub addresses: Vec<String>,
    /// Connections by what they are doing.
    pub connections: ConnectionCounts,
    /// All exchanges that ended lately.
    #[serde(default)]
    pub traffic: TrafficStatus,
    /// Exchanges whose answer has not been handed over whole.
    pub exchanges_in_flight: u64,
    /// Instances at work after their answer.
    pub afterwork_in_flight: u64,
    /// Instances and how many there may be.
    pub instances: InstanceCount,
    /// Versions of the component: current, previous, and those that still finish work.
    pub generations: Vec<GenerationStatus>,
    /// What became of the latest swap, if there was one.
    pub last_swap: Option<LastChange>,
    /// The certificates of listeners; empty if none has TLS, and before it is ready.
    #[serde(default)]
    pub tls: Vec<TlsListenerStatus>,
    /// What is served, by name.
    pub components: Vec<ComponentStatus>,
    /// Key-value stores that fail; empty while all work.
    #[serde(default)]
    pub stores: Vec<StoreStatus>,
    /// Rate limits of routes; empty while none has one.
    #[serde(default)]
    pub rate_limits: Vec<RateLimitStatus>,
    /// Limits in force, by the name of their flag, as people write them.
    pub limits: BTreeMap<String, String>,
}

/// The certificates of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsListenerStatus {
    /// Its name, or its address.
    pub listener: String,
    /// In the order of the manifest.
    pub certificates: Vec<TlsCertificateStatus>,
    /// Why its latest reload failed, one for each file that could not be used; empty if it did not fail. What was
    /// there before is in use then.
    pub errors: Vec<String>,
}

/// A certificate in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsCertificateStatus {
    /// Its file.
    pub file: PathBuf,
    /// Names that clients ask for it by.
    pub names: Vec<String>,
    /// Its first second, as RFC 3339 has it.
    pub not_before: String,
    /// Its last second, as RFC 3339 has it.
    pub not_after: String,
    /// Seconds until then; less than 0 if it has passed.
    pub left_s: i64,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub sha256: String,
    /// Loaded so long ago.
    pub loaded_ms_ago: u64,
}

/// A stop that has been asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopStatus {
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
    /// See [`ConnectionActivity::Idle`].
    pub idle: u64,
    /// See [`ConnectionActivity::Reading`].
    pub reading: u64,
    /// See [`ConnectionActivity::Serving`].
    pub serving: u64,
    /// See [`ConnectionActivity::Writing`].
    pub writing: u64,
    /// See [`ConnectionActivity::Handshake`].
    #[serde(default)]
    pub handshake: u64,
}

/// Instances and their limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceCount {
    /// How many there are.
    pub in_use: u64,
    /// How many there may be.
    pub limit: u64,
}

/// A key-value store that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Where it is, without a password.
    pub store: String,
    /// Why its last operation failed.
    pub why: String,
    /// Since the first one did so.
    pub failing_ms: u64,
}

/// The rate limit of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimitStatus {
    /// Host and path of the route, as metrics call it.
    pub route: String,
    /// What it asks for.
    pub limit: String,
    /// Keys that it holds: clients, or what else it counts apart.
    pub keys: u64,
    /// Requests that it has refused.
    pub refused: u64,
}

/// One component as it is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// Its name.
    pub name: String,
    /// Number of the generation that serves.
    pub generation: u64,
    /// Instances that serve, and how many may.
    pub instances: InstanceCount,
    /// Bytes of linear memory of all its instances.
    pub memory: u64,
    /// It keeps failing and is put aside for so long.
    pub put_aside_ms: Option<u64>,
    /// What it served lately, also as a plugin.
    #[serde(default)]
    pub traffic: TrafficStatus,
    /// The generation has come by a swap, so long ago.
    #[serde(default)]
    pub swapped_ms_ago: Option<u64>,
}

/// Answer to `GET /v1/generations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationList {
    /// Newest first.
    pub generations: Vec<GenerationStatus>,
}

/// One loaded version of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationStatus {
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
    /// What it gets of the exchanges, if that is neither all nor none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
    /// Why it was taken back, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The place of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GenerationState {
    /// Gets every new request, or those that a canary does not get.
    Current,
    /// Gets a share of the new requests, and is judged by that.
    Canary,
    /// Got a share of them, and was taken back.
    Aborted,
    /// Kept for a rollback.
    Previous,
    /// Finishes its work, then is freed.
    Retired,
}

/// Answer to `GET /v1/connections`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionList {
    /// Oldest first.
    pub connections: Vec<ConnectionStatus>,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionStatus {
    /// Its number, which the log uses too.
    pub id: u64,
    /// The peer's address; `unix` for a Unix socket.
    pub peer: String,
    /// The address on which it was accepted.
    pub listener: String,
    /// What it speaks.
    pub protocol: ProtocolName,
    /// The version of TLS below that, `TLSv1.3` for example; none over a plain connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// What it is doing.
    pub state: ConnectionActivity,
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
pub enum ProtocolName {
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

impl ProtocolName {
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
pub enum ConnectionActivity {
    /// Kept alive; nothing has begun and nothing is owed.
    Idle,
    /// A request's head or body is arriving.
    Reading,
    /// A request is here and its answer is not whole yet.
    Serving,
    /// The peer does not take the bytes of its answer.
    Writing,
    /// The TLS handshake is not done yet.
    Handshake,
}

impl ConnectionActivity {
    /// The state as the JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Reading => "reading",
            Self::Serving => "serving",
            Self::Writing => "writing",
            Self::Handshake => "handshake",
        }
    }
}
