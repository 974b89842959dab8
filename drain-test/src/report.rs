//! What a test has found.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::time::Instant;

use super::fate::{LossKind, When};
use super::kinds::ClientKind;
use super::ledger::{KeptLoss, Ledger, Tally};

/// The most losses that a report lists. More are counted only.
const MOST_LISTED: usize = 10_000;

/// What became of every request of a test. `Display` is a table, `serde` gives JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[must_use = "it says what was lost"]
pub struct DrainReport {
    /// What was asked for.
    pub url: String,
    /// The stops, in their order.
    pub stops: Vec<StopOutcome>,
    /// The sums of all stops, for each kind of client.
    pub clients: BTreeMap<ClientKind, Tally>,
    /// The status that counts as right for each kind of client: the first one that it got.
    pub statuses: BTreeMap<ClientKind, u16>,
    /// The losses in full, in the order of stops and moments.
    pub losses: Vec<Loss>,
    /// Losses after which a client may repeat its request, because it is a GET, and its connection ended before a
    /// byte of a response.
    pub repeatable: u64,
    /// Losses that `clients` counts and `losses` does not list.
    pub unlisted: u64,
    /// The last failure that was our own, if there was any.
    pub own_failure: Option<String>,
    /// Why the test is not what was asked for, if it is not: a stop could not be made, or the server did not come
    /// back after it. Then it ends there, but for a child that was killed. What is here was measured all the same.
    pub trouble: Option<String>,
}

/// One stop. Times are in milliseconds from the trigger.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StopOutcome {
    /// Its number, from 1.
    pub stop: u32,
    /// When a connect was refused first. None when none was, as at a reload.
    pub refused_ms: Option<f64>,
    /// When the last client had ended.
    pub clients_ended_ms: f64,
    /// How the server, or the command that stopped it, exited, if it is a child of ours.
    pub exit: Option<String>,
    /// When it did.
    pub exit_ms: Option<f64>,
    /// Whether the server is a child of ours that did not end by itself. It was killed then.
    pub killed: bool,
}

/// A lost request. Times are in milliseconds from the trigger, and negative before it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Loss {
    /// The number of the stop, from 1.
    pub stop: u32,
    /// The kind of client.
    pub client: ClientKind,
    /// What the header `X-Drain-Test` said.
    pub request: u64,
    /// When it was sent.
    pub sent_ms: f64,
    /// When it was lost.
    pub ended_ms: f64,
    /// Where the stop was.
    pub phase: When,
    /// How it was lost.
    pub kind: LossKind,
    /// Whether the client may repeat it, as [`DrainReport::repeatable`] says.
    pub repeatable: bool,
    /// What the client saw.
    pub detail: String,
}

impl DrainReport {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            stops: Vec::new(),
            clients: BTreeMap::new(),
            statuses: BTreeMap::new(),
            losses: Vec::new(),
            repeatable: 0,
            unlisted: 0,
            own_failure: None,
            trouble: None,
        }
    }

    /// Whether all stops were made and no request was lost.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.trouble.is_none() && self.total().lost_in_all() == 0
    }

    /// The sums of all kinds of clients.
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.clients.values().for_each(|tally| total.add(tally.clone()));
        total
    }

    /// Whether nothing was tested: the server was never stopped.
    #[must_use]
    pub fn is_untested(&self) -> bool {
        self.stops.is_empty()
    }

    /// Adds what the clients of one stop have found.
    pub(crate) fn add(
        &mut self,
        stop: u32,
        triggered: Instant,
        ledgers: BTreeMap<ClientKind, Ledger>,
    ) {
        let mut losses = Vec::new();
        for (client, ledger) in ledgers {
            let listed = ledger.losses.iter();
            losses.extend(listed.map(|lost| Loss::new(stop, client, lost, triggered)));
            self.unlisted += ledger.tally.lost_in_all();
            self.repeatable += ledger.tally.repeatable;
            self.clients.entry(client).or_default().add(ledger.tally);
            self.own_failure = ledger.own_failure.or_else(|| self.own_failure.take());
        }
        losses.sort_by(|one, other| one.ended_ms.total_cmp(&other.ended_ms));
        losses.truncate(MOST_LISTED.saturating_sub(self.losses.len()));
        self.unlisted -= u64::try_from(losses.len()).unwrap_or_default();
        self.losses.extend(losses);
    }
}

impl Loss {
    fn new(stop: u32, client: ClientKind, lost: &KeptLoss, triggered: Instant) -> Self {
        let KeptLoss { request, kind, detail } = lost;
        Self {
            stop,
            client,
            request: request.id,
            sent_ms: since(triggered, request.began),
            ended_ms: since(triggered, request.ended),
            phase: request.when,
            kind: *kind,
            repeatable: request.is_repeatable,
            detail: detail.clone(),
        }
    }
}

/// The milliseconds from the trigger to this moment, to the microsecond.
pub(crate) fn since(triggered: Instant, moment: Instant) -> f64 {
    let to_the_microsecond = |seconds: f64| (seconds * 1e6).round() / 1e3;
    match moment.checked_duration_since(triggered) {
        Some(after) => to_the_microsecond(after.as_secs_f64()),
        None => -to_the_microsecond(triggered.duration_since(moment).as_secs_f64()),
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
