//! `host ctl`: asks or commands a running host over its control socket.
//!
//! ```text
//! find (which host) ─→ client (one request) ─→ show (for people) or the host's own JSON
//!                                          └→ follow (a stop, to its end)
//! ```

mod client;
mod find;
mod follow;
mod show;

use std::io;
use std::path::Path;
use std::time::Duration;

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::config::{CtlCommand, CtlConfig};
use crate::control::schema::{
    Connections, Generations, Nothing, Outcome, Progress, Refused, Rollback, Status, Stop, Swap,
};
use crate::exit::Exit;
use crate::outlet;
use client::{Ask, Client, Gone};
use find::NotFound;

/// The host answers from a thread of its own, at once.
const ANSWER: Duration = Duration::from_secs(10);

/// A swap compiles, warms and is bounded by the host; this only ends the wait for a host that has
/// hung.
const SWAP: Duration = Duration::from_secs(600);

/// Why `host ctl` did not get what it asked for.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    NotFound(#[from] NotFound),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Gone(#[from] Gone),
    #[error("cannot write the answer to stdout: {0}")]
    Unprinted(io::Error),
    #[error("cannot start: {0}")]
    NoStart(#[from] io::Error),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::NotFound(NotFound::Several(_)) => Exit::Several,
            Self::NotFound(_) | Self::NoStart(_) => Exit::NoHost,
            Self::Refused(_) => Exit::Refused,
            Self::Gone(_) | Self::Unprinted(_) => Exit::Lost,
        }
    }
}

/// Finds the host, asks, prints the answer. Gives what the process should exit with.
#[must_use]
pub fn run(ask: &CtlConfig) -> Exit {
    carry_out(ask).unwrap_or_else(|why| {
        outlet::complain(&format!("host ctl: {why}"));
        why.exit()
    })
}

fn carry_out(ask: &CtlConfig) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = find::socket(&ask.target)?;
    runtime.block_on(async {
        let client =
            Client::connect(&socket, ANSWER).await.map_err(|why| not_there(&socket, &why))?;
        let mut desk = Desk { client, json: ask.json };
        desk.command(&ask.command).await
    })
}

/// Nobody who can be asked is at the socket.
fn not_there(socket: &Path, why: &io::Error) -> Failure {
    NotFound::NotThere { socket: socket.to_owned(), why: why.to_string() }.into()
}

/// Where commands become requests and answers become text.
struct Desk {
    client: Client,
    json: bool,
}

impl Desk {
    async fn command(&mut self, command: &CtlCommand) -> Result<Exit, Failure> {
        match command {
            CtlCommand::Status => self.look::<Status>("/v1/status", show::status).await,
            CtlCommand::Connections => {
                self.look::<Connections>("/v1/connections", show::connections).await
            }
            CtlCommand::Generations => {
                self.look::<Generations>("/v1/generations", show::generations).await
            }
            CtlCommand::Reload => self.swap(Ask::post("/v1/reload", &Nothing {})).await,
            CtlCommand::Swap { component, path } => {
                // The host runs in another directory.
                let path = std::path::absolute(path)?;
                let component = component.clone();
                self.swap(Ask::post("/v1/swap", &Swap { path, component })).await
            }
            CtlCommand::Rollback { component } => {
                let component = component.clone();
                self.swap(Ask::post("/v1/rollback", &Rollback { component })).await
            }
            CtlCommand::Drain => self.tell("/v1/drain", show::progress).await,
            CtlCommand::Undrain => self.tell("/v1/undrain", show::progress).await,
            CtlCommand::Stop { now, wait: false } => {
                let ask = Ask::post("/v1/stop", &Stop { now: *now, follow: false });
                self.ask::<Progress>(ask, ANSWER, show::asked_to_stop).await
            }
            CtlCommand::Stop { now, wait: true } => {
                let ask = Ask::post("/v1/stop", &Stop { now: *now, follow: true });
                follow::to_the_end(&mut self.client, ask, self.json).await
            }
        }
    }

    async fn look<T: DeserializeOwned>(
        &mut self,
        path: &'static str,
        show: fn(&T) -> String,
    ) -> Result<Exit, Failure> {
        self.ask(Ask { method: Method::GET, path, body: Vec::new() }, ANSWER, show).await
    }

    async fn tell(
        &mut self,
        path: &'static str,
        show: fn(&Progress) -> String,
    ) -> Result<Exit, Failure> {
        self.ask(Ask::post(path, &Nothing {}), ANSWER, show).await
    }

    async fn swap(&mut self, ask: Ask) -> Result<Exit, Failure> {
        self.ask::<Outcome>(ask, SWAP, show::outcome).await
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        ask: Ask,
        patience: Duration,
        show: fn(&T) -> String,
    ) -> Result<Exit, Failure> {
        let (status, body) = self.client.ask(ask, patience).await?;
        if !status.is_success() {
            if self.json {
                outlet::print_json(&body).map_err(Failure::Unprinted)?;
            }
            return Err(Failure::Refused(reason(status, &body)));
        }
        let printed = if self.json {
            outlet::print_json(&body)
        } else {
            let answer = serde_json::from_slice(&body).map_err(Gone::not_ours)?;
            outlet::print(&show(&answer))
        };
        printed.map_err(Failure::Unprinted)?;
        Ok(Exit::Clean)
    }
}

/// Why the host said no.
fn reason(status: StatusCode, body: &[u8]) -> String {
    if let Ok(Outcome::Rejected { step, why }) = serde_json::from_slice(body) {
        return format!("rejected ({step}): {why}");
    }
    serde_json::from_slice::<Refused>(body)
        .map_or_else(|_| format!("the host answered {status}"), |refused| refused.error)
}
