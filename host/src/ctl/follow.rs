//! A stop, followed to its end.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::client::{ANSWER, CtlClient, CtlRequest, NoAnswer};
use super::failure::{CtlError, refusal_text};
use super::show;
use crate::control::schema::{StopLine, StopProgress};
use crate::exit::Exit;
use crate::outlet;

/// Without a terminal, a line this often.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// The stop has a deadline of its own; after it the host has this long for its last words.
const PAST_THE_DEADLINE: Duration = Duration::from_secs(10);

/// Asks for a stop and follows it. Gives the host's own exit code.
pub(super) async fn to_the_end(
    client: &mut CtlClient,
    request: CtlRequest,
    json: bool,
) -> Result<Exit, CtlError> {
    let answer =
        timeout(ANSWER, client.begin(request)).await.map_err(|_| NoAnswer::TooLate(ANSWER))??;
    let status = answer.status();
    if !status.is_success() {
        let body = timeout(ANSWER, answer.into_body().collect()).await;
        let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
        return Err(CtlError::Refused(refusal_text(status, &body)));
    }
    let mut lines = Lines { body: answer.into_body(), waiting: Vec::new() };
    let mut screen = Screen::new(json);
    let mut patience = ANSWER;
    loop {
        let line = timeout(patience, lines.next()).await.map_err(|_| NoAnswer::TooLate(patience));
        let line = line.and_then(|line| line).inspect_err(|_| screen.clear())?;
        match screen.show(&line)? {
            StopLine::Ended(ended) => return Ok(Exit::Same(ended.exit)),
            StopLine::Progress(progress) => patience = time_left(&progress),
        }
    }
}

/// How long the next line may take. Lines come several times a second, but a host that is short of
/// CPU may be late: until its own deadline and a while longer.
fn time_left(progress: &StopProgress) -> Duration {
    let left = progress.deadline_ms.unwrap_or(0).saturating_sub(progress.elapsed_ms);
    Duration::from_millis(left) + PAST_THE_DEADLINE
}

/// The lines of an answer.
struct Lines {
    body: Incoming,
    waiting: Vec<u8>,
}

impl Lines {
    /// The next whole line. An answer that ends without one is broken: the last line says how the
    /// host ended.
    async fn next(&mut self) -> Result<Vec<u8>, NoAnswer> {
        loop {
            if let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') {
                return Ok(self.waiting.drain(..=end).collect());
            }
            let frame = match self.body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(why)) => return Err(NoAnswer::Broken(why.to_string())),
                None => return Err(NoAnswer::Broken("it ended without its last line".into())),
            };
            self.waiting.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        }
    }
}

/// Where progress is shown.
struct Screen {
    json: bool,
    terminal: bool,
    said: Option<Instant>,
}

impl Screen {
    fn new(json: bool) -> Self {
        Self { json, terminal: io::stdout().is_terminal(), said: None }
    }

    fn show(&mut self, line: &[u8]) -> Result<StopLine, NoAnswer> {
        let parsed = serde_json::from_slice(line).map_err(NoAnswer::not_ours)?;
        match &parsed {
            _ if self.json => drop(outlet::print_json(line)),
            StopLine::Progress(progress) => self.progress(progress),
            StopLine::Ended(ended) => {
                self.clear();
                drop(outlet::print(&format!("{}\n", ended.report)));
            }
        }
        Ok(parsed)
    }

    fn progress(&mut self, progress: &StopProgress) {
        let text = show::progress(progress);
        if self.terminal {
            // No words of strangers: phases and numbers.
            drop(outlet::pass(format!("\r\x1b[2K{}", text.trim_end()).as_bytes()));
        } else if self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            self.said = Some(Instant::now());
            drop(outlet::print(&text));
        }
    }

    fn clear(&self) {
        if self.terminal && !self.json {
            drop(outlet::pass(b"\r\x1b[2K"));
        }
    }
}
