//! How far a stop is: a line of the log every 5 s, and on a terminal a line that is drawn over itself.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Interval, interval_at};
use tracing::info;

use super::{Seconds, Trackers};

/// The log says this often who is left.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// On a terminal the line of progress is drawn this often.
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// At most this many survivors are named; the rest is counted.
pub(super) const NAMED_AT_MOST: usize = 100;

/// The line of a terminal on which a stop draws its progress. Handed in, because other parts of the
/// process draw there too.
pub trait ProgressLine: fmt::Debug + Send + Sync {
    /// Draws `text` in place of what stands there. Never waits.
    fn draw(&self, text: String);

    /// Clears the line, so that the log can go on below it. Returns soon, even on a terminal that takes
    /// nothing.
    fn clear(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Finds the line, when a stop begins to wait. None where stderr is no terminal.
pub type FindProgressLine = fn() -> Option<Box<dyn ProgressLine>>;

/// Reports on one wait of a stop.
pub(super) struct Progress<'a> {
    trackers: &'a Trackers,
    stop_began: Instant,
    timeout: Duration,
    ticks: Interval,
    line: Option<Box<dyn ProgressLine>>,
    reported: Instant,
}

impl<'a> Progress<'a> {
    /// For a stop that began at `stop_began` and cuts after `timeout`.
    pub(super) fn new(
        trackers: &'a Trackers,
        stop_began: Instant,
        timeout: Duration,
        line: Option<Box<dyn ProgressLine>>,
    ) -> Self {
        let every = if line.is_some() { REDRAW_EVERY } else { REPORT_EVERY };
        let ticks = interval_at(Instant::now() + every, every);
        Self { trackers, stop_began, timeout, ticks, line, reported: stop_began }
    }

    /// Waits until it is time to report. Cancel-safe.
    pub(super) async fn tick(&mut self) {
        self.ticks.tick().await;
    }

    /// Reports what is left.
    pub(super) fn report(&mut self) {
        let elapsed = self.stop_began.elapsed();
        let left = self.trackers.left();
        if let Some(line) = &self.line {
            let (at, of) = (Seconds(elapsed), Seconds(self.timeout));
            line.draw(format!("draining {at:.1} of {of:.0}: {left}"));
        }
        if self.reported.elapsed() >= REPORT_EVERY {
            self.reported = Instant::now();
            info!(at = %Seconds(elapsed), "stop: waiting for {left}");
            for survivor in self.trackers.exchanges.survivors().into_iter().take(NAMED_AT_MOST) {
                info!("stop: waiting for {survivor}");
            }
        }
    }

    /// The wait is over: clears the line.
    pub(super) async fn end(self) {
        if let Some(line) = self.line {
            line.clear().await;
        }
    }
}
