//! How often the log hears the same of a guest: it may try what it may not in a loop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lines that are said within [`SPAN`], of each kind and each generation.
const LINES: u32 = 20;

const SPAN: Duration = Duration::from_secs(1);

/// Keeps lines of one kind from filling the log.
#[derive(Debug, Default)]
pub(crate) struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the first one was said of those that count.
    since: Option<Instant>,
    said: u32,
    left_out: u64,
}

/// Texts that are remembered, and for how long: what goes on failing is told of again.
const TEXTS: usize = 64;

const WHILE: Duration = Duration::from_secs(600);

/// Keeps what is said of the same thing to one line in a while, of few things.
#[derive(Debug, Default)]
pub(crate) struct LogOnce(Mutex<BTreeMap<String, Instant>>);

impl LogOnce {
    /// Whether a text is to be said.
    pub(crate) fn is_new(&self, text: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        told.retain(|_, since| now.duration_since(*since) < WHILE);
        if told.len() >= TEXTS || told.contains_key(text) {
            return false;
        }
        told.insert(text.to_owned(), now);
        true
    }
}

/// A line may be said; how many were left out before it, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogPermit {
    pub(crate) left_out: Option<u64>,
}

impl LogLimit {
    /// Whether there is room for another line.
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

/// Logs a line about a guest at this level, with the fields and the text that follow, if the topic has
/// room for it. Whom it is about has a `component`, a `number` of its generation, and `topics`.
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

/// What is said of all instances of a generation together, by topic.
#[derive(Debug, Default)]
pub(crate) struct LogTopics {
    limits: Mutex<BTreeMap<&'static str, Arc<LogLimit>>>,
    /// Servers that cannot be trusted.
    pub(crate) tls: LogOnce,
}

impl LogTopics {
    /// Whether there is room for another line of a topic.
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
    async fn what_goes_on_failing_is_told_of_once_in_a_while() {
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
    async fn what_is_tried_in_a_loop_does_not_fill_the_log() {
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
