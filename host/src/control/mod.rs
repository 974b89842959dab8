//! What an operator asks of a running host: the control socket and the answers of health.
//!
//! ```text
//! host ctl, curl ─→ socket ─→ server ─→ Host (the process, handed in)
//! load balancer  ─→ health ─→ PhaseWatch
//! browser        ─→ dashboard ─→ Host
//!                     all: accept ─→ connection (hyper, with our deadlines)
//! ```
//!
//! Runs on the lifecycle's runtime, so that it answers while guests spin on every core. May not
//! know wasmtime, components, exchanges or the listeners' insides: it sees them through [`Host`].

mod accept;
mod connection;
mod connection_limit;
mod dashboard;
mod deadlines;
mod follow;
mod health;
mod keyvalue;
mod metrics_format;
mod metrics_pages;
mod opening;
mod rejection;
mod reply;
mod request_body;
mod routes;
pub mod schema;
mod server;
mod socket;

use std::path::PathBuf;
use std::pin::Pin;

use tokio::sync::watch;

pub use dashboard::DashboardServer;
pub use health::HealthServer;
pub use keyvalue::{BucketAnswer, BucketFuture, BucketOperation, BucketRefusal, LARGEST_VALUE};
pub use metrics_format::MetricsFormat;
pub use opening::{OperatorsHandle, TcpOpening};
pub use server::ControlServer;
pub use socket::{
    ControlOpening, ControlSocket, SocketChoice, SocketError, default_directory, open, path_of,
};

use schema::{
    BucketName, BucketStatus, CanaryRequest, CanaryStatus, ChangeOutcome, CommandError,
    ConnectionStatus, GenerationStatus, Status, StopEnd, StopProgress, TrafficHistory,
    TrafficReport, UpgradeReport, UpgradeRequest, UsageStatus,
};

/// A command under way. It is run to its end even if the client has left.
pub type CommandFuture = Pin<Box<dyn Future<Output = ChangeOutcome> + Send>>;

/// An upgrade under way. It is carried out to its end even if the client has left.
pub type UpgradeFuture = Pin<Box<dyn Future<Output = Result<UpgradeReport, CommandError>> + Send>>;

/// The process, as an operator sees it. The composition of the process implements it.
///
/// All calls come on the lifecycle's one thread: none may block.
pub trait Host: Send + Sync + 'static {
    /// The whole, at this moment.
    fn status(&self) -> Status;

    /// Every connection, oldest first.
    fn connections(&self) -> Vec<ConnectionStatus>;

    /// Every generation that is still here, newest first.
    fn generations(&self) -> Vec<GenerationStatus>;

    /// What the traffic was lately.
    fn traffic_report(&self) -> TrafficReport;

    /// What each component uses, by name.
    fn usage(&self) -> Vec<UsageStatus>;

    /// The buckets of all components.
    fn buckets(&self) -> Vec<BucketStatus>;

    /// Carries out an operation on a bucket of a component. Bounded by the store.
    fn key_value(&self, name: BucketName, operation: BucketOperation) -> BucketFuture;

    /// The last 15 minutes of all, and of the components with most traffic, at most so many.
    fn history(&self, at_most: usize) -> TrafficHistory;

    /// Is told once a second that there is something new to see.
    fn ticks(&self) -> watch::Receiver<u64>;

    /// Loads again what is served: the manifest and its files, or the component's file. Bounded by
    /// the implementation.
    fn reload(&self) -> CommandFuture;

    /// Reads the certificates of listeners again, and nothing else. Bounded by the implementation.
    fn reload_tls(&self) -> CommandFuture;

    /// Swaps a component, the only one if none is named, to the file at this absolute path: as
    /// `canary` says, or else as the manifest does. Bounded by the implementation.
    fn swap(
        &self,
        component: Option<String>,
        path: PathBuf,
        canary: Option<CanaryRequest>,
    ) -> CommandFuture;

    /// Swaps a component, the only one if none is named, to the generation that is kept for it; or takes its
    /// canary back. Bounded by the implementation.
    fn rollback(&self, component: Option<String>) -> CommandFuture;

    /// Gives the canary of a component, the only one if none is named, all exchanges. Bounded by the
    /// implementation.
    fn promote(&self, component: Option<String>) -> CommandFuture;

    /// Takes the canary of a component back. Bounded by the implementation.
    fn abort(&self, component: Option<String>) -> CommandFuture;

    /// The canaries that are under way, and the last ones before them; the latest one last.
    fn canaries(&self) -> Vec<CanaryStatus>;

    /// Has a new process take over from this one. Bounded by the implementation.
    fn upgrade(&self, request: UpgradeRequest) -> UpgradeFuture;

    /// Begins a lame duck by hand.
    ///
    /// # Errors
    /// When the phase does not allow it.
    fn drain(&self) -> Result<(), CommandError>;

    /// Takes a lame duck by hand back.
    ///
    /// # Errors
    /// When the phase does not allow it.
    fn undrain(&self) -> Result<(), CommandError>;

    /// Asks for a stop, or with `now` for one that cuts at once. Asking again is no error.
    ///
    /// # Errors
    /// When another process is the service since an upgrade: that one is to be asked.
    fn stop(&self, now: bool) -> Result<(), CommandError>;

    /// What is in flight at this moment.
    fn progress(&self) -> StopProgress;

    /// How the process has ended, once it has.
    fn ended(&self) -> watch::Receiver<Option<StopEnd>>;
}

#[cfg(test)]
mod fake;
