//! The logs of the process: the host's own, the access log, and what guests print.

use std::time::Duration;

use anyhow::Context as _;
use host_lifecycle::Lifecycle;
use host_log::{AccessLog, Log};
use host_manifest::{AccessLogTarget, LogConfig};
use tokio::time::Instant;
use tracing_subscriber::EnvFilter;

use crate::admin::LogCounts;
use crate::component::GuestLogs;

/// At the end, lines that have not been written yet wait this long for their reader or their disk.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// All of them, open.
#[derive(Debug)]
pub(super) struct Logs {
    host: Log,
    access: Option<AccessLog>,
    guests: GuestLogs,
}

impl Logs {
    /// Opens what `config` asks for; the host logs of itself what `filter` lets pass.
    pub(super) fn open(config: &LogConfig, filter: EnvFilter) -> anyhow::Result<Self> {
        let host = host_log::start(filter, config.format).context("no thread for the log")?;
        let access = AccessLog::open(config).with_context(|| match &config.access {
            AccessLogTarget::File(path) => {
                format!("cannot write the access log {}", path.display())
            }
            _ => "cannot write the access log".to_owned(),
        })?;
        Ok(Self { host, access, guests: GuestLogs::new(config.format) })
    }

    /// The access log, if there is one.
    pub(super) fn access(&self) -> Option<AccessLog> {
        self.access.clone()
    }

    /// What they have lost.
    pub(super) fn counts(&self) -> LogCounts {
        LogCounts::new(self.access(), self.guests())
    }

    /// Where guests print.
    pub(super) fn guests(&self) -> GuestLogs {
        self.guests.clone()
    }

    /// Opens files again whenever somebody sends SIGUSR1. Its task lives as long as the lifecycle's runtime.
    pub(super) fn reopen_on_signal(&self, lifecycle: &Lifecycle) {
        let (reopens, access, guests) =
            (lifecycle.reopens(), self.access.clone(), self.guests.clone());
        lifecycle.runtime().spawn(async move {
            loop {
                reopens.next().await;
                guests.reopen();
                if let Some(access) = &access {
                    access.reopen();
                }
            }
        });
    }

    /// Writes what there is to be written, then `last`. Blocks for a bounded time.
    pub(super) fn end(self, last: &str) {
        let until = Instant::now() + END_PATIENCE;
        // All at once: one that hangs leaves the others their time.
        self.guests.begin_end();
        if let Some(access) = self.access {
            access.end(until);
        }
        self.guests.end(until);
        self.host.end(last);
    }
}
