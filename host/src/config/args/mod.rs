//! The command line, as clap sees it: each command and each group of flags has a file.

mod artefacts;
mod author;
mod check;
mod compile;
mod complaint;
mod ctl;
mod drain_test;
mod guest;
mod limits;
mod listen;
mod log;
mod manual;
mod operating;
mod serve;
mod stop;
mod swap;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use host_manifest::Grammar;

use super::checked::{
    CheckConfig, CompileConfig, DevConfig, DrainTestConfig, InitConfig, LockConfig, NewConfig,
    PushConfig, ServeConfig, SignConfig, VerifyConfig,
};
use super::file::is_manifest;
use artefacts::{LockArgs, PushArgs, SignArgs, VerifyArgs};
use author::{DevArgs, InitArgs, NewArgs};
use check::CheckArgs;
use compile::CompileArgs;
use complaint::complaint;
use ctl::CtlArgs;
use drain_test::DrainTestArgs;
use manual::{CompletionsArgs, ManArgs, called};
use serve::ServeArgs;

pub use ctl::{
    CONNECTION_COLUMNS, CanaryAction, CanaryFlags, CanaryShare, CtlCommand, CtlConfig, CtlTarget,
    GENERATION_COLUMNS, KvAction, USAGE_COLUMNS,
};
pub use manual::CompletingShell;
pub(crate) use serve::check_remote;

/// Version of this program and of the wasmtime in it.
const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (wasmtime ", env!("WASMTIME_VERSION"), ")");

/// What the process was asked to do.
#[derive(Clone, Debug)]
pub enum Invocation {
    /// `host serve`
    Serve(Box<ServeConfig>),
    /// `host new`
    New(NewConfig),
    /// `host init`
    Init(InitConfig),
    /// `host dev`
    Dev(DevConfig),
    /// `host check`
    Check(Box<CheckConfig>),
    /// `host lock`
    Lock(LockConfig),
    /// `host push`
    Push(PushConfig),
    /// `host sign`
    Sign(SignConfig),
    /// `host verify`
    Verify(VerifyConfig),
    /// `host compile`
    Compile(CompileConfig),
    /// The child that compiles: numbers that only we write.
    Compiler(Vec<u64>),
    /// The process that starts the successor of a host, by this command line.
    Launch(Vec<OsString>),
    /// `host schema`
    Schema,
    /// `host ctl`
    Ctl(CtlConfig),
    /// `host drain-test`
    DrainTest(Box<DrainTestConfig>),
    /// `host completions`, of a program of this name.
    Completions(CompletingShell, &'static str),
    /// The man pages of a program of this name, into a directory.
    Man(PathBuf, &'static str),
}

/// Parses and checks a command line; a manifest that it names is read by `grammar`.
///
/// # Errors
/// A clap error, which knows whether it is help for stdout or a complaint for stderr.
pub fn parse(
    line: impl IntoIterator<Item = OsString>,
    grammar: &Grammar,
) -> Result<Invocation, clap::Error> {
    let line: Vec<OsString> = line.into_iter().collect();
    let name = called(line.first().map(OsString::as_os_str));
    let serves = line.get(1).is_some_and(|command| command == "serve");
    let matches = HiddenCommand::augment_subcommands(Cli::command())
        .try_get_matches_from(line)
        .map_err(|why| if serves { point_to_grants(why) } else { why })?;
    // They are no part of `Cli`, so that neither help nor man pages nor completions can show them.
    match HiddenCommand::from_arg_matches(&matches) {
        Ok(HiddenCommand::Compiler { numbers }) => return Ok(Invocation::Compiler(numbers)),
        Ok(HiddenCommand::Launch { line }) => return Ok(Invocation::Launch(line)),
        Ok(HiddenCommand::Man(ManArgs { directory })) => {
            return Ok(Invocation::Man(directory, name));
        }
        Err(_) => {}
    }
    match Cli::from_arg_matches(&matches)?.command {
        CliCommand::Serve(raw) if is_manifest(&raw.app) => {
            refuse_component_flags(&matches)?;
            raw.with_manifest(grammar).map(|serve| Invocation::Serve(Box::new(serve)))
        }
        CliCommand::Serve(raw) => {
            raw.checked(grammar).map(|serve| Invocation::Serve(Box::new(serve)))
        }
        CliCommand::Check(raw) => {
            check(raw, grammar).map(|check| Invocation::Check(Box::new(check)))
        }
        CliCommand::Lock(raw) => raw.checked(grammar).map(Invocation::Lock),
        CliCommand::Push(raw) => raw.checked().map(Invocation::Push),
        CliCommand::Sign(raw) => raw.checked().map(Invocation::Sign),
        CliCommand::Verify(raw) => raw.checked().map(Invocation::Verify),
        CliCommand::New(raw) => raw.checked().map(Invocation::New),
        CliCommand::Init(raw) => Ok(Invocation::Init(raw.checked())),
        CliCommand::Dev(raw) => Ok(Invocation::Dev(raw.checked())),
        CliCommand::Compile(raw) => raw.checked().map(Invocation::Compile),
        CliCommand::Schema => Ok(Invocation::Schema),
        CliCommand::Ctl(raw) => raw.checked().map(Invocation::Ctl),
        CliCommand::DrainTest(raw) => {
            raw.checked().map(|test| Invocation::DrainTest(Box::new(test)))
        }
        CliCommand::Completions(raw) => Ok(Invocation::Completions(raw.shell, name)),
    }
}

/// The command line as people see it, of a program of this name. What is hidden is not in it.
#[must_use]
pub fn visible(name: &'static str) -> clap::Command {
    Cli::command().name(name).bin_name(name)
}

/// Serves WebAssembly components over HTTP and does not lose requests.
#[derive(Debug, Parser)]
#[command(name = "host", version = VERSION, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Serve a component, or all that a manifest names: a fresh, sandboxed instance per request
    Serve(Box<ServeArgs>),
    /// Write the folder of a new guest: source, interfaces, build, manifest and a test
    New(NewArgs),
    /// Build a component whenever its sources change, and serve the newest version that builds
    ///
    /// Prints a line for each request, what guests print, and where they trapped. A version that does not
    /// build, or cannot serve, leaves the one before in service.
    Dev(DevArgs),
    /// Print the manifest that a component needs, with each of its imports and how it would be granted
    Init(InitArgs),
    /// Say whether a component, or all of a manifest, would serve: what each imports, what it is
    /// granted, and what it lacks
    ///
    /// Exits with 0 if all would serve, with 3 if one would not, with 2 if the manifest is wrong.
    Check(CheckArgs),
    /// Compile a component as `host serve` would, within bounds of memory and time, and write the code
    /// to a file
    ///
    /// This is what `serve`, `check` and a swap do inside. The file shows what a component costs to
    /// compile, and how large its code is. `host serve` takes code from it only if a key that is
    /// trusted has signed it (docs/registry.md).
    Compile(CompileArgs),
    /// Pin what the sources of a manifest lead to now: the digests of components in registries, in host.lock
    ///
    /// From then on a start takes exactly those, wherever their tags lead to, and asks no registry for what
    /// is in its store.
    Lock(LockArgs),
    /// Push a component into a registry
    Push(PushArgs),
    /// Sign a component: a file, or an image in a registry as cosign does
    Sign(SignArgs),
    /// Say whose signature a component has; fails if it has none of these keys
    Verify(VerifyArgs),
    /// Print the JSON Schema of manifests, for editors and pipelines
    Schema,
    /// Ask or command a host that is running, over its control socket
    Ctl(CtlArgs),
    /// Put any HTTP server under load, have it stopped, and say which requests were lost
    ///
    /// A strict client: it never repeats a request, and looks whether its connection has ended before it
    /// sends one. Each request is answered, refused (the server has not begun with it, and the client
    /// knows) or lost.
    DrainTest(Box<DrainTestArgs>),
    /// Print what completes the command line in a shell
    ///
    /// For bash: `host completions bash > ~/.local/share/bash-completion/completions/host`. Called as `wasm-host` it
    /// completes that name. Packages bring it along.
    Completions(CompletionsArgs),
}

// Commands that no person gives. As a doc comment this would be what `host --help` begins with.
#[derive(Debug, Subcommand)]
enum HiddenCommand {
    /// The child that compiles
    #[command(hide = true)]
    Compiler { numbers: Vec<u64> },
    /// The process that starts the successor of a host
    #[command(hide = true)]
    Launch {
        #[arg(last = true)]
        line: Vec<OsString>,
    },
    /// Write the man pages, for packagers
    #[command(hide = true)]
    Man(ManArgs),
}

/// Whoever gives a flag that is not there is likely to look for a grant.
fn point_to_grants(mut why: clap::Error) -> clap::Error {
    if why.kind() == ErrorKind::UnknownArgument && why.get(ContextKind::SuggestedArg).is_none() {
        let tip = "grants are the flags --env, --dir, --outgoing, --keyvalue and --config; a manifest has \
                   all there is, and `host init APP.wasm` prints one";
        why.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    why
}

/// What a start with no other flags would be.
fn check(raw: CheckArgs, grammar: &Grammar) -> Result<CheckConfig, clap::Error> {
    let (json, strict) = (raw.json, raw.strict);
    match parse(raw.serve_line(), grammar)? {
        Invocation::Serve(serve) => Ok(CheckConfig { serve: *serve, json, strict }),
        _ => Err(complaint("host check takes a component or a manifest")),
    }
}

/// Flags that concern the process, whatever it serves.
const PROCESS_FLAGS: [&str; 23] = [
    "app",
    "dry_run",
    "addresses",
    "tls_addresses",
    "tls_cert",
    "tls_key",
    "tls_client_ca",
    "tls_client_auth",
    "trusted_proxies",
    "threads",
    "watch",
    "cache_dir",
    "no_cache",
    "control",
    "health_addr",
    "dashboard_addr",
    "level",
    "log_format",
    "access_log",
    "access_log_format",
    "otlp_endpoint",
    "trace_sample",
    "log_query",
];

/// Refuses flags of a component beside a manifest: there the manifest has them.
fn refuse_component_flags(matches: &ArgMatches) -> Result<(), clap::Error> {
    let (command, serve) = (Cli::command(), matches.subcommand_matches("serve"));
    let (Some(command), Some(serve)) = (command.find_subcommand("serve"), serve) else {
        return Ok(());
    };
    let is_given = |flag: &&clap::Arg| {
        serve.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine)
    };
    let is_component_flag = |flag: &&clap::Arg| !PROCESS_FLAGS.contains(&flag.get_id().as_str());
    let flag = command.get_arguments().filter(is_given).find(is_component_flag);
    let Some(flag) = flag.and_then(clap::Arg::get_long) else { return Ok(()) };
    Err(complaint(&format!(
        "--{flag} cannot be used with a manifest: write it there (docs/manifest.md)"
    )))
}
