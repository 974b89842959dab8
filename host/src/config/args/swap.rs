//! Flags of swapping.

use clap::Args;
use host_manifest::{HumanDuration, SmokeCheck, SwapConfig, defaults};

use super::compile::BoundArgs;
use super::complaint::refuse;

#[derive(Debug, Args)]
#[command(next_help_heading = "Swapping")]
pub(super) struct SwapArgs {
    /// Swap by itself when the component's file changes: replaced, written in place, or behind a
    /// symbolic link that is turned. In production a deploy had better ask for its swap and read the
    /// outcome [default: off]
    #[arg(long)]
    pub(super) watch: bool,

    /// A request that a new version must answer with this status before it serves; may be given
    /// several times. It is made without a socket, on an instance of its own [default: none]
    #[arg(long, value_name = "'METHOD PATH STATUS'")]
    pub(super) smoke: Vec<SmokeCheck>,

    #[command(flatten)]
    bounds: BoundArgs,

    /// From a swap to the moment when what still runs on the version before is cut
    #[arg(long, value_name = "TIME", default_value = defaults::RETIRE_TIMEOUT)]
    retire_timeout: HumanDuration,

    /// Replaced versions that may linger until their last exchange ends; one more, and the oldest
    /// is cut
    #[arg(long, value_name = "N", default_value = defaults::MAX_RETIRED)]
    max_retired: usize,
}

impl SwapArgs {
    pub(super) fn checked(&self) -> Result<SwapConfig, clap::Error> {
        let swap = SwapConfig {
            watch: self.watch,
            compile: self.bounds.compile_timeout.0,
            compile_memory: self.bounds.compile_memory.0,
            retire: self.retire_timeout.0,
            retired: self.max_retired,
        };
        refuse(swap.faults())?;
        Ok(swap)
    }
}
