//! A stop or a canary, followed to its end: a line of progress several times a second, and one that says how it
//! ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::Host;
use super::reply::line;
use super::schema::{CanaryStatus, ChangeLine, ChangeOutcome, StopEnd, StopLine};

/// Smooth for the eye.
const EVERY: Duration = Duration::from_millis(200);

/// Lines that a slow reader may be behind; after that it gets fewer.
const BEHIND: usize = 4;

/// Sends progress until the process has ended, then how. Ends before that when the client
/// has left. Bounded by the stop, which has a deadline.
pub(super) async fn report(host: Arc<dyn Host>, lines: mpsc::Sender<Bytes>) {
    let mut ended = host.ended();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let last = loop {
        tokio::select! {
            biased;
            last = ended.wait_for(Option::is_some) => break last.ok().and_then(|last| last.clone()),
            () = lines.closed() => return,
            _ = ticks.tick() => {
                let progress = host.progress();
                // Asked for, and not begun yet: the next look sees it.
                if progress.deadline_ms.is_some() {
                    // A full channel is a slow reader: it sees the next one.
                    lines.try_send(line(&StopLine::Progress(progress))).ok();
                }
            }
        }
    };
    if let Some(last) = last {
        say_last(&lines, last).await;
    }
}

/// Waits for a reader to take what came before; bounded by the reader's connection.
async fn say_last(lines: &mpsc::Sender<Bytes>, last: StopEnd) {
    lines.send(line(&StopLine::Ended(last))).await.ok();
}

/// Sends the outcome of a change, and how far the canaries are that it began, until all have ended; without a change
/// those that are under way. Ends before that when the client has left. Bounded by the canaries, which have deadlines.
pub(super) async fn canaries(
    host: Arc<dyn Host>,
    outcome: Option<ChangeOutcome>,
    lines: mpsc::Sender<Bytes>,
) {
    let mut followed = begun(outcome.as_ref(), &host.canaries());
    if let Some(outcome) = outcome {
        lines.send(line(&ChangeLine::Outcome(outcome))).await.ok();
    }
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !followed.is_empty() {
        tokio::select! {
            biased;
            () = lines.closed() => return,
            _ = ticks.tick() => {}
        }
        let mut there = host.canaries();
        there.retain(|canary| followed.contains(&canary.to));
        followed = there.iter().filter(|canary| canary.end.is_none()).map(|it| it.to).collect();
        for canary in there {
            let has_ended = canary.end.is_some();
            let line = line(&ChangeLine::Canary(canary));
            if has_ended {
                lines.send(line).await.ok();
            } else {
                // A full channel is a slow reader: it sees the next one.
                lines.try_send(line).ok();
            }
        }
    }
}

/// The new generations of the canaries that a change has begun. One may have ended by now.
fn begun(outcome: Option<&ChangeOutcome>, canaries: &[CanaryStatus]) -> Vec<u64> {
    let latest = |name: &String| {
        let latest = canaries.iter().rev().find(|canary| canary.component == *name);
        latest.map(|canary| canary.to)
    };
    match outcome {
        Some(ChangeOutcome::Canary { to, .. }) => vec![*to],
        Some(ChangeOutcome::Reloaded { canaries, .. }) => {
            canaries.iter().filter_map(latest).collect()
        }
        Some(_) => Vec::new(),
        None => canaries.iter().filter(|it| it.end.is_none()).map(|it| it.to).collect(),
    }
}

/// The two ends of a report.
pub(super) fn channel() -> (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>) {
    mpsc::channel(BEHIND)
}
