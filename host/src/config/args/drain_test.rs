//! `host drain-test`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use host_drain_test::{ClientKind, Plan, StopTrigger, TlsTrust};
use host_manifest::HumanDuration;

use super::super::checked::DrainTestConfig;
use super::complaint::complaint;

/// Below the flags.
const EXAMPLES: &str = "\
Examples:
  # Start a server, stop it by SIGTERM, ten times
  host drain-test http://127.0.0.1:8080/ --stops 10 --spawn -- node server.js

  # Reload a process that is there and lives on
  host drain-test http://127.0.0.1:8080/ --signal-pid 4711:HUP

  # Roll a fleet behind its balancer, over TLS, with clients of HTTP/1 and HTTP/2: to the end, and for
  # as long as the last of the old ones may take to leave
  host drain-test https://shop.example/ --http1 --http2 --exec-timeout 15m --after 1m \
    --exec 'kubectl rollout restart deploy/shop && kubectl rollout status deploy/shop'

Exit codes: 0 nothing was lost, 1 a request was lost, 2 wrong usage, or the test could not be
made to its end, 4 the report could not be printed.

It sends real requests, as many as the server takes: test servers only that are yours. What counts
as lost, and why: docs/drain-test.md";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("trigger").required(true))]
pub(super) struct DrainTestArgs {
    /// What is asked for: http:// or https://. A GET of it must be answered with the same status each time
    url: String,

    #[command(flatten)]
    trigger: TriggerArgs,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    times: TimeArgs,

    /// Print the report as one document of JSON, with every loss [default: off]
    #[arg(long, help_heading = "Report")]
    json: bool,

    /// The server and its arguments, for --spawn
    #[arg(last = true, value_name = "COMMAND", help_heading = "What stops the server")]
    command: Vec<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What stops the server")]
struct TriggerArgs {
    /// This process gets this signal; for a second stop it must live on, as at a reload. TERM if none is
    /// named; the others are INT, HUP, QUIT, USR1, USR2, WINCH, KILL
    #[arg(long, value_name = "PID[:SIGNAL]", group = "trigger", value_parser = StopTrigger::signal)]
    signal_pid: Option<StopTrigger>,

    /// `sh -c` runs this and waits for its end: a restart by a supervisor, a rollout, a deployment. The server
    /// has to answer again after it, within --ready
    #[arg(long, value_name = "COMMAND", group = "trigger")]
    exec: Option<String>,

    /// The command of --exec stops the server for good: it need not answer again [default: off]
    #[arg(long)]
    no_return: bool,

    /// The server is our child: it is started anew for each stop, by the command behind `--`
    #[arg(long, group = "trigger", requires = "command")]
    spawn: bool,

    /// The signal that stops the child of --spawn [default: TERM]
    #[arg(long, value_name = "SIGNAL")]
    signal: Option<String>,

    /// How often it is stopped
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    stops: u32,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
struct LoadArgs {
    /// Clients of each kind
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    clients: u16,

    /// The five kinds of clients of HTTP/1 [default: on, unless --http2 or --kinds is there]
    #[arg(long)]
    http1: bool,

    /// The two kinds of clients of HTTP/2; without TLS they do not ask, and begin with its preface
    /// [default: off]
    #[arg(long)]
    http2: bool,

    /// These kinds only, with commas between: h1-kept, h1-fresh, h1-pipelined, h1-upload, h1-stream, h2-kept,
    /// h2-fresh
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', conflicts_with_all = ["http1", "http2"])]
    kinds: Vec<ClientKind>,

    /// The path of uploads, POSTs of 32 KiB [default: the URL's]
    #[arg(long, value_name = "PATH", value_parser = path)]
    upload_path: Option<String>,

    /// The path of responses that are read slowly; the longer they are, the more there is to cut
    /// [default: the URL's]
    #[arg(long, value_name = "PATH", value_parser = path)]
    stream_path: Option<String>,

    /// Statuses that are right, with commas between; each kind of client must get the first of them that it got
    /// each time [default: any below 400]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(200..500))]
    status: Vec<u16>,

    /// The time between the pieces of uploads, and between the reads of streams
    #[arg(long, value_name = "TIME", default_value = "5ms")]
    pace: HumanDuration,

    /// The time between two requests of a client
    #[arg(long, value_name = "TIME", default_value = "0ms")]
    pause: HumanDuration,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
struct TlsArgs {
    /// Speak TLS, also where the URL begins with http:// [default: off]
    #[arg(long)]
    tls: bool,

    /// Trust the authorities in this file of PEM [default: those of the system]
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,

    /// Trust any certificate: the test is of the stop [default: off]
    #[arg(long)]
    insecure: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Times")]
struct TimeArgs {
    /// How long a server may take until it accepts, after its start or a stop, and answers, after --exec
    #[arg(long, value_name = "TIME", default_value = "30s")]
    ready: HumanDuration,

    /// How long there is load before a stop
    #[arg(long, value_name = "TIME", default_value = "1s")]
    before: HumanDuration,

    /// How long there is load after a stop, where the port never refuses
    #[arg(long, value_name = "TIME", default_value = "10s")]
    after: HumanDuration,

    /// How long a connect, and each step of a request, may take; then it is lost
    #[arg(long, value_name = "TIME", default_value = "30s")]
    patience: HumanDuration,

    /// How long the command of --exec may take
    #[arg(long, value_name = "TIME", default_value = "2m")]
    exec_timeout: HumanDuration,
}

/// A path, to be put behind the server's name.
fn path(text: &str) -> Result<String, String> {
    match text.starts_with('/') && !text.contains([' ', '#']) && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err("a path begins with /, and has neither spaces nor # in it".to_owned()),
    }
}

impl DrainTestArgs {
    pub(super) fn checked(self) -> Result<DrainTestConfig, clap::Error> {
        let Self { url, trigger, load, tls, times, json, command } = self;
        // clap takes a switch that is off for one that is there.
        if !trigger.spawn && !command.is_empty() {
            return Err(complaint(
                "a command behind `--` is the server of --spawn, which is not there",
            ));
        }
        if !trigger.spawn && trigger.signal.is_some() {
            return Err(complaint(
                "--signal is for --spawn; a process that is there gets --signal-pid PID:SIGNAL",
            ));
        }
        if trigger.exec.is_none() && trigger.no_return {
            return Err(complaint("--no-return is for the command of --exec, which is not there"));
        }
        let name = trigger.signal.as_deref().unwrap_or("TERM");
        let spawn_signal = StopTrigger::signal_name(name);
        let spawn_signal = spawn_signal.map_err(|why| complaint(&format!("--signal: {why}")))?;
        let (stops, returns) = (trigger.stops, !trigger.no_return);
        let trigger = match (trigger.signal_pid, trigger.exec) {
            (Some(signal), _) => signal,
            (None, Some(command)) => StopTrigger::Exec(command),
            (None, None) => StopTrigger::Spawn(command),
        };
        let kinds = load.kinds();
        let url = match url.strip_prefix("http://") {
            Some(rest) if tls.tls => format!("https://{rest}"),
            _ => url,
        };
        let trust = match (tls.ca, tls.insecure) {
            (Some(file), _) => TlsTrust::File(file),
            (None, true) => TlsTrust::Anybody,
            (None, false) => TlsTrust::System,
        };
        let mut plan = Plan::new(url, trigger);
        (plan.spawn_signal, plan.stops, plan.returns) = (spawn_signal, stops, returns);
        (plan.statuses, plan.trust) = (load.status, trust);
        (plan.kinds, plan.clients) = (kinds, load.clients.into());
        (plan.upload_path, plan.stream_path) = (load.upload_path, load.stream_path);
        (plan.pace, plan.pause) = (load.pace.0, load.pause.0);
        (plan.ready, plan.before, plan.after) = (times.ready.0, times.before.0, times.after.0);
        (plan.patience, plan.exec_deadline) = (times.patience.0, times.exec_timeout.0);
        Ok(DrainTestConfig { plan, json })
    }
}

impl LoadArgs {
    fn kinds(&self) -> Vec<ClientKind> {
        if !self.kinds.is_empty() {
            let mut kinds = self.kinds.clone();
            kinds.sort_unstable();
            kinds.dedup();
            return kinds;
        }
        let http1 = self.http1 || !self.http2;
        let is_asked = |kind: &ClientKind| if kind.is_http2() { self.http2 } else { http1 };
        ClientKind::ALL.into_iter().filter(is_asked).collect()
    }
}
