//! A report for people.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use super::ledger::{PhaseCounts, Tally};
use super::report::{DrainReport, Loss, StopOutcome};

/// The most losses that the table lists. JSON has more of them.
const MOST_SHOWN: usize = 20;

impl Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stops = self.stops.len();
        writeln!(f, "{}: {stops} stop{}", self.url, if stops == 1 { "" } else { "s" })?;
        writeln!(
            f,
            "{:<14}{:>6}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}  lost by kind",
            "client", "status", "sent", "answered", "at stop", "after", "refused", "lost"
        )?;
        for (kind, tally) in &self.clients {
            let status = self.statuses.get(kind).map_or_else(|| "none".to_owned(), u16::to_string);
            row(f, kind, &status, tally)?;
        }
        let total = self.total();
        row(f, &"total", "", &total)?;
        writeln!(f, "refused: {}", Counts(&total.refused))?;
        if total.lost_in_all() > 0 {
            writeln!(
                f,
                "of the lost, a client may repeat {} (GET, and the connection ended before a byte of a response)",
                self.repeatable
            )?;
        }
        writeln!(
            f,
            "connections: {} made, {} told of their end, {} closed while idle without a word",
            total.connections, total.announced, total.closed_idle
        )?;
        self.stops.iter().try_for_each(|stop| write!(f, "{stop}"))?;
        self.losses.iter().take(MOST_SHOWN).try_for_each(|loss| writeln!(f, "{loss}"))?;
        let shown = u64::try_from(self.losses.len().min(MOST_SHOWN)).unwrap_or_default();
        let more = total.lost_in_all().saturating_sub(shown);
        if more > 0 {
            writeln!(f, "and {more} more")?;
        }
        if let Some(why) = &self.own_failure {
            writeln!(f, "our own failures: {}, the last: {why}", total.own_failures)?;
        }
        if let Some(why) = &self.trouble {
            writeln!(f, "the test did not come to its end: {why}")?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &dyn Display, status: &str, tally: &Tally) -> fmt::Result {
    let answered = tally.answered;
    writeln!(
        f,
        "{name:<14}{status:>6}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}  {}",
        tally.sent,
        answered.sum(),
        answered.stop,
        answered.after,
        tally.refused_in_all(),
        tally.lost_in_all(),
        Counts(&tally.lost)
    )
}

/// `reset 3, eof 1`, or `none`.
struct Counts<'a, K>(&'a BTreeMap<K, PhaseCounts>);

impl<K: Display> Display for Counts<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (at, (kind, counts)) in self.0.iter().enumerate() {
            let joint = if at == 0 { "" } else { ", " };
            write!(f, "{joint}{kind} {}", counts.sum())?;
        }
        Ok(())
    }
}

impl Display for StopOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stop {}: ", self.stop)?;
        match self.refused_ms {
            Some(at) => write!(f, "port refused after {at} ms")?,
            None => write!(f, "port never refused")?,
        }
        write!(f, ", last client done after {} ms", self.clients_ended_ms)?;
        if let (Some(exit), Some(at)) = (&self.exit, self.exit_ms) {
            write!(f, ", {exit} after {at} ms")?;
        }
        writeln!(f)
    }
}

impl Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stop, client, request, sent_ms, ended_ms, phase, kind, repeatable, detail } =
            self;
        write!(
            f,
            "lost: stop {stop}, {phase}, {client} request {request}, sent {sent_ms:+} ms, \
             ended {ended_ms:+} ms: {kind}: {detail}{}",
            if *repeatable { "; it may be repeated" } else { "" }
        )
    }
}
