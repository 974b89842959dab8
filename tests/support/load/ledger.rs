//! The outcome of every request.

use std::fmt;
use std::time::Duration;

/// How many losses a failure describes.
const TOLD_LOSSES: usize = 20;

/// The count of one run, or of several.
#[derive(Debug, Default)]
#[must_use = "it says what was lost"]
pub struct Ledger {
    /// Stops.
    pub stops: usize,
    /// Stops of a host that ran as an unprivileged user.
    pub unprivileged: usize,
    /// Requests of which at least a byte was sent.
    pub sent: u64,
    /// Requests whose whole, right response came.
    pub answered: u64,
    /// Of those, requests that were sent after the stop had begun.
    pub late: u64,
    /// Connects that were refused once the stop had begun.
    pub refused: u64,
    /// HTTP/2 requests that the host did not process, by GOAWAY or `REFUSED_STREAM`.
    pub refused_streams: u64,
    /// Connections whose end was announced by `Connection: close` or GOAWAY.
    pub told: u64,
    /// Connections that were closed while idle, before the client began its next request.
    pub closed_idle: u64,
    /// The slowest stop, from the signal to the exit.
    pub slowest: Duration,
    /// The losses: client, request and reason.
    pub lost: Vec<String>,
}

impl Ledger {
    /// Adds another run.
    pub fn merge(&mut self, other: Self) {
        self.stops += other.stops;
        self.unprivileged += other.unprivileged;
        self.sent += other.sent;
        self.answered += other.answered;
        self.late += other.late;
        self.refused += other.refused;
        self.refused_streams += other.refused_streams;
        self.told += other.told;
        self.closed_idle += other.closed_idle;
        self.slowest = self.slowest.max(other.slowest);
        self.lost.extend(other.lost);
    }

    /// Fails unless requests were sent and every one of them is accounted for.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        assert!(self.lost.is_empty(), "{self}");
        assert!(self.answered > 0, "no request was answered: {self}");
        assert_eq!(self.sent, self.answered + self.refused_streams, "not balanced: {self}");
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} stops, {} as an unprivileged user: {} sent, {} answered ({} after the signal), {} connections told, {} closed \
             idle, {} connects refused, {} streams refused, slowest stop {:.3} s, {} lost",
            self.stops,
            self.unprivileged,
            self.sent,
            self.answered,
            self.late,
            self.told,
            self.closed_idle,
            self.refused,
            self.refused_streams,
            self.slowest.as_secs_f64(),
            self.lost.len()
        )?;
        self.lost.iter().take(TOLD_LOSSES).try_for_each(|why| write!(f, "\n  lost: {why}"))?;
        if self.lost.len() > TOLD_LOSSES {
            write!(f, "\n  and {} more", self.lost.len() - TOLD_LOSSES)?;
        }
        Ok(())
    }
}
