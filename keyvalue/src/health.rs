//! Whether a store works, told when it changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::error::Failure;

/// Between two lines of one store that it fails. A server that refuses writes and still reads does
/// both with every request of a guest that asks for both.
const PAUSE: Duration = Duration::from_mins(1);

/// The state of one store. A line for each request that it fails would fill the log.
#[derive(Debug)]
pub(crate) struct Health {
    store: String,
    /// Whether the last line says so.
    failing: AtomicBool,
    told: Mutex<Option<Instant>>,
}

/// What is worth a line.
#[derive(Debug, PartialEq, Eq)]
enum News<'a> {
    Fails(&'a str),
    WorksAgain,
}

impl Health {
    /// Of a store that works, by the name that an operator knows, without a password in it.
    pub(crate) fn new(store: String) -> Self {
        Self { store, failing: AtomicBool::new(false), told: Mutex::default() }
    }

    /// Takes note of how an operation went.
    pub(crate) fn saw<T>(&self, result: &Result<T, Failure>) {
        let store = &*self.store;
        match self.news(result) {
            Some(News::Fails(why)) => warn!(store, why, "key-value store fails"),
            Some(News::WorksAgain) => info!(store, "key-value store works again"),
            None => {}
        }
    }

    fn news<'a, T>(&self, result: &'a Result<T, Failure>) -> Option<News<'a>> {
        let Err(Failure::Unavailable(why)) = result else {
            let was_failing =
                self.failing.load(Ordering::Relaxed) && self.failing.swap(false, Ordering::Relaxed);
            return was_failing.then_some(News::WorksAgain);
        };
        if self.failing.load(Ordering::Relaxed) {
            return None;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // One that goes on failing is told of when the pause is over.
        if told.is_some_and(|told| told.elapsed() < PAUSE) {
            return None;
        }
        *told = Some(Instant::now());
        self.failing.store(true, Ordering::Relaxed);
        Some(News::Fails(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest on a server that was full had two lines in the log for every request.
    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_and_works_by_turns_is_told_of_once_a_minute() {
        let health = Health::new("redis://example.com".to_owned());
        let fails: Result<(), _> = Err(Failure::Unavailable("full".to_owned()));
        let works = Ok(());
        assert_eq!(health.news(&works), None);
        for _ in 0..3 {
            assert_eq!(health.news(&fails), Some(News::Fails("full")));
            assert_eq!(health.news(&fails), None);
            assert_eq!(health.news(&works), Some(News::WorksAgain));
            for _ in 0..10 {
                assert_eq!(health.news(&fails), None);
                assert_eq!(health.news(&works), None);
            }
            tokio::time::advance(PAUSE).await;
        }
    }
}
