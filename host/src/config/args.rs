//! The command line, as clap sees it.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use host_manifest::escape;
use host_manifest::routes::{PathPattern, RoutePattern};
use host_manifest::{
    ComponentConfig, ComponentLimits, ConnectionLimits, Fail, GrantsConfig, LimitFault,
    ListenConfig, LoadContext, Manifest, ReuseConfig, Route, Stamp, StopConfig, SwapConfig,
    TotalLimits,
};

use super::ctl::{Ctl, CtlArgs};
use super::file::{is_manifest, read};
use super::{
    Cache, Check, Compile, Control, File, Grant, HealthAddr, Limit, ListenAddr, LogRate, Over,
    Rate, Serve, Size, SmokeCheck, Span, defaults,
};

/// Version of this program and of the wasmtime in it.
const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (wasmtime ", env!("WASMTIME_VERSION"), ")");

/// What the process was asked to do.
#[derive(Clone, Debug)]
pub enum Job {
    /// `host serve`
    Serve(Box<Serve>),
    /// `host check`
    Check(Box<Check>),
    /// `host compile`
    Compile(Compile),
    /// The child that compiles: numbers that only we write.
    Compiler(Vec<u64>),
    /// `host schema`
    Schema,
    /// `host ctl`
    Ctl(Ctl),
}

/// Parses and checks a command line.
///
/// # Errors
/// A clap error, which knows whether it is help for stdout or a complaint for stderr.
pub fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Job, clap::Error> {
    let matches = Cli::command().try_get_matches_from(line)?;
    match Cli::from_arg_matches(&matches)?.command {
        Command::Serve(raw) if is_manifest(&raw.app) => {
            refuse_flags_of_a_component(&matches)?;
            raw.with_manifest().map(|serve| Job::Serve(Box::new(serve)))
        }
        Command::Serve(raw) => raw.checked().map(|serve| Job::Serve(Box::new(serve))),
        Command::Check(raw) => raw.checked().map(|check| Job::Check(Box::new(check))),
        Command::Compile(raw) => raw.checked().map(Job::Compile),
        Command::Compiler { numbers } => Ok(Job::Compiler(numbers)),
        Command::Schema => Ok(Job::Schema),
        Command::Ctl(raw) => raw.checked().map(Job::Ctl),
    }
}

/// Serves WebAssembly components over HTTP and does not lose requests.
#[derive(Debug, Parser)]
#[command(name = "host", version = VERSION, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a component, or all that a manifest names: a fresh, sandboxed instance per request
    Serve(Box<ServeArgs>),
    /// Say whether a component, or all of a manifest, would serve: what each imports, what it is
    /// granted, and what it lacks
    ///
    /// Exits with 0 if all would serve, with 3 if one would not, with 2 if the manifest is wrong.
    Check(CheckArgs),
    /// Compile a component as `host serve` would, within bounds of memory and time, and write the code
    /// to a file
    ///
    /// This is what `serve`, `check` and a swap do inside. The file shows what a component costs to
    /// compile, and how large its code is; `host serve` takes code from its own cache only.
    Compile(CompileArgs),
    #[command(hide = true)]
    Compiler { numbers: Vec<u64> },
    /// Print the JSON Schema of manifests, for editors and pipelines
    Schema,
    /// Ask or command a host that is running, over its control socket
    Ctl(CtlArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// The component to serve: a .wasm or .wat file that exports wasi:http/incoming-handler@0.2 or
    /// wasi:http/handler@0.3. Or a manifest, a .toml file: then everything that is said of a
    /// component is said there
    #[arg(value_name = "APP.wasm|host.toml")]
    app: PathBuf,

    /// Load and prove everything, with its smoke requests, as a start would; then exit. Nothing is
    /// bound and no database opened: of one it is only looked whether it is one, or can be made
    /// [default: off]
    #[arg(long)]
    dry_run: bool,

    /// Where to listen: HOST:PORT (IPv6 in brackets; `[::]` takes IPv4 too) or unix:PATH (with a lock
    /// PATH.lock beside it); may be given several times, without overlap; port 0 lets the kernel choose. Loopback by default: being reachable from outside is your decision
    /// [default: 127.0.0.1:8080, or the manifest's]
    #[arg(long = "addr", value_name = "ADDR")]
    addresses: Vec<ListenAddr>,

    /// Worker threads for connections and guests [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    #[command(flatten)]
    stop: StopArgs,
    #[command(flatten)]
    swap: SwapArgs,
    #[command(flatten)]
    guest: GuestArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    operating: OperatingArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Operating")]
struct OperatingArgs {
    /// Path of the control socket, for `host ctl` and scripts of the same user, or `off`
    /// [default: $XDG_RUNTIME_DIR/host/PID.sock, for root without it /run/host/PID.sock]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,

    /// HOST:PORT for GET /livez (200 until the end) and /readyz (200 only while serving), or `off`.
    /// Apart from --addr, so that whoever asks stands in no queue [default: off, or the manifest's]
    #[arg(long, value_name = "ADDR")]
    health_addr: Option<HealthAddr>,
}

/// What compiling may take, for all commands that compile.
#[derive(Debug, Args)]
struct BoundArgs {
    /// How long compiling may take; then the component is refused
    #[arg(long, value_name = "TIME", default_value = defaults::COMPILE_TIMEOUT)]
    compile_timeout: Span,

    /// Memory that compiling one component may take; then it is refused. It is compiled by a process
    /// of its own, beside traffic at the lowest priority
    #[arg(long, value_name = "SIZE", default_value = defaults::COMPILE_MEMORY)]
    compile_memory: Size,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The component, a .wasm or .wat file, or the manifest, a .toml file
    #[arg(value_name = "APP.wasm|host.toml")]
    app: PathBuf,

    /// Print one document of JSON, also when something is refused (docs/manifest.md) [default: off]
    #[arg(long)]
    json: bool,

    /// Exit with 1 if all would serve and there is a warning [default: off]
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    cache: CacheArgs,
}

impl CheckArgs {
    /// What a start with no other flags would be.
    fn checked(self) -> Result<Check, clap::Error> {
        let Self { app, json, strict, cache } = self;
        let mut line = vec![OsString::from("host"), "serve".into()];
        if cache.no_cache {
            line.push("--no-cache".into());
        }
        if let Some(directory) = cache.cache_dir {
            line.extend(["--cache-dir".into(), directory.into()]);
        }
        line.extend(["--".into(), app.into()]);
        match parse(line)? {
            Job::Serve(serve) => Ok(Check { serve: *serve, json, strict }),
            _ => Err(complaint("host check takes a component or a manifest")),
        }
    }
}

#[derive(Debug, Args)]
struct CompileArgs {
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
    fn checked(self) -> Result<Compile, clap::Error> {
        let Self { app, output, bounds } = self;
        let (time, memory) = bounds.checked()?;
        Ok(Compile { app, output, time, memory })
    }
}

impl BoundArgs {
    /// Time and bytes, for who does not swap.
    fn checked(&self) -> Result<(Duration, u64), clap::Error> {
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

impl OperatingArgs {
    fn control(&self) -> Control {
        match &self.control {
            None => Control::Default,
            Some(path) => Control::of(path),
        }
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Swapping")]
struct SwapArgs {
    /// Swap by itself when the component's file changes: replaced, written in place, or behind a
    /// symbolic link that is turned. In production a deploy had better ask for its swap and read the
    /// outcome [default: off]
    #[arg(long)]
    watch: bool,

    /// A request that a new version must answer with this status before it serves; may be given
    /// several times. It is made without a socket, on an instance of its own [default: none]
    #[arg(long, value_name = "'METHOD PATH STATUS'")]
    smoke: Vec<SmokeCheck>,

    #[command(flatten)]
    bounds: BoundArgs,

    /// From a swap to the moment when what still runs on the version before is cut
    #[arg(long, value_name = "TIME", default_value = defaults::RETIRE_TIMEOUT)]
    retire_timeout: Span,

    /// Replaced versions that may linger until their last exchange ends; one more, and the oldest
    /// is cut
    #[arg(long, value_name = "N", default_value = defaults::MAX_RETIRED)]
    max_retired: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Guests")]
struct GuestArgs {
    /// Give guests something that they do not have by default; may be given several times.
    /// request-shutdown: the import of that name in host:lifecycle stops the process
    /// [default: none]
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<Grant>,

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
    reuse_idle: Span,

    /// How long a lifecycle hook of a guest may take: on-start, on-drain, on-shutdown
    #[arg(long, value_name = "TIME", default_value = defaults::HOOK_TIMEOUT)]
    hook_timeout: Span,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Stopping")]
struct StopArgs {
    /// After SIGTERM, keep accepting for this long while saying `Connection: close`. Kubernetes
    /// needs about 5s, because it withdraws endpoints beside the signal; part of --drain-timeout
    #[arg(long, value_name = "TIME", default_value = defaults::DRAIN_DELAY)]
    drain_delay: Span,

    /// From SIGTERM to the moment when what is still running is cut. Keep it below the time that
    /// the supervisor grants (Kubernetes 30s, systemd 90s). A second SIGTERM or SIGINT, 500ms or more
    /// after the first, cuts before that, and SIGQUIT at once
    #[arg(long, value_name = "TIME", default_value = defaults::DRAIN_TIMEOUT)]
    drain_timeout: Span,

    /// During a stop an idle kept-alive HTTP/1 connection may still send its next request for this
    /// long; it is served. Longer than a client's pause between requests is best
    #[arg(long, value_name = "TIME", default_value = defaults::LINGER)]
    linger: Span,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Instances at once; each takes 4 GiB of address space, memory only as it is used
    #[arg(long, value_name = "N", default_value = defaults::MAX_INSTANCES)]
    max_instances: usize,

    /// Requests that may wait for an instance; the next one gets 503
    #[arg(long, value_name = "N", default_value = defaults::MAX_QUEUE)]
    max_queue: usize,

    /// How long a request waits for an instance before it gets 503 with Retry-After
    #[arg(long, value_name = "TIME", default_value = defaults::QUEUE_TIMEOUT)]
    queue_timeout: Span,

    /// Linear memory of one instance; a guest that wants more is refused the growth
    #[arg(long, value_name = "SIZE", default_value = defaults::MAX_MEMORY)]
    max_memory: Size,

    /// Linear memory of all instances together [default: three quarters of what the cgroup allows; no
    /// bound but that of each without one]
    #[arg(long, value_name = "SIZE")]
    total_memory: Option<Size>,

    /// CPU time of one instance; then 504, or a broken stream
    #[arg(long, value_name = "TIME", default_value = defaults::CPU_TIME)]
    cpu_time: Span,

    /// From the request's head to the head of the guest's answer; then 504
    #[arg(long, value_name = "TIME", default_value = defaults::RESPONSE_HEAD_TIMEOUT)]
    response_head_timeout: Span,

    /// Longest pause between two frames of a body, in either direction; then the stream is broken
    #[arg(long, value_name = "TIME", default_value = defaults::BODY_IDLE_TIMEOUT)]
    body_idle_timeout: Span,

    /// The whole exchange, or `off`: a stream may be meant to last
    #[arg(long, value_name = "TIME", default_value = defaults::EXCHANGE_TIMEOUT)]
    exchange_timeout: Limit,

    /// Work of a guest after its answer has ended
    #[arg(long, value_name = "TIME", default_value = defaults::AFTER_TIMEOUT)]
    after_timeout: Span,

    /// What guests may add to the log in a second, or `off`; as much may come at once. Lines beyond
    /// are left out and counted
    #[arg(long, value_name = "RATE", default_value = defaults::LOG_RATE)]
    guest_log_rate: LogRate,

    /// Size of a request body; then 413. Bodies are streamed, never held
    #[arg(long, value_name = "SIZE", default_value = defaults::MAX_REQUEST_BODY)]
    max_request_body: Size,

    /// Size of a request head; then 431 (at least 8KiB)
    #[arg(long, value_name = "SIZE", default_value = defaults::MAX_HEADER_SIZE)]
    max_header_size: Size,

    /// Headers in a request; then 431
    #[arg(long, value_name = "N", default_value = defaults::MAX_HEADERS)]
    max_headers: usize,

    /// Time to receive a request's head; then 408
    #[arg(long, value_name = "TIME", default_value = defaults::REQUEST_HEAD_TIMEOUT)]
    request_head_timeout: Span,

    /// The slowest that a client may send a body or take an answer, or `off`: measured over 10s of
    /// waiting for it, after 5s for nothing; then 408, or the stream is broken
    #[arg(long, value_name = "RATE", default_value = defaults::MIN_RATE)]
    min_rate: Rate,

    /// Size of a request body that is read before an instance is taken, where the head says the
    /// length; 0B for never. Not behind `Expect: 100-continue`
    #[arg(long, value_name = "SIZE", default_value = defaults::PREFETCH_BODY)]
    prefetch_body: Size,

    /// Connections at once; above that the one that has been idle longest makes room
    #[arg(long, value_name = "N", default_value = defaults::MAX_CONNECTIONS)]
    max_connections: usize,

    /// How long a connection may be idle between requests. Longer than your load balancer's (60s
    /// for most), so that it closes first
    #[arg(long, value_name = "TIME", default_value = defaults::KEEP_ALIVE_TIMEOUT)]
    keep_alive_timeout: Span,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Cache")]
struct CacheArgs {
    /// Where compiled code is kept between starts [default: the user's cache directory]
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache")]
    cache_dir: Option<PathBuf>,

    /// Compile at every start
    #[arg(long)]
    no_cache: bool,
}

impl ServeArgs {
    /// A manifest of one component, made of the flags.
    fn checked(self) -> Result<Serve, clap::Error> {
        let (threads, control, dry_run) = (self.threads(), self.operating.control(), self.dry_run);
        let mut addresses = self.addresses.clone();
        if addresses.is_empty() {
            addresses.push(defaults::ADDRESS.parse().map_err(|why: String| complaint(&why))?);
        }
        let health = self.operating.health_addr.and_then(|health| health.0);
        let listen = ListenConfig { addresses, control: None, health };
        let component = self.component()?;
        let route = Route {
            pattern: RoutePattern {
                host: None,
                path: PathPattern::Prefix("/".into()),
                methods: Vec::new(),
            },
            chain: Vec::new(),
            component: component.name.clone(),
            strip_prefix: false,
        };
        let manifest = Manifest {
            listen,
            stop: self.stop.checked()?,
            connection: self.limits.connection()?,
            total: self.limits.total()?,
            swap: self.swap.checked()?,
            components: [(component.name.clone(), component)].into(),
            routes: vec![route],
            lines: [].into(),
        };
        let cache = self.cache.checked();
        let over = Over::default();
        apart(&manifest.listen, &control)?;
        Ok(Serve { manifest, over, file: None, cache, threads, control, dry_run })
    }

    /// The manifest, with what flags say of the process.
    fn with_manifest(self) -> Result<Serve, clap::Error> {
        let cache = self.cache.checked();
        let own = self.own(&cache);
        let beside = LoadContext { own: own.clone(), total: None };
        let stamp = Stamp::at(&self.app);
        let manifest = read(&self.app, &beside).map_err(|why| complaint(&why.to_string()))?;
        let control = match (self.operating.control(), &manifest.listen.control) {
            (Control::Default, Some(path)) => Control::of(path),
            (control, _) => control,
        };
        let over = Over {
            addresses: self.addresses.clone(),
            health: self.operating.health_addr,
            watch: self.swap.watch,
            own,
        };
        let (threads, dry_run) = (self.threads(), self.dry_run);
        let manifest = over.lay_over(manifest);
        apart(&manifest.listen, &control)?;
        let file = Some(File { path: self.app, stamp });
        Ok(Serve { manifest, over, file, cache, threads, control, dry_run })
    }

    /// What no guest may change, as far as the manifest does not name it.
    fn own(&self, cache: &Cache) -> Vec<(String, PathBuf)> {
        let mut own: Vec<_> =
            cache.directory().map(|path| ("the code cache".to_owned(), path)).into_iter().collect();
        let control = self.operating.control().place();
        own.extend(control.map(|path| ("the control socket".to_owned(), path)));
        for address in &self.addresses {
            if let ListenAddr::Unix(path) = address {
                own.push(("a socket that is listened at".to_owned(), path.clone()));
            }
        }
        own
    }

    fn threads(&self) -> NonZeroUsize {
        self.threads
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
    }

    fn component(&self) -> Result<ComponentConfig, clap::Error> {
        let name = self.app.file_stem().and_then(|stem| stem.to_str()).unwrap_or("component");
        let granted = |grant| self.guest.grants.contains(&grant);
        Ok(ComponentConfig {
            name: name.into(),
            source: self.app.clone(),
            limits: self.limits.guest(self.guest.hook_timeout.0)?,
            reuse: self.guest.reuse()?,
            grants: GrantsConfig {
                request_shutdown: granted(Grant::RequestShutdown),
                ..GrantsConfig::default()
            },
            smoke: self.swap.smoke.clone(),
            breaker: None,
            fail: Fail::default(),
        })
    }
}

/// Flags that say something of the process, whatever it serves.
const OF_THE_PROCESS: [&str; 9] = [
    "app",
    "dry_run",
    "addresses",
    "threads",
    "watch",
    "cache_dir",
    "no_cache",
    "control",
    "health_addr",
];

/// With a manifest, what is said of components is said there.
fn refuse_flags_of_a_component(matches: &ArgMatches) -> Result<(), clap::Error> {
    let (command, serve) = (Cli::command(), matches.subcommand_matches("serve"));
    let (Some(command), Some(serve)) = (command.find_subcommand("serve"), serve) else {
        return Ok(());
    };
    let is_given = |flag: &&clap::Arg| {
        serve.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine)
    };
    let is_of_a_component = |flag: &&clap::Arg| !OF_THE_PROCESS.contains(&flag.get_id().as_str());
    let flag = command.get_arguments().filter(is_given).find(is_of_a_component);
    let Some(flag) = flag.and_then(clap::Arg::get_long) else { return Ok(()) };
    Err(complaint(&format!(
        "--{flag} cannot be used with a manifest: write it there (docs/manifest.md)"
    )))
}

impl GuestArgs {
    fn reuse(&self) -> Result<Option<ReuseConfig>, clap::Error> {
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

impl SwapArgs {
    fn checked(&self) -> Result<SwapConfig, clap::Error> {
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

impl StopArgs {
    fn checked(&self) -> Result<StopConfig, clap::Error> {
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

/// The first of what makes no sense, by the name of its flag.
fn refuse(faults: Vec<LimitFault>) -> Result<(), clap::Error> {
    let Some(fault) = faults.into_iter().next() else { return Ok(()) };
    let flag = match fault.key {
        "instances" => "max-instances",
        "queue" => "max-queue",
        "memory" => "max-memory",
        same => same,
    };
    Err(complaint(&format!("--{flag} {}", fault.why)))
}

impl LimitArgs {
    fn connection(&self) -> Result<ConnectionLimits, clap::Error> {
        let connection = ConnectionLimits {
            connections: self.max_connections,
            head: self.request_head_timeout.0,
            keep_alive: self.keep_alive_timeout.0,
            body_idle: self.body_idle_timeout.0,
            min_rate: self.min_rate.0,
            prefetch: self.prefetch_body.0,
            header_size: usize::try_from(self.max_header_size.0).unwrap_or(usize::MAX),
            headers: self.max_headers,
        };
        refuse(connection.faults())?;
        Ok(connection)
    }

    fn total(&self) -> Result<TotalLimits, clap::Error> {
        let total = TotalLimits {
            instances: self.max_instances,
            memory: self.total_memory.map(|size| size.0),
        };
        if total.memory.is_some_and(|total| total < self.max_memory.0) {
            return Err(complaint(
                "--total-memory is less than --max-memory: no instance could have what it may; raise \
                 the one or lower the other",
            ));
        }
        Ok(total)
    }

    fn guest(&self, hook: Duration) -> Result<ComponentLimits, clap::Error> {
        let limits = ComponentLimits {
            queue: self.max_queue,
            queue_wait: self.queue_timeout.0,
            memory: usize::try_from(self.max_memory.0).unwrap_or(usize::MAX),
            cpu: self.cpu_time.0,
            response_head: self.response_head_timeout.0,
            body_idle: self.body_idle_timeout.0,
            total: self.exchange_timeout.0,
            after: self.after_timeout.0,
            hook,
            request_body: self.max_request_body.0,
            log_rate: self.guest_log_rate.0,
            ..ComponentLimits::with_instances(self.max_instances)
        };
        refuse(limits.faults())?;
        Ok(limits)
    }
}

impl CacheArgs {
    fn checked(&self) -> Cache {
        match (self.no_cache, &self.cache_dir) {
            (true, _) => Cache::Off,
            (false, None) => Cache::Default,
            (false, Some(directory)) => Cache::Directory(directory.clone()),
        }
    }
}

/// Refuses places to listen at that cannot be had at once.
fn apart(listen: &ListenConfig, control: &Control) -> Result<(), clap::Error> {
    let control = match control {
        Control::Path(path) => Some(path.as_path()),
        Control::Off | Control::Default => None,
    };
    match listen.overlap(control) {
        Some(overlap) => Err(complaint(&overlap.to_string())),
        None => Ok(()),
    }
}

pub(super) fn complaint(text: &str) -> clap::Error {
    let text = escape::lines(text);
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{text}\n"))
}
