//! What goes over the control socket, in both directions, as JSON. `docs/control.md` shows each type;
//! a test compares the two.
//!
//! Fields are added without a new version; [`SCHEMA`] changes when one is renamed, removed or means
//! something else. Times are milliseconds, counted back from the moment of the answer where a name
//! says age, ago or since.

mod canary;
mod changes;
mod keyvalue;
mod status;
mod stop;
mod traffic;
mod upgrade;
mod usage;

pub use canary::{CanaryEndStatus, CanaryList, CanaryRequest, CanaryStatus, CanaryTraffic};
pub use changes::{
    ChangeLine, ChangeOutcome, CommandError, EmptyRequest, LastChange, ReloadRequest,
    RollbackRequest, SwapRequest,
};
pub use keyvalue::{
    BucketList, BucketName, BucketStatus, KeyList, KeyRequest, KeyValue, KeyWritten, KeysRequest,
    SetRequest,
};
pub use status::{
    ComponentStatus, ConnectionActivity, ConnectionCounts, ConnectionList, ConnectionStatus,
    GenerationList, GenerationState, GenerationStatus, InstanceCount, ProtocolName,
    RateLimitStatus, Status, StopStatus, StoreStatus, TlsCertificateStatus, TlsListenerStatus,
};
pub use stop::{PhaseName, StopEnd, StopLine, StopProgress, StopRequest};
pub use traffic::{
    EventStatus, ExchangeStatus, PlotLine, PlotPoint, RouteStatus, TrafficHistory, TrafficReport,
    TrafficStatus,
};
pub use upgrade::{UpgradeReport, UpgradeRequest};
pub use usage::{UsageFigures, UsageList, UsageStatus};

/// Version of everything in this module.
pub const SCHEMA: &str = "1";

#[cfg(test)]
mod tests;
