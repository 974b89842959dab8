//! Limits repeated log lines about a guest, because a guest may try a forbidden call in a loop.
//!
//! The governor crate does not fit: it counts by a clock of its own, and what was left out would be counted here
//! anyway.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lines that are logged within [`SPAN`], of each kind and each generation.
const LINES: u32 = 20;

const SPAN: Duration = Duration::from_secs(1);

/// Keeps lines of one kind from filling the log.
#[derive(Debug, Default)]
pub(crate) struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The time of the first line that counts.
    since: Option<Instant>,
    said: u32,
    left_out: u64,
}

/// The most texts that are remembered. They are forgotten in time, so a lasting failure is logged again.
const TEXTS: usize = 64;

const WHILE: Duration = Duration::from_secs(600);

/// Logs each text once in a while, for a bounded number of texts.
#[derive(Debug, Default)]
pub(crate) struct LogOnce(Mutex<BTreeMap<String, Instant>>);

impl LogOnce {
    /// Whether to log a text.
    pub(crate) fn is_new(&self, text: &str) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        logged.retain(|_, since| now.duration_since(*since) < WHILE);
        if logged.len() >= TEXTS || logged.contains_key(text) {
            return false;
        }
        logged.insert(text.to_owned(), now);
        true
    }
}

/// The permit for a line, with the number of lines that were left out before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogPermit {
    pub(crate) left_out: Option<u64>,
}

impl LogLimit {
    /// A permit, if there is room for another line.
    pub(crate) fn permit(&self) -> Option<LogPermit> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.since.is_none_or(|since| now.duration_since(since) >= SPAN) {
            (state.since, state.said) = (Some(now), 0);
        }
        if state.said == LINES {
            state.left_out += 1;
            return None;
        }
        state.said += 1;
        let left_out = std::mem::take(&mut state.left_out);
        Some(LogPermit { left_out: Some(left_out).filter(|lines| *lines > 0) })
    }

    #[cfg(test)]
    pub(crate) fn said(&self) -> u32 {
        self.0.lock().unwrap().said
    }
}

/// Logs a line about a guest at this level, with the fields and the text that follow, if the topic has room
/// for it. The guest is a value with `component`, `number` (of its generation) and `topics`.
macro_rules! log_limited {
    ($level:ident, $whom:expr, $topic:literal, $($line:tt)+) => {
        if let Some(permit) = $whom.topics.permit($topic) {
            tracing::$level!(
                component = &*$whom.component,
                generation = $whom.number,
                left_out = permit.left_out,
                $($line)+
            );
        }
    };
}
pub(crate) use log_limited;

/// The log limits of all instances of a generation together, by topic.
#[derive(Debug, Default)]
pub(crate) struct LogTopics {
    limits: Mutex<BTreeMap<&'static str, Arc<LogLimit>>>,
    /// Servers whose certificates are not trusted.
    pub(crate) tls: LogOnce,
}

impl LogTopics {
    /// A permit, if there is room for another line of a topic.
    pub(crate) fn permit(&self, topic: &'static str) -> Option<LogPermit> {
        self.topic(topic).permit()
    }

    fn topic(&self, topic: &'static str) -> Arc<LogLimit> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.entry(topic).or_default().clone()
    }

    #[cfg(test)]
    pub(crate) fn said(&self, topic: &'static str) -> u32 {
        self.topic(topic).said()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lasting_failure_is_logged_at_intervals() {
        let once = LogOnce::default();
        assert!(once.is_new("a"));
        assert!(once.is_new("b"));
        assert!(!once.is_new("a"));
        for number in 0..1000 {
            once.is_new(&number.to_string());
        }
        assert!(!once.is_new("c"), "only so many are remembered");
        tokio::time::advance(WHILE).await;
        assert!(once.is_new("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_in_a_loop_do_not_fill_the_log() {
        let limit = LogLimit::default();
        for _ in 0..LINES {
            assert_eq!(limit.permit(), Some(LogPermit { left_out: None }));
        }
        assert_eq!((limit.permit(), limit.permit()), (None, None));
        tokio::time::advance(SPAN).await;
        assert_eq!(limit.permit(), Some(LogPermit { left_out: Some(2) }));
        assert_eq!(limit.permit(), Some(LogPermit { left_out: None }));
    }
}
