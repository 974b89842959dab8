//! What the steps of a start are handed of the process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use host_keyvalue::Stores;
use host_net::NetCounts;
use host_telemetry::{EventLog, Observers, Traffic};

use super::manager::ServiceManager;
use crate::component::GuestLogs;
use crate::upgrade::{Predecessor, Upgrader};
use host_lifecycle::{Commander, PhaseWatch, SignalWatch, Trackers};

/// A line waits this long for a reader that does not read: neither start nor end may hang.
pub(super) const LINE_PATIENCE: Duration = Duration::from_secs(1);

/// Handles on the rest of the process, for the part that serves.
#[derive(Clone)]
pub(super) struct Process {
    /// Where operators are answered: no guest may ask there.
    pub(super) operators: Vec<SocketAddr>,
    /// Where buckets are kept.
    pub(super) stores: Stores,
    /// Where guests print.
    pub(super) guest_logs: GuestLogs,
    /// Where exchanges are counted.
    pub(super) traffic: Arc<Traffic>,
    /// Where connections are counted.
    pub(super) connections: NetCounts,
    /// Who is told of each exchange that ends.
    pub(super) observers: Observers,
    /// Where it is noted what is done to the process.
    pub(super) events: EventLog,
    pub(super) phase: PhaseWatch,
    /// Has another process take over.
    pub(super) upgrader: Upgrader,
    /// Whom this process takes over from; none if it starts by itself.
    pub(super) predecessor: Option<Arc<Predecessor>>,
    pub(super) trackers: Trackers,
    pub(super) commander: Commander,
    pub(super) hangups: SignalWatch,
    pub(super) manager: ServiceManager,
}
