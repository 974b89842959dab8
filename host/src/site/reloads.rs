//! Reloads without a client that waits for the outcome: those of SIGHUP and of `--watch`.
//!
//! Each reads everything anew, so the latest one is worth all before it. There is one at a time, and
//! another as soon as that one waits for a compiler; when the other waits too, the one before is given
//! up. What both want compiled goes on.

use std::future::pending;

use tracing::info;

use super::change::PendingChange;
use super::outcome::{ReloadScope, SwapOutcome, Trigger};
use super::swaps::Swaps;

/// Asks for reloads because of one trigger. Dropping it gives up those that wait for a compiler.
#[derive(Debug)]
pub struct Reloads {
    swaps: Swaps,
    scope: ReloadScope,
    trigger: Trigger,
    /// One more is to be asked for.
    wanted: bool,
    latest: Option<Reload>,
    before: Option<Reload>,
}

/// A reload that has been asked for.
#[derive(Debug)]
struct Reload {
    pending: PendingChange,
    /// It waits for a compiler, or has done so.
    compiles: bool,
}

/// What happens to a reload.
enum Event {
    Compiles,
    Over(SwapOutcome),
}

impl Reloads {
    /// No reload has been asked for yet.
    #[must_use]
    pub fn new(swaps: Swaps, scope: ReloadScope, trigger: Trigger) -> Self {
        Self { swaps, scope, trigger, wanted: false, latest: None, before: None }
    }

    /// Asks for a reload, which reads the files as they are now or later.
    pub fn ask(&mut self) {
        self.wanted = true;
        if self.swaps.queue_is_full() {
            let asked = self.trigger.name();
            info!(asked, "swap: waits, because many were asked for before");
        }
    }

    /// Waits for the next outcome that counts; for ever if there is nothing to wait for. What has been
    /// asked for goes on only while this is awaited. Cancel-safe.
    pub async fn next(&mut self) -> SwapOutcome {
        loop {
            let may_ask = self.wanted && self.latest.as_ref().is_none_or(|latest| latest.compiles);
            tokio::select! {
                biased;
                pending = self.swaps.reload(self.scope, self.trigger), if may_ask => {
                    self.wanted = false;
                    self.before = self.latest.take().or_else(|| self.before.take());
                    self.latest = Some(Reload { pending, compiles: false });
                }
                event = next_event(&mut self.latest) => match event {
                    Event::Compiles => self.before = None,
                    Event::Over(outcome) => {
                        self.latest = None;
                        // One that was refused says nothing of what the one before will find.
                        if !matches!(outcome, SwapOutcome::Rejected(_)) {
                            self.before = None;
                        }
                        return outcome;
                    }
                },
                event = next_event(&mut self.before), if self.latest.is_none() => {
                    let Event::Over(outcome) = event else { continue };
                    self.before = None;
                    // Why the latest one was refused counts, not why this one was.
                    if !matches!(outcome, SwapOutcome::Rejected(_)) {
                        return outcome;
                    }
                }
            }
        }
    }
}

/// Waits for what happens to a reload; for ever if there is none. Cancel-safe.
async fn next_event(reload: &mut Option<Reload>) -> Event {
    let Some(Reload { pending: PendingChange { outcome, compile_started }, compiles }) = reload
    else {
        return pending().await;
    };
    if let Some(told) = compile_started {
        let told = tokio::select! {
            biased;
            over = &mut *outcome => return Event::Over(over.unwrap_or_else(|_| SwapOutcome::process_is_ending())),
            told = told => told,
        };
        *compile_started = None;
        if told.is_ok() {
            *compiles = true;
            return Event::Compiles;
        }
    }
    Event::Over(outcome.await.unwrap_or_else(|_| SwapOutcome::process_is_ending()))
}
