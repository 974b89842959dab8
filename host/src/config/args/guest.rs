//! Flags of one component: its grants, and how its instances are reused.

use std::time::Duration;

use clap::Args;
use host_manifest::{
    BucketFlag, DirectoryFlag, Grammar, GrantFlag, GrantFlags, GrantsConfig, HumanDuration,
    LoadContext, PairFlag, RequestShutdownConfig, ReuseConfig, STRICT, defaults,
};

use super::complaint::complaint;

#[derive(Debug, Args)]
#[command(next_help_heading = "Guests")]
pub(super) struct GuestArgs {
    /// Give guests something that they do not have by default; may be given several times.
    /// request-shutdown: the import of that name in host:lifecycle stops the process
    /// [default: none]
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<GrantFlag>,

    /// Set an environment variable for the guest; without a value, to that of the host. May be given several
    /// times, as all grants [default: none]
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<PairFlag>,

    /// What wasi:config answers for a name [default: nothing]
    #[arg(long, value_name = "NAME=VALUE")]
    config: Vec<PairFlag>,

    /// Let the guest see a directory of the host, under a path of its own; with :ro it may not write
    /// there [default: none]
    #[arg(long = "dir", value_name = "HOST::GUEST[:ro]")]
    directories: Vec<DirectoryFlag>,

    /// Where the guest may send HTTP requests: `https://api.example.com`, `*.example.com:443`,
    /// `http://127.0.0.1:9000` [default: nowhere]
    #[arg(long, value_name = "ORIGIN")]
    outgoing: Vec<String>,

    /// Addresses beyond public ones that names in --outgoing may lead to: loopback, private or link-local
    /// [default: none]
    #[arg(long, value_name = "KIND")]
    outgoing_addresses: Vec<String>,

    /// A bucket of wasi:keyvalue, by the name that the guest opens: in memory, in a file (disk:data.redb),
    /// or in Redis (redis://127.0.0.1:6379) [default: none]
    #[arg(long = "keyvalue", value_name = "NAME=memory|disk:PATH|redis:URL")]
    buckets: Vec<BucketFlag>,

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

    /// Begin each instance where one was behind its on-start, which runs once, when the component is loaded. All
    /// instances then have what it has read: the environment, the clock, random numbers [default: off]
    #[arg(long)]
    pub(super) snapshot: bool,

    /// How long a lifecycle hook of a guest may take: on-start, on-drain, on-shutdown
    #[arg(long, value_name = "TIME", default_value = defaults::HOOK_TIMEOUT)]
    #[arg(default_value_if("profile", "strict", STRICT.hook_timeout))]
    pub(super) hook_timeout: HumanDuration,
}

impl GuestArgs {
    /// The grants of the component `name`; `context` has what no guest may write to.
    pub(super) fn grants(
        &self,
        name: &str,
        grammar: &Grammar,
        context: &LoadContext,
    ) -> Result<GrantsConfig, clap::Error> {
        let flags = GrantFlags {
            env: self.env.iter().map(inherited).collect::<Result<_, _>>()?,
            config: self.config.iter().map(whole).collect::<Result<_, _>>()?,
            directories: self.directories.clone(),
            outgoing: self.outgoing.clone(),
            outgoing_addresses: self.outgoing_addresses.clone(),
            buckets: self.buckets.clone(),
        };
        let grants = grammar.grants(name, &flags, context).map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            complaint(&lines.join("\n"))
        })?;
        match self.grants.contains(&GrantFlag::RequestShutdown) {
            true => Ok(grants.with(RequestShutdownConfig)),
            false => Ok(grants),
        }
    }

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

/// A variable without a value has that of this process.
fn inherited(flag: &PairFlag) -> Result<PairFlag, clap::Error> {
    let PairFlag { name, value } = flag.clone();
    let value = match value {
        Some(value) => value,
        None => std::env::var(&name).map_err(|why| {
            complaint(&format!("--env {name}: {why}; write --env {name}=VALUE, or set it"))
        })?,
    };
    Ok(PairFlag { name, value: Some(value) })
}

fn whole(flag: &PairFlag) -> Result<PairFlag, clap::Error> {
    match flag.value {
        Some(_) => Ok(flag.clone()),
        None => Err(complaint(&format!("--config {0}: write --config {0}=VALUE", flag.name))),
    }
}
