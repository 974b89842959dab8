//! A stop, followed to its end.

use std::io;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::client::{ANSWER, CtlClient, CtlRequest, NoAnswer};
use super::failure::{CtlError, refusal_text};
use super::show;
use crate::control::schema::{StopLine, StopProgress};
use crate::exit::Exit;
use host_log::{fit, outlet, terminal};
use host_manifest::escape;

/// Without a terminal, a line this often.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Goes to the beginning of the line and erases it.
const CLEAR: &str = "\r\x1b[2K";

/// The stop has a deadline of its own; after it the host has this long for its last words.
const PAST_THE_DEADLINE: Duration = Duration::from_secs(10);

/// Asks for a stop and follows it. Gives the host's own exit code.
pub(super) async fn to_the_end(
    client: &mut CtlClient,
    request: CtlRequest,
    json: bool,
) -> Result<Exit, CtlError> {
    let mut lines = begin(client, request, ANSWER).await?;
    let mut screen = Screen::new(json);
    let mut patience = ANSWER;
    loop {
        let line = timeout(patience, lines.next()).await.map_err(|_| NoAnswer::TooLate(patience));
        let line = line.and_then(|line| line)?;
        // The last line says how the host ended.
        let line = line.ok_or_else(NoAnswer::ended)?;
        match show_line(&mut screen, &line)? {
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
pub(super) struct Lines {
    body: Incoming,
    waiting: Vec<u8>,
}

impl Lines {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, waiting: Vec::new() }
    }

    /// The next whole line; none at the end of the answer.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, NoAnswer> {
        loop {
            if let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.waiting.drain(..=end).collect()));
            }
            let frame = match self.body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(why)) => return Err(NoAnswer::Broken(why.to_string())),
                None => return Ok(None),
            };
            self.waiting.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        }
    }
}

/// Asks, and waits until the head of the answer is here.
pub(super) async fn begin(
    client: &mut CtlClient,
    request: CtlRequest,
    patience: Duration,
) -> Result<Lines, CtlError> {
    let answer = timeout(patience, client.begin(request)).await;
    let answer = answer.map_err(|_| NoAnswer::TooLate(patience))??;
    let status = answer.status();
    if status.is_success() {
        return Ok(Lines::new(answer.into_body()));
    }
    let body = timeout(ANSWER, answer.into_body().collect()).await;
    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
    Err(CtlError::Refused(refusal_text(status, &body)))
}

fn show_line(screen: &mut Screen, line: &[u8]) -> Result<StopLine, NoAnswer> {
    let parsed = serde_json::from_slice(line).map_err(NoAnswer::not_ours)?;
    match &parsed {
        _ if screen.json => drop(outlet::print_json(line)),
        StopLine::Progress(progress) => screen.progress(&show::progress(progress)),
        StopLine::Ended(ended) => drop(screen.print(&format!("{}\n", ended.report))),
    }
    Ok(parsed)
}

/// Where progress is shown. Dropping it clears the line of progress, so whatever is said next stands alone.
pub(super) struct Screen {
    pub(super) json: bool,
    /// A line can be drawn over itself.
    draws: bool,
    /// There is one now.
    drawn: bool,
    said: Option<Instant>,
}

impl Screen {
    pub(super) fn new(json: bool) -> Self {
        Self { json, draws: terminal::takes_commands(io::stdout()), drawn: false, said: None }
    }

    /// Shows a line that takes the place of the one before, on a terminal; elsewhere one now and then.
    pub(super) fn progress(&mut self, text: &str) {
        if self.draws {
            let line = escape::harmless(text);
            let line = fit::cut(&line, terminal::columns(io::stdout()).unwrap_or(usize::MAX));
            drop(outlet::pass(format!("{CLEAR}{line}").as_bytes()));
            self.drawn = true;
        } else if self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            self.said = Some(Instant::now());
            drop(outlet::print(text));
        }
    }

    /// Prints what stays, in place of the progress.
    pub(super) fn print(&mut self, text: &str) -> io::Result<()> {
        self.clear();
        outlet::print(text)
    }

    fn clear(&mut self) {
        if self.drawn {
            drop(outlet::pass(CLEAR.as_bytes()));
            self.drawn = false;
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}
