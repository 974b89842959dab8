//! What is in flight, by kind.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::guard::Tracker;
use super::words::in_flight;

/// Between two looks at exchanges whose connections have ended.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What is in flight, by kind. Cloning gives another handle to the same trackers.
///
/// Listeners close first, connections end next and exchanges live inside connections; only work that
/// an instance does after its answer outlives its connection.
#[derive(Clone, Debug)]
pub struct Trackers {
    /// Listeners that still accept. A token per listener, dropped when its queue is empty and it
    /// is closed.
    pub listeners: TaskTracker,
    /// Connections from accept to close.
    pub connections: Tracker,
    /// Exchanges, from the request's head to the last frame of the response body.
    pub exchanges: Tracker,
    /// Instances that work on after their answer.
    pub afterwork: Tracker,
    /// Instances that outlive their exchanges, because an operator lets them be reused.
    pub instances: Tracker,
    /// Swaps that have been asked for and whose outcome has not been told.
    pub swaps: Tracker,
    /// Upgrades of the process: one that is under way, and the predecessor until it has ended.
    pub upgrades: Tracker,
}

impl Default for Trackers {
    fn default() -> Self {
        Self {
            listeners: TaskTracker::new(),
            connections: Tracker::awaited(),
            exchanges: Tracker::named(),
            afterwork: Tracker::awaited(),
            instances: Tracker::awaited(),
            swaps: Tracker::awaited(),
            upgrades: Tracker::awaited(),
        }
    }
}

impl Trackers {
    /// Waits until no listener accepts.
    pub async fn listeners_closed(&self) {
        self.listeners.close();
        self.listeners.wait().await;
    }

    /// Waits until no connection, exchange or instance is in flight. Exchanges live inside connections; only the task of an
    /// HTTP/2 stream may take a moment longer to see that its connection has ended.
    pub async fn nothing_served(&self) {
        self.connections.idle().await;
        while self.exchanges.in_flight() > 0 {
            sleep(LOOK_AGAIN).await;
        }
        self.afterwork.idle().await;
        self.instances.idle().await;
    }

    /// What is in flight, in words.
    #[must_use]
    pub fn left(&self) -> String {
        let count = |tracker: &Tracker| tracker.in_flight() as u64;
        in_flight(
            (count(&self.exchanges), count(&self.connections)),
            (count(&self.afterwork), count(&self.instances)),
            count(&self.upgrades),
        )
    }
}
