//! Deadlines that are fair to peers and guests.
//!
//! A process may be stopped (SIGSTOP, `docker pause`, a debugger) or get no core for a while. The system's clock
//! goes on meanwhile, so each deadline seems to have passed afterwards: for clients whose bytes had come in
//! time, and for guests that had done nothing wrong. So a [`Moment`] counts only time in which the process ran:
//! a thread of its own beats like a heart, and missing beats are lost time.
//!
//! When its time is up, a deadline looks once more at what is ready: after such a pause the reactor may report
//! timers before it reports bytes.
//!
//! Without [`start`] no time is ever lost, as in tests on a paused clock.

mod min_rate;

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::num::NonZeroU64;
use std::ops::{Add, Sub};
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{self, AtomicU64};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

pub use min_rate::MinRate;

/// The time between two beats: short compared with any deadline, and cheap.
const BEAT: Duration = Duration::from_millis(50);

/// A beat later than this counts as lost. Busy machines are less late.
const LATE: Duration = Duration::from_millis(150);

/// Turns of the reactor that a deadline allows when its time is up. With HTTP/2 the connection reads in the
/// first turn, and its streams in the second.
const TURNS: usize = 2;

/// A year, which stands for any time beyond the range of the clock.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The time of the first beat.
static BORN: OnceLock<Instant> = OnceLock::new();

/// Lost milliseconds, and the time of the last beat in milliseconds of the heart's life. In one word, so that
/// readers see both or neither.
static PULSE: AtomicU64 = AtomicU64::new(0);

/// Starts the heart, for the life of the process. A second call changes nothing.
///
/// # Errors
/// When the system gives no thread.
pub fn start() -> io::Result<()> {
    let mut is_first = false;
    let born = *BORN.get_or_init(|| {
        is_first = true;
        Instant::now()
    });
    if is_first {
        thread::Builder::new().name("heart".into()).spawn(move || {
            loop {
                let now = millis(born.elapsed());
                let pulse = Pulse::from_word(PULSE.load(atomic::Ordering::Relaxed));
                PULSE.store(pulse.beat(now).word(), atomic::Ordering::Relaxed);
                thread::sleep(BEAT);
            }
        })?;
    }
    Ok(())
}

/// The last beat of the heart: another one than before, or none without a heart, says that what was read off a
/// clock may be older than some 50 ms.
#[must_use]
pub fn last_beat() -> Option<NonZeroU64> {
    NonZeroU64::new(PULSE.load(atomic::Ordering::Relaxed))
}

/// The state of the heart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pulse {
    /// Lost milliseconds, seven weeks at most.
    lost: u32,
    /// The last beat in milliseconds; wraps after seven weeks.
    last: u32,
}

impl Pulse {
    fn from_word(word: u64) -> Self {
        let [lost, last] = [word >> 32, word & u64::from(u32::MAX)];
        Self { lost: u32::try_from(lost).unwrap_or(0), last: u32::try_from(last).unwrap_or(0) }
    }

    fn word(self) -> u64 {
        u64::from(self.lost) << 32 | u64::from(self.last)
    }

    /// The time lost by `now`, as far as it is known before the next beat.
    fn lost(self, now: u32) -> u32 {
        // The caller may have read the clock before the heart did.
        let since = now.wrapping_sub(self.last).cast_signed().max(0).cast_unsigned();
        let late = since > millis(LATE);
        self.lost.saturating_add(if late { since - millis(BEAT) } else { 0 })
    }

    fn beat(self, now: u32) -> Self {
        Self { lost: self.lost(now), last: now }
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis() & u128::from(u32::MAX)).unwrap_or(0)
}

/// How long the process has not run, as far as the heart has noticed.
fn lost(now: Instant) -> Duration {
    let Some(born) = BORN.get() else { return Duration::ZERO };
    let now = millis(now.saturating_duration_since(*born));
    Duration::from_millis(Pulse::from_word(PULSE.load(atomic::Ordering::Relaxed)).lost(now).into())
}

/// A moment on a clock that stands still while the process does not run. Moments can only be compared with each
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Instant);

impl Moment {
    /// The present moment.
    #[must_use]
    pub fn now() -> Self {
        Self::at(Instant::now())
    }

    /// The moment of a reading of the clock that is no older than the turn of the task that asks.
    #[must_use]
    pub fn at(now: Instant) -> Self {
        Self(now.checked_sub(lost(now)).unwrap_or(now))
    }

    /// The time since then; zero for a moment in the future.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now() - self
    }

    /// Whether it has passed. A caller that can wait uses [`until`] instead, which has a last look.
    #[must_use]
    pub fn is_over(self) -> bool {
        Self::now() >= self
    }

    /// The time left until then.
    #[must_use]
    pub fn left(self) -> Duration {
        self - Self::now()
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// As far away as a moment can be, because users may write any number as a time.
    fn add(self, time: Duration) -> Self {
        Self(self.0.checked_add(time).unwrap_or_else(|| self.0 + FAR))
    }
}

impl Sub for Moment {
    type Output = Duration;

    /// Zero if `earlier` is the later moment.
    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }
}

/// Waits until `deadline` has passed and all that was ready by then has had its turn. Poll it after the future
/// that it bounds, so that a ready future wins. Cancel-safe.
pub async fn until(deadline: Moment) {
    loop {
        let left = deadline.left();
        if left > Duration::ZERO {
            sleep(left).await;
            continue;
        }
        for _ in 0..TURNS {
            // tokio's own yield: it polls the reactor before it polls this task again.
            yield_now().await;
        }
        if deadline.is_over() {
            return;
        }
    }
}

/// Waits for this time, as [`until`] does.
pub async fn pass(time: Duration) {
    until(Moment::now() + time).await;
}

/// The time of a future in [`timeout`] is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it took too long")
    }
}

impl Error for Elapsed {}

/// The output of `future`, if it is ready within `time`. Polls the future first.
///
/// # Errors
/// When its time is up.
pub async fn timeout<T>(time: Duration, future: impl Future<Output = T>) -> Result<T, Elapsed> {
    // Made now, not at the first poll, because the future may take long to yield.
    let end = Moment::now() + time;
    let mut future = pin!(future);
    let mut late = pin!(until(end));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => late.as_mut().poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_missing_beats_are_lost_time() {
        let mut pulse = Pulse { lost: 0, last: 0 };
        for now in [50, 100, 240, 290] {
            pulse = pulse.beat(now);
            assert_eq!(pulse, Pulse { lost: 0, last: now });
        }
        assert_eq!(pulse.lost(440), 0, "late, as on any busy machine");
        assert_eq!(pulse.lost(3290), 2950, "before the heart has noticed");
        let pulse = pulse.beat(3290);
        assert_eq!(pulse, Pulse { lost: 2950, last: 3290 });
        assert_eq!(pulse.lost(3280), 2950, "looked at the clock before the heart did");
        assert_eq!(pulse.beat(3340).lost, 2950);
        assert_eq!(Pulse::from_word(pulse.word()), pulse);
    }

    #[test]
    fn the_clock_goes_on_after_seven_weeks() {
        let pulse = Pulse { lost: 7, last: u32::MAX - 10 };
        assert_eq!(pulse.beat(39), Pulse { lost: 7, last: 39 });
        assert_eq!(pulse.beat(939), Pulse { lost: 907, last: 939 });
        assert_eq!(Pulse { lost: u32::MAX, last: 0 }.beat(500).lost, u32::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_passes_at_its_moment() {
        let began = Instant::now();
        pass(Duration::from_secs(2)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        let past = Moment::now();
        until(past).await;
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        assert_eq!(past - (past + Duration::from_secs(1)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_gives_a_future_its_time_and_no_more() {
        let second = Duration::from_secs(1);
        assert_eq!(timeout(second, sleep(second)).await, Ok(()), "it is asked first");
        assert_eq!(timeout(second, sleep(2 * second)).await, Err(Elapsed));
        assert_eq!(timeout(Duration::MAX, sleep(second)).await, Ok(()));
    }

    /// A caller sees what came before the deadline first, although the reactor reported the timer first.
    #[tokio::test(start_paused = true)]
    async fn a_future_that_is_ready_at_the_deadline_wins() {
        let (send, come) = tokio::sync::oneshot::channel();
        let sender = async {
            sleep(Duration::from_secs(1)).await;
            yield_now().await;
            send.send(()).unwrap();
        };
        let waiter = async {
            tokio::select! {
                biased;
                come = come => come.is_ok(),
                () = pass(Duration::from_secs(1)) => false,
            }
        };
        let (seen, ()) = tokio::join!(waiter, sender);
        assert!(seen);
    }
}
