//! Whether a store works, told when it changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::error::StoreError;

/// Between two lines of one store that it fails. A server that refuses writes and still reads does
/// both with every request of a guest that asks for both.
const PAUSE: Duration = Duration::from_mins(1);

/// The state of one store. A line for each request that it fails would fill the log.
#[derive(Debug)]
pub(crate) struct StoreHealth {
    store: String,
    /// Whether the last line says so.
    failing: AtomicBool,
    /// Why the last operation failed, if it did.
    trouble: Mutex<Option<Trouble>>,
    told: Mutex<Option<Instant>>,
}

/// A store that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// By the name that an operator knows, without a password in it.
    pub store: String,
    /// Why its last operation failed.
    pub why: String,
    /// When the first one did since it last worked.
    pub since: Instant,
}

/// What is worth a line.
#[derive(Debug, PartialEq, Eq)]
enum Change<'a> {
    Fails(&'a str),
    WorksAgain,
}

impl StoreHealth {
    /// Of a store that works, by the name that an operator knows, without a password in it.
    pub(crate) fn new(store: String) -> Self {
        Self {
            store,
            failing: AtomicBool::new(false),
            trouble: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// What is wrong with it now, as its last operation saw it.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note<T>(&self, result: &Result<T, StoreError>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (result, &mut *trouble) {
            (Err(StoreError::Unavailable(why)), Some(trouble)) => trouble.why.clone_from(why),
            (Err(StoreError::Unavailable(why)), none) => {
                let (store, why) = (self.store.clone(), why.clone());
                *none = Some(Trouble { store, why, since: Instant::now() });
            }
            (_, trouble) => *trouble = None,
        }
    }

    /// Takes note of how an operation went.
    pub(crate) fn record<T>(&self, result: &Result<T, StoreError>) {
        self.note(result);
        let store = &*self.store;
        match self.changed(result) {
            Some(Change::Fails(why)) => warn!(store, why, "key-value store fails"),
            Some(Change::WorksAgain) => info!(store, "key-value store works again"),
            None => {}
        }
    }

    fn changed<'a, T>(&self, result: &'a Result<T, StoreError>) -> Option<Change<'a>> {
        let Err(StoreError::Unavailable(why)) = result else {
            let was_failing =
                self.failing.load(Ordering::Relaxed) && self.failing.swap(false, Ordering::Relaxed);
            return was_failing.then_some(Change::WorksAgain);
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
        Some(Change::Fails(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_wrong_is_known_for_as_long_as_it_is() {
        let health = StoreHealth::new("redis://example.com".to_owned());
        assert_eq!(health.trouble(), None);
        health.record::<()>(&Err(StoreError::Unavailable("down".to_owned())));
        let first = health.trouble().unwrap();
        tokio::time::advance(PAUSE).await;
        health.record::<()>(&Err(StoreError::Unavailable("LOADING".to_owned())));
        let now = health.trouble().unwrap();
        assert_eq!((now.why.as_str(), now.since), ("LOADING", first.since));
        // A guest's own fault says that the store answers.
        health.record::<()>(&Err(StoreError::NotANumber));
        assert_eq!(health.trouble(), None);
    }

    /// A guest on a server that was full had two lines in the log for every request.
    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_and_works_by_turns_is_told_of_once_a_minute() {
        let health = StoreHealth::new("redis://example.com".to_owned());
        let fails: Result<(), _> = Err(StoreError::Unavailable("full".to_owned()));
        let works = Ok(());
        assert_eq!(health.changed(&works), None);
        for _ in 0..3 {
            assert_eq!(health.changed(&fails), Some(Change::Fails("full")));
            assert_eq!(health.changed(&fails), None);
            assert_eq!(health.changed(&works), Some(Change::WorksAgain));
            for _ in 0..10 {
                assert_eq!(health.changed(&fails), None);
                assert_eq!(health.changed(&works), None);
            }
            tokio::time::advance(PAUSE).await;
        }
    }
}
