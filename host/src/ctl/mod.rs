//! `host ctl`: asks or commands a running host over its control socket.
//!
//! ```text
//! find (which host) ─→ client (one request) ─→ status, lists, show (for people) or the host's own JSON
//!                                          ├→ top (the same live)
//!                                          ├→ kv (buckets and their pairs)
//!                                          └→ follow (a stop, to its end), canary (a change, to its)
//! ```

mod canary;
mod client;
mod failure;
mod find;
mod follow;
mod kv;
mod lists;
mod numbers;
mod screen_size;
mod show;
mod status;
mod table;
mod top;
mod usage;

use std::io;
use std::path::Path;
use std::time::Duration;

use host_manifest::HumanDuration;
use http::Method;
use serde::de::DeserializeOwned;

use crate::config::{CanaryAction, CanaryFlags, CtlCommand, CtlConfig};
use crate::control::schema::{
    CanaryList, ChangeOutcome, ConnectionList, EmptyRequest, GenerationList, ReloadRequest,
    RollbackRequest, Status, StopProgress, StopRequest, SwapRequest, UpgradeReport, UpgradeRequest,
    UsageList,
};
use crate::exit::Exit;
use client::{ANSWER, CtlClient, CtlRequest, NoAnswer};
use failure::{CtlError, refusal_text};
use find::NotFound;
use host_log::outlet;
use kv::KvSession;
use screen_size::ScreenSize;

/// A swap compiles, warms and is bounded by the host; this only ends the wait for a host that has
/// hung.
const SWAP: Duration = Duration::from_secs(600);

/// There is JSON elsewhere.
const NO_JSON: &str = "top is for people; the same as JSON is GET /v1/traffic over the control socket \
                       (docs/control.md)";

/// Finds the host, asks, prints the answer. Gives what the process should exit with.
#[must_use]
pub fn run(ask: &CtlConfig) -> Exit {
    carry_out(ask).unwrap_or_else(|why| {
        outlet::complain(&format!("host ctl: {why}"));
        why.exit()
    })
}

fn carry_out(ask: &CtlConfig) -> Result<Exit, CtlError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = find::socket(&ask.target)?;
    let input = kv::input(&ask.command)?;
    runtime.block_on(async {
        let client =
            CtlClient::connect(&socket, ANSWER).await.map_err(|why| not_there(&socket, &why))?;
        let mut session = CtlSession { client, json: ask.json, input };
        session.run(&ask.command).await
    })
}

/// Where a host is asked to go out of service, or back into it.
fn in_or_out(command: &CtlCommand) -> &'static str {
    if *command == CtlCommand::Undrain { "/v1/undrain" } else { "/v1/drain" }
}

/// How much room there is for the answer.
fn size() -> ScreenSize {
    ScreenSize::of_stdout()
}

/// No host answers at the socket.
fn not_there(socket: &Path, why: &io::Error) -> CtlError {
    NotFound::NotThere { socket: socket.to_owned(), why: why.to_string() }.into()
}

/// Turns commands into requests, and answers into text.
struct CtlSession {
    client: CtlClient,
    json: bool,
    /// What the command needed of stdin.
    input: Vec<u8>,
}

impl CtlSession {
    async fn run(&mut self, command: &CtlCommand) -> Result<Exit, CtlError> {
        match command {
            CtlCommand::Status { limits } => self.status(*limits).await,
            CtlCommand::Top => self.top().await,
            CtlCommand::Connections { sort }
            | CtlCommand::Generations { sort }
            | CtlCommand::Usage { sort } => self.list(command, sort.as_deref()).await,
            CtlCommand::Kv { component, action } => {
                let (client, json) = (&mut self.client, self.json);
                let (component, input) = (component.clone(), std::mem::take(&mut self.input));
                KvSession { client, json, component, input }.run(action).await
            }
            CtlCommand::Reload { wait } => self.reload(*wait).await,
            CtlCommand::ReloadTls => self.reload_tls().await,
            CtlCommand::Swap { component, path, canary, wait } => {
                self.swap((component.clone(), path), canary, *wait).await
            }
            CtlCommand::Canary { wait, action } => self.canary(*wait, action.as_ref()).await,
            CtlCommand::Rollback { component } => self.rollback(component.clone()).await,
            CtlCommand::Upgrade { binary, config, timeout } => {
                self.upgrade(binary.as_deref(), config.as_deref(), *timeout).await
            }
            CtlCommand::Drain | CtlCommand::Undrain => {
                self.tell(in_or_out(command), show::progress).await
            }
            CtlCommand::Stop { now, wait } => self.stop(*now, *wait).await,
        }
    }

    /// Connections, generations, or what is used.
    async fn list(&mut self, what: &CtlCommand, sort: Option<&str>) -> Result<Exit, CtlError> {
        match what {
            CtlCommand::Connections { .. } => {
                let show = |list: &_| lists::connections(list, sort, size());
                self.look::<ConnectionList>("/v1/connections", show).await
            }
            CtlCommand::Generations { .. } => {
                let show = |list: &_| lists::generations(list, sort, size());
                self.look::<GenerationList>("/v1/generations", show).await
            }
            _ => {
                let show = |list: &_| usage::usage(list, sort, size());
                self.look::<UsageList>("/v1/usage", show).await
            }
        }
    }

    async fn reload(&mut self, wait: bool) -> Result<Exit, CtlError> {
        self.change(CtlRequest::post("/v1/reload", &ReloadRequest { follow: wait }), wait).await
    }

    async fn rollback(&mut self, component: Option<String>) -> Result<Exit, CtlError> {
        let ask = CtlRequest::post("/v1/rollback", &RollbackRequest { component });
        self.change(ask, false).await
    }

    async fn top(&mut self) -> Result<Exit, CtlError> {
        if self.json {
            return Err(CtlError::Usage(NO_JSON.into()));
        }
        top::run(&mut self.client).await
    }

    async fn swap(
        &mut self,
        (component, path): (Option<String>, &Path),
        canary: &CanaryFlags,
        wait: bool,
    ) -> Result<Exit, CtlError> {
        // The host runs in another directory.
        let path = std::path::absolute(path)?;
        let canary = canary::request(canary);
        let swap = SwapRequest { path, component, canary, follow: wait };
        self.change(CtlRequest::post("/v1/swap", &swap), wait).await
    }

    async fn upgrade(
        &mut self,
        binary: Option<&Path>,
        config: Option<&Path>,
        timeout: Option<HumanDuration>,
    ) -> Result<Exit, CtlError> {
        // The host runs in another directory.
        let (binary, config) = (
            binary.map(std::path::absolute).transpose()?,
            config.map(std::path::absolute).transpose()?,
        );
        let within = timeout.map(|time| time.0);
        let within_ms = within.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let patience = within.unwrap_or_default().saturating_add(SWAP);
        let ask = UpgradeRequest { binary, config, within_ms };
        let ask = CtlRequest::post("/v1/upgrade", &ask);
        self.ask::<UpgradeReport>(ask, patience, show::upgraded).await
    }

    async fn reload_tls(&mut self) -> Result<Exit, CtlError> {
        self.change(CtlRequest::post("/v1/reload-tls", &EmptyRequest {}), false).await
    }

    async fn status(&mut self, limits: bool) -> Result<Exit, CtlError> {
        let show = if limits { status::limits } else { status::status };
        self.look::<Status>("/v1/status", |status| show(status, size())).await
    }

    async fn stop(&mut self, now: bool, follow: bool) -> Result<Exit, CtlError> {
        let ask = CtlRequest::post("/v1/stop", &StopRequest { now, follow });
        if follow {
            return follow::to_the_end(&mut self.client, ask, self.json).await;
        }
        self.ask::<StopProgress>(ask, ANSWER, show::asked_to_stop).await
    }

    async fn canary(
        &mut self,
        wait: bool,
        action: Option<&CanaryAction>,
    ) -> Result<Exit, CtlError> {
        let (path, component) = match action {
            None if wait => {
                let ask = CtlRequest::post("/v1/canaries/follow", &EmptyRequest {});
                return canary::to_the_end(&mut self.client, ask, ANSWER, self.json).await;
            }
            None => return self.look::<CanaryList>("/v1/canaries", show::canaries).await,
            Some(CanaryAction::Promote { component }) => ("/v1/promote", component.clone()),
            Some(CanaryAction::Abort { component }) => ("/v1/abort", component.clone()),
        };
        self.change(CtlRequest::post(path, &RollbackRequest { component }), false).await
    }

    async fn look<T: DeserializeOwned>(
        &mut self,
        path: &'static str,
        show: impl Fn(&T) -> String,
    ) -> Result<Exit, CtlError> {
        self.ask(CtlRequest { method: Method::GET, path, body: Vec::new() }, ANSWER, show).await
    }

    async fn tell(
        &mut self,
        path: &'static str,
        show: fn(&StopProgress) -> String,
    ) -> Result<Exit, CtlError> {
        self.ask(CtlRequest::post(path, &EmptyRequest {}), ANSWER, show).await
    }

    async fn change(&mut self, request: CtlRequest, follow: bool) -> Result<Exit, CtlError> {
        if follow {
            return canary::to_the_end(&mut self.client, request, SWAP, self.json).await;
        }
        self.ask::<ChangeOutcome>(request, SWAP, show::outcome).await
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        request: CtlRequest,
        patience: Duration,
        show: impl Fn(&T) -> String,
    ) -> Result<Exit, CtlError> {
        let (status, body) = self.client.ask(request, patience).await?;
        if !status.is_success() {
            if self.json {
                outlet::print_json(&body).map_err(CtlError::Unprinted)?;
            }
            return Err(CtlError::Refused(refusal_text(status, &body)));
        }
        let printed = if self.json {
            outlet::print_json(&body)
        } else {
            let answer = serde_json::from_slice(&body).map_err(NoAnswer::not_ours)?;
            outlet::print(&show(&answer))
        };
        printed.map_err(CtlError::Unprinted)?;
        Ok(Exit::Clean)
    }
}
