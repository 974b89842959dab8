//! Flags of one component: its grants, and how its instances are reused.

use std::time::Duration;

use clap::Args;
use host_manifest::{GrantFlag, HumanDuration, ReuseConfig, STRICT, defaults};

use super::complaint::complaint;

#[derive(Debug, Args)]
#[command(next_help_heading = "Guests")]
pub(super) struct GuestArgs {
    /// Give guests something that they do not have by default; may be given several times.
    /// request-shutdown: the import of that name in host:lifecycle stops the process
    /// [default: none]
    #[arg(long = "grant", value_name = "GRANT")]
    pub(super) grants: Vec<GrantFlag>,

    /// Requests that one instance serves in its life. 1, the default, is a fresh instance for each
    /// request: nothing of one is left for the next, and a guest that breaks breaks one. More is
    /// for guests that are slow to start and to be trusted that far
    #[arg(long, value_name = "N", default_value = defaults::REUSE)]
    reuse: u32,

    /// Requests that one instance serves at once: for wasi:http 0.3, with --reuse
    #[arg(long, value_name = "N", default_value = defaults::REUSE_CONCURRENCY)]
    reuse_concurrency: u32,

    /// How long an instance waits for its next request before it ends, with --reuse
    #[arg(long, value_name = "TIME", default_value = defaults::REUSE_IDLE)]
    reuse_idle: HumanDuration,

    /// How long a lifecycle hook of a guest may take: on-start, on-drain, on-shutdown
    #[arg(long, value_name = "TIME", default_value = defaults::HOOK_TIMEOUT)]
    #[arg(default_value_if("profile", "strict", STRICT.hook_timeout))]
    pub(super) hook_timeout: HumanDuration,
}

impl GuestArgs {
    pub(super) fn reuse(&self) -> Result<Option<ReuseConfig>, clap::Error> {
        let Self { reuse, reuse_concurrency, reuse_idle, .. } = *self;
        if reuse == 0 || reuse_concurrency == 0 {
            return Err(complaint(
                "--reuse and --reuse-concurrency must be at least 1, which is no reuse",
            ));
        }
        if reuse == 1 && reuse_concurrency > 1 {
            return Err(complaint("--reuse-concurrency takes --reuse N with N above 1"));
        }
        if reuse_idle.0 == Duration::ZERO {
            return Err(complaint("--reuse-idle must be longer than 0s"));
        }
        let reuse =
            ReuseConfig { exchanges: reuse, concurrency: reuse_concurrency, idle: reuse_idle.0 };
        Ok((reuse.exchanges > 1).then_some(reuse))
    }
}
