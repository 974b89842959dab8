//! `host ctl top`: the host live, drawn anew once a second.
//!
//! ```text
//! keys ──────┐
//! signals ───┼─→ run ─→ draw (lines of text) ─→ screen (the terminal)
//! answers ───┘
//! ```

mod draw;
mod screen;

use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::thread;
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use http::Method;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::client::{ANSWER, CtlClient, CtlRequest, NoAnswer};
use super::failure::{CtlError, refusal_text};
use super::screen_size::ScreenSize;
use crate::control::schema::{Status, TrafficReport};
use crate::exit::Exit;
use host_log::terminal;
use screen::TopScreen;

/// How often it is drawn.
const EVERY: Duration = Duration::from_secs(1);

/// Where there is no terminal to draw on.
const NO_TERMINAL: &str = "top draws on a terminal, and there is none, or a dumb one (TERM=dumb); run `host ctl status`, or ask for GET /v1/traffic \
                           over the control socket (docs/control.md)";

/// What the host has answered.
#[derive(Debug)]
struct Answers {
    status: Status,
    traffic: TrafficReport,
}

/// What ends it.
enum Leave {
    /// A key.
    Key,
    /// A signal of this number.
    Signal(u8),
    /// The terminal gives no keys any more.
    NoKeys,
}

/// Draws until a key or a signal ends it, or the host has gone. Gives the exit code.
///
/// # Errors
/// Without a terminal, and when the host does not answer any more. The terminal is as it was before.
pub(super) async fn run(client: &mut CtlClient) -> Result<Exit, CtlError> {
    if !terminal::takes_commands(io::stdout()) || !io::stdin().is_terminal() {
        return Err(CtlError::Usage(NO_TERMINAL.into()));
    }
    let mut signals = LeaveSignals::arm()?;
    // What has to be said stands on the terminal as it was before: the screen is gone by then.
    let mut answers = ask(client).await?;
    let screen = TopScreen::open()?;
    let mut keys = keys()?;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The answers are here already.
    ticks.tick().await;
    loop {
        // Kept while keys come: a request that is dropped half-way takes the connection with it.
        let mut next = pin!(async {
            ticks.tick().await;
            ask(client).await
        });
        answers = loop {
            let size = ScreenSize::of_stdout();
            screen.draw(&draw::lines(&answers.status, &answers.traffic, size), size)?;
            tokio::select! {
                biased;
                number = signals.next() => return Ok(leave(&Leave::Signal(number))),
                event = keys.recv() => match event {
                    None => return Ok(leave(&Leave::NoKeys)),
                    Some(event) if leaves(&event) => return Ok(leave(&Leave::Key)),
                    // A new size is drawn at once.
                    Some(_) => {}
                },
                next = &mut next => break next.map_err(|why| gone(&answers, why))?,
            }
        };
    }
}

fn leave(why: &Leave) -> Exit {
    match why {
        Leave::Key | Leave::NoKeys => Exit::Clean,
        Leave::Signal(number) => Exit::Signal(*number),
    }
}

/// A host that was stopping has ended; another one is lost.
fn gone(answers: &Answers, why: CtlError) -> CtlError {
    match answers.status.stopping {
        Some(_) => CtlError::Ended(format!("the host (pid {}) has stopped", answers.status.pid)),
        None => why,
    }
}

async fn ask(client: &mut CtlClient) -> Result<Answers, CtlError> {
    Ok(Answers {
        status: get(client, "/v1/status").await?,
        traffic: get(client, "/v1/traffic").await?,
    })
}

async fn get<T: DeserializeOwned>(
    client: &mut CtlClient,
    path: &'static str,
) -> Result<T, CtlError> {
    let request = CtlRequest { method: Method::GET, path, body: Vec::new() };
    let (status, body) = client.ask(request, ANSWER).await?;
    if !status.is_success() {
        return Err(CtlError::Refused(refusal_text(status, &body)));
    }
    Ok(serde_json::from_slice(&body).map_err(NoAnswer::not_ours)?)
}

/// Keys, and new sizes of the terminal. A thread waits for them, until the process ends.
fn keys() -> io::Result<mpsc::UnboundedReceiver<Event>> {
    let (sender, keys) = mpsc::unbounded_channel();
    thread::Builder::new().name("keys".into()).spawn(move || {
        while let Ok(event) = crossterm::event::read() {
            if sender.send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(keys)
}

/// `q`, Esc, Ctrl-C.
fn leaves(event: &Event) -> bool {
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return false };
    let is_control = modifiers.contains(KeyModifiers::CONTROL);
    *kind != KeyEventKind::Release
        && match code {
            KeyCode::Esc => true,
            KeyCode::Char('q' | 'Q') => true,
            KeyCode::Char('c' | 'd') => is_control,
            _ => false,
        }
}

/// What ends a process that does not handle it, with the terminal left as it is.
struct LeaveSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl LeaveSignals {
    fn arm() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The number of the next one. Cancel-safe.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.terminate.recv() => 15,
            _ = self.interrupt.recv() => 2,
            _ = self.hangup.recv() => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_that_people_try_leave() {
        let key = |code, modifiers| leaves(&Event::Key(KeyEvent::new(code, modifiers)));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!leaves(&Event::Resize(80, 24)));
    }
}
