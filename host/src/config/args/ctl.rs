//! The command line of `host ctl`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::complaint::complaint;

/// Everything `host ctl` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CtlConfig {
    /// Which host is meant.
    pub target: CtlTarget,
    /// Print the host's own JSON.
    pub json: bool,
    /// What is asked of it.
    pub command: CtlCommand,
}

/// Which host is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CtlTarget {
    /// The only one that runs for this user.
    Only,
    /// That with this process number.
    Pid(u32),
    /// That with its control socket here.
    Socket(PathBuf),
}

/// What is asked of a host.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum CtlCommand {
    /// Say how the host is: phase, work in flight, connections, generations, limits
    Status,
    /// List the connections: peer, age, state
    Connections,
    /// List the loaded versions of the component
    Generations,
    /// Load again what is served, the manifest and its files or the component's file, and swap what
    /// has changed
    Reload,
    /// Swap a component to another file, without losing a request
    Swap {
        /// Which component, if there are several: its name in the manifest
        #[arg(long, value_name = "NAME")]
        component: Option<String>,
        /// The new component: a .wasm or .wat file
        #[arg(value_name = "NEW.wasm")]
        path: PathBuf,
    },
    /// Go back to the version before
    Rollback {
        /// Which component, if there are several: its name in the manifest
        #[arg(long, value_name = "NAME")]
        component: Option<String>,
    },
    /// Take the host out of service by hand: not ready, still answering
    Drain,
    /// Put it back into service
    Undrain,
    /// Stop the host: finish what is in flight, then exit
    Stop {
        /// Cut what is in flight at once
        #[arg(long)]
        now: bool,
        /// Follow the stop to its end and exit with the host's own code
        #[arg(long)]
        wait: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct CtlArgs {
    /// Process number of the host; needed only if several run
    #[arg(long, value_name = "N", global = true)]
    pid: Option<u32>,

    /// Control socket of the host, if it was started with --control PATH
    #[arg(long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,

    /// Print the host's own JSON, as docs/control.md has it
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: CtlCommand,
}

impl CtlArgs {
    pub(super) fn checked(self) -> Result<CtlConfig, clap::Error> {
        let Self { pid, socket, json, command } = self;
        let target = match (socket, pid) {
            // clap sees no conflict between an option before the command and one behind it.
            (Some(_), Some(_)) => {
                return Err(complaint("--pid cannot be used with --socket: either names the host"));
            }
            (Some(socket), None) => CtlTarget::Socket(socket),
            (None, Some(pid)) => CtlTarget::Pid(pid),
            (None, None) => CtlTarget::Only,
        };
        Ok(CtlConfig { target, json, command })
    }
}
