//! Where operators give commands, and where compiled code is kept.

use std::path::PathBuf;

use clap::Args;
use host_manifest::{DashboardAddr, HealthAddr};

use super::super::checked::{CacheSetting, ControlSetting};

#[derive(Debug, Args)]
#[command(next_help_heading = "Operating")]
pub(super) struct OperatingArgs {
    /// Path of the control socket, for `host ctl` and scripts of the same user, or `off`
    /// [default: $XDG_RUNTIME_DIR/host/PID.sock, for root without it /run/host/PID.sock]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,

    /// HOST:PORT for GET /livez (200 until the end), /readyz (200 only while serving) and /metrics, or
    /// `off`.
    /// Apart from --addr, so that a probe waits in no queue [default: off, or the manifest's]
    #[arg(long, value_name = "ADDR")]
    pub(super) health_addr: Option<HealthAddr>,

    /// HOST:PORT for the dashboard, a page for browsers that shows the last 15 minutes; a port alone is one of
    /// 127.0.0.1; or `off` [default: off, or the manifest's]
    #[arg(long, value_name = "ADDR")]
    pub(super) dashboard_addr: Option<DashboardAddr>,
}

impl OperatingArgs {
    pub(super) fn control(&self) -> ControlSetting {
        match &self.control {
            None => ControlSetting::Default,
            Some(path) => ControlSetting::at(path),
        }
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Cache")]
pub(super) struct CacheArgs {
    /// Where compiled code is kept between starts [default: the user's cache directory]
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache")]
    pub(super) cache_dir: Option<PathBuf>,

    /// Compile at every start
    #[arg(long)]
    pub(super) no_cache: bool,
}

impl CacheArgs {
    pub(super) fn checked(&self) -> CacheSetting {
        match (self.no_cache, &self.cache_dir) {
            (true, _) => CacheSetting::Off,
            (false, None) => CacheSetting::Default,
            (false, Some(directory)) => CacheSetting::Directory(directory.clone()),
        }
    }
}
