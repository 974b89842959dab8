//! Flags of stopping.

use clap::Args;
use host_manifest::{HumanDuration, StopConfig, defaults};

use super::complaint::complaint;

#[derive(Debug, Args)]
#[command(next_help_heading = "Stopping")]
pub(super) struct StopArgs {
    /// After SIGTERM, keep accepting for this long while saying `Connection: close`. Kubernetes
    /// needs about 5s, because it withdraws endpoints beside the signal; part of --drain-timeout
    #[arg(long, value_name = "TIME", default_value = defaults::DRAIN_DELAY)]
    drain_delay: HumanDuration,

    /// From SIGTERM to the moment when what is still running is cut. Keep it below the time that
    /// the supervisor grants (Kubernetes 30s, systemd 90s). A second SIGTERM or SIGINT, 500ms or more
    /// after the first, cuts before that, and SIGQUIT at once
    #[arg(long, value_name = "TIME", default_value = defaults::DRAIN_TIMEOUT)]
    drain_timeout: HumanDuration,

    /// During a stop an idle kept-alive HTTP/1 connection may still send its next request for this
    /// long; it is served. Longer than a client's pause between requests is best
    #[arg(long, value_name = "TIME", default_value = defaults::LINGER)]
    linger: HumanDuration,
}

impl StopArgs {
    pub(super) fn checked(&self) -> Result<StopConfig, clap::Error> {
        if self.drain_delay.0 > self.drain_timeout.0 {
            return Err(complaint(
                "--drain-delay is part of --drain-timeout and cannot be longer; raise \
                 --drain-timeout or lower --drain-delay",
            ));
        }
        Ok(StopConfig {
            delay: self.drain_delay.0,
            timeout: self.drain_timeout.0,
            linger: self.linger.0,
        })
    }
}
