//! The command line of `host ctl`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use host_manifest::{
    AbortRules, CanaryConfig, CanaryOverrides, HumanDuration, Stickiness, TrafficShare,
};

use super::complaint::{complaint, refuse};

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

/// Columns of `host ctl connections`.
pub const CONNECTION_COLUMNS: [&str; 9] =
    ["id", "peer", "listener", "protocol", "state", "age", "quiet", "requests", "in-flight"];

/// Columns of `host ctl generations`.
pub const GENERATION_COLUMNS: [&str; 9] =
    ["generation", "component", "state", "since", "in-flight", "cut-in", "kind", "digest", "path"];

/// Columns of `host ctl usage`.
pub const USAGE_COLUMNS: [&str; 9] =
    ["component", "time", "cpu", "memory-x-time", "requests", "in", "out", "outgoing", "key-value"];

/// What is asked of a host.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum CtlCommand {
    /// Say how the host is: phase, the last minute, work in flight, components
    Status {
        /// Print the limits in force instead
        #[arg(long)]
        limits: bool,
    },
    /// Show the host live, with its worst routes and slowest exchanges; q leaves
    Top,
    /// List the connections: peer, age, state
    Connections {
        /// Sort by this column, the greatest first [default: the oldest first]
        #[arg(long, value_name = "COLUMN", value_parser = CONNECTION_COLUMNS)]
        sort: Option<String>,
    },
    /// List the loaded versions of the component
    Generations {
        /// Sort by this column, the greatest first [default: the newest first]
        #[arg(long, value_name = "COLUMN", value_parser = GENERATION_COLUMNS)]
        sort: Option<String>,
    },
    /// Say what each component uses: CPU time, memory, requests, bytes; since the start, and in the last minute
    Usage {
        /// Sort by this column of what was used since the start, the greatest first [default: by name]
        #[arg(long, value_name = "COLUMN", value_parser = USAGE_COLUMNS)]
        sort: Option<String>,
    },
    /// List the buckets of components; read and write their pairs
    Kv {
        /// Which component, if several have a bucket of this name: its name in the manifest
        #[arg(long, value_name = "NAME", global = true)]
        component: Option<String>,
        /// What is done.
        #[command(subcommand)]
        action: KvAction,
    },
    /// Load again what is served, the manifest and its files or the component's file, and swap what
    /// has changed
    Reload {
        /// Follow the canaries that it begins to their end; exit with 5 if one is taken back
        #[arg(long)]
        wait: bool,
    },
    /// Read the certificates of listeners again, and nothing else. The next handshake has them; no connection ends
    ReloadTls,
    /// Swap a component to another file, without losing a request
    Swap {
        /// Which component, if there are several: its name in the manifest
        #[arg(long, value_name = "NAME")]
        component: Option<String>,
        /// The new component: a .wasm or .wat file
        #[arg(value_name = "NEW.wasm")]
        path: PathBuf,
        /// How it takes over.
        #[command(flatten)]
        canary: CanaryFlags,
        /// Follow the canary to its end; exit with 5 if it is taken back
        #[arg(long)]
        wait: bool,
    },
    /// Show the canaries: share, requests, errors and p99 of both versions
    Canary {
        /// Follow those under way to their end; exit with 5 if one is taken back
        #[arg(long)]
        wait: bool,
        /// What is done to one.
        #[command(subcommand)]
        action: Option<CanaryAction>,
    },
    /// Go back to the version before; or take a canary back, while one is under way
    Rollback {
        /// Which component, if there are several: its name in the manifest
        #[arg(long, value_name = "NAME")]
        component: Option<String>,
    },
    /// Have a new process take over, of a newer program or with another manifest, without a connection refused or closed
    Upgrade {
        /// The program [default: what is now where this one was started from]
        #[arg(long, value_name = "PATH")]
        binary: Option<PathBuf>,
        /// The manifest or component [default: the one that is named on the host's own command line]
        #[arg(long, value_name = "PATH")]
        config: Option<PathBuf>,
        /// How long it may take until it is ready [default: 6m]
        #[arg(long, value_name = "TIME")]
        timeout: Option<HumanDuration>,
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

/// What is done with the buckets of components.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum KvAction {
    /// List the buckets: component, name, where it is kept
    Buckets,
    /// List the keys of a bucket, one a line
    List {
        /// The name by which the component opens it
        bucket: String,
        /// Only keys that begin with this
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        prefix: String,
        /// So many keys at most [default: all]
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Print the value of a key, byte by byte
    Get {
        /// The name by which the component opens the bucket
        bucket: String,
        /// The key
        key: String,
    },
    /// Set the value of a key
    Set {
        /// The name by which the component opens the bucket
        bucket: String,
        /// The key
        key: String,
        /// The value [default: what comes on stdin, byte by byte]
        value: Option<String>,
        /// How long it stays [default: for good]
        #[arg(long, value_name = "TIME")]
        ttl: Option<HumanDuration>,
    },
    /// Remove a key, if it is there
    Del {
        /// The name by which the component opens the bucket
        bucket: String,
        /// The key
        key: String,
    },
}

/// What is done to a canary.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum CanaryAction {
    /// Give the new version all requests now
    Promote {
        /// Which component, if there are several: its name in the manifest
        #[arg(long, value_name = "NAME")]
        component: Option<String>,
    },
    /// Take the new version back; the one before goes on
    Abort {
        /// Which component, if there are several: its name in the manifest
        #[arg(long, value_name = "NAME")]
        component: Option<String>,
    },
}

/// How a new version takes over. What is left out is as in the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct CanaryFlags {
    /// Let the new version take over step by step: 1% of the requests, then this share, then twice as much with each
    /// step until it gets all; off for all at once [default: as the manifest has it, or off]
    #[arg(long, value_name = "SHARE|off")]
    pub canary: Option<CanaryShare>,

    /// How long that takes [default: 60s]
    #[arg(long = "for", value_name = "TIME")]
    pub period: Option<HumanDuration>,

    /// What takes the new version back: 'errors > SHARE', 'pN > FACTORx' or 'pN > TIME', several with a comma between
    /// them, or never [default: 'errors > 1%, p99 > 2x']
    #[arg(long, value_name = "RULES")]
    pub abort_if: Option<AbortRules>,

    /// Which requests stay with one version: connection, or header:NAME, those with the same value of it [default: off]
    #[arg(long, value_name = "connection|header:NAME|off")]
    pub sticky: Option<Stickiness>,
}

/// What a canary gets after its first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryShare {
    /// There is no canary.
    Off,
    /// This share.
    Share(TrafficShare),
}

impl FromStr for CanaryShare {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            text => text.parse().map(Self::Share).map_err(|why: String| format!("{why}, or off")),
        }
    }
}

impl CanaryFlags {
    fn check(&self) -> Result<(), clap::Error> {
        let Self { canary, period, abort_if, sticky } = self;
        let others = [
            ("--for", period.is_some()),
            ("--abort-if", abort_if.is_some()),
            ("--sticky", sticky.is_some()),
        ];
        if let Some((flag, _)) = others.iter().find(|(_, given)| *given)
            && *canary == Some(CanaryShare::Off)
        {
            let why = format!("{flag} cannot be used with --canary off: there is no canary then");
            return Err(complaint(&why));
        }
        let overrides = CanaryOverrides { period: *period, ..CanaryOverrides::default() };
        refuse(CanaryConfig::default().with(overrides).faults())
    }
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
        if let CtlCommand::Swap { canary, .. } = &command {
            canary.check()?;
        }
        Ok(CtlConfig { target, json, command })
    }
}
