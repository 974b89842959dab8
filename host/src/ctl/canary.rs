//! A change, and the canaries that it begins, followed to their end.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use super::client::{ANSWER, CtlClient, CtlRequest, NoAnswer};
use super::failure::CtlError;
use super::follow::{Screen, begin};
use super::show;
use crate::config::{CanaryFlags, CanaryShare};
use crate::control::schema::{CanaryRequest, CanaryStatus, ChangeLine};
use crate::exit::Exit;
use host_log::outlet;

/// What is asked of the host; nothing if no flag was given.
pub(super) fn request(flags: &CanaryFlags) -> Option<CanaryRequest> {
    let CanaryFlags { canary, period, abort_if, sticky } = flags;
    (*flags != CanaryFlags::default()).then(|| CanaryRequest {
        share: canary.map(|share| match share {
            CanaryShare::Off => "off".into(),
            CanaryShare::Share(share) => share.to_string(),
        }),
        period: period.map(|period| humantime::format_duration(period.0).to_string()),
        abort_if: abort_if.as_ref().map(ToString::to_string),
        sticky: sticky.as_ref().map(ToString::to_string),
    })
}

/// Asks for a change within `patience`, and follows the canaries that it begins. Each line comes soon after the one
/// before.
pub(super) async fn to_the_end(
    client: &mut CtlClient,
    request: CtlRequest,
    patience: Duration,
    json: bool,
) -> Result<Exit, CtlError> {
    let mut lines = begin(client, request, patience).await?;
    let mut screen = Screen::new(json);
    // By generation, whether it serves now; none while that is not decided.
    let mut canaries: BTreeMap<u64, Option<bool>> = BTreeMap::new();
    loop {
        let line = timeout(ANSWER, lines.next()).await.map_err(|_| NoAnswer::TooLate(ANSWER));
        let Some(line) = line.and_then(|line| line)? else { break };
        let parsed = serde_json::from_slice(&line).map_err(NoAnswer::not_ours)?;
        if let ChangeLine::Canary(CanaryStatus { to, end, .. }) = &parsed {
            canaries.insert(*to, end.as_ref().map(|end| end.promoted));
        }
        if json {
            outlet::print_json(&line).map_err(CtlError::Unprinted)?;
        } else {
            show_line(&mut screen, &parsed)?;
        }
    }
    if canaries.values().any(Option::is_none) {
        return Err(NoAnswer::ended().into());
    }
    let aborted = canaries.values().any(|promoted| *promoted == Some(false));
    Ok(if aborted { Exit::Aborted } else { Exit::Clean })
}

fn show_line(screen: &mut Screen, line: &ChangeLine) -> Result<(), CtlError> {
    let text = match line {
        ChangeLine::Outcome(outcome) => show::outcome(outcome),
        ChangeLine::Canary(canary) => match show::canary_end(canary) {
            None => {
                screen.progress(&show::canary_progress(canary));
                return Ok(());
            }
            Some(end) => end,
        },
    };
    screen.print(&text).map_err(CtlError::Unprinted)
}
