//! `host compile`, and the bounds of compiling for all commands.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use host_manifest::{ByteSize, HumanDuration, SwapConfig, defaults};

use super::super::checked::CompileConfig;
use super::complaint::refuse;

#[derive(Debug, Args)]
pub(super) struct CompileArgs {
    /// The component, a .wasm or .wat file
    #[arg(value_name = "APP.wasm")]
    app: PathBuf,

    /// Where its code is written, replacing the file that is there; `-` for stdout, if that is no terminal
    #[arg(short, long, value_name = "APP.cwasm")]
    output: PathBuf,

    #[command(flatten)]
    bounds: BoundArgs,
}

impl CompileArgs {
    pub(super) fn checked(self) -> Result<CompileConfig, clap::Error> {
        let Self { app, output, bounds } = self;
        let (time, memory) = bounds.checked()?;
        Ok(CompileConfig { app, output, time, memory })
    }
}

/// What compiling may take, for all commands that compile.
#[derive(Debug, Args)]
pub(super) struct BoundArgs {
    /// How long compiling may take; then the component is refused
    #[arg(long, value_name = "TIME", default_value = defaults::COMPILE_TIMEOUT)]
    pub(super) compile_timeout: HumanDuration,

    /// Memory that compiling one component may take; then it is refused. It is compiled by a process
    /// of its own, beside traffic at the lowest priority
    #[arg(long, value_name = "SIZE", default_value = defaults::COMPILE_MEMORY)]
    pub(super) compile_memory: ByteSize,
}

impl BoundArgs {
    /// Time and bytes, for a command that does not swap.
    pub(super) fn checked(&self) -> Result<(Duration, u64), clap::Error> {
        let (time, memory) = (self.compile_timeout.0, self.compile_memory.0);
        let swap = SwapConfig {
            watch: false,
            compile: time,
            compile_memory: memory,
            retire: time,
            retired: 0,
        };
        refuse(swap.faults())?;
        Ok((time, memory))
    }
}
