//! Compiles that are under way. The same bytes are compiled once at a time, a compile ends when its last
//! waiter is gone, and all waiters get its outcome.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// All flights, by the digest of what they compile.
pub(crate) struct Flights<T>(Mutex<HashMap<Arc<str>, Weak<Flight<T>>>>);

/// One compile. It goes on for as long as a waiter holds it.
pub(crate) struct Flight<T> {
    outcome: watch::Receiver<Option<T>>,
    _task: AbortOnDropHandle<()>,
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// Joins the flight of this digest, or starts one that does `work`, on the current runtime.
    pub(crate) fn join<F>(&self, digest: &Arc<str>, work: impl FnOnce() -> F) -> Arc<Flight<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        let under_way = flights.get(digest).and_then(Weak::upgrade);
        // Earlier callers may not have read yet how the last flight ended. A new caller begins anew.
        if let Some(flight) = under_way.filter(|flight| flight.outcome.borrow().is_none()) {
            return flight;
        }
        let (done, outcome) = watch::channel(None);
        let work = work();
        let task = tokio::spawn(async move {
            done.send_replace(Some(work.await));
        });
        let flight = Arc::new(Flight { outcome, _task: AbortOnDropHandle::new(task) });
        flights.insert(digest.clone(), Arc::downgrade(&flight));
        flight
    }
}

impl<T: Clone> Flight<T> {
    /// Waits for the outcome. None if its task has failed.
    pub(crate) async fn outcome(&self) -> Option<T> {
        let mut outcome = self.outcome.clone();
        let outcome = outcome.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> fmt::Debug for Flights<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

/// The versions of files that are being compiled.
#[derive(Debug, Default)]
pub(crate) struct Versions(Mutex<HashMap<PathBuf, Weak<Version>>>);

/// The content that a file has, or had.
#[derive(Debug)]
pub(crate) struct Version {
    digest: Arc<str>,
    /// The file has other content by now.
    replaced: CancellationToken,
}

impl Versions {
    /// Notes that a file has just been read. If it has changed, waiters for the old content are told to stop
    /// waiting: the load reads the file anew.
    pub(crate) fn seen(&self, path: &Path, digest: &Arc<str>) -> Arc<Version> {
        let mut versions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        versions.retain(|_, version| version.strong_count() > 0);
        if let Some(version) = versions.get(path).and_then(Weak::upgrade) {
            if version.digest == *digest {
                return version;
            }
            version.replaced.cancel();
        }
        let version =
            Arc::new(Version { digest: digest.clone(), replaced: CancellationToken::new() });
        versions.insert(path.to_owned(), Arc::downgrade(&version));
        version
    }
}

impl Version {
    /// Waits until the file has been read with other content. Cancel-safe.
    pub(crate) async fn replaced(&self) {
        self.replaced.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    /// Five callers asked for the same component, which compiled too slowly. They waited for each other: the
    /// last one for five times the compile's time limit.
    #[tokio::test]
    async fn all_waiters_learn_of_a_failure_at_once_and_a_later_caller_begins_anew() {
        let flights = Flights::default();
        let digest: Arc<str> = "abc".into();
        let (fail, failed) = oneshot::channel();
        let first = flights.join(&digest, || async { failed.await.unwrap() });
        let others: Vec<_> =
            (0..4).map(|_| flights.join(&digest, || async { unreachable!() })).collect();
        fail.send("too slow").unwrap();
        for flight in others.iter().chain([&first]) {
            assert_eq!(flight.outcome().await, Some("too slow"));
        }
        let later = flights.join(&digest, || async { "compiled" });
        assert_eq!(later.outcome().await, Some("compiled"), "the others hold the one that failed");
        assert_eq!(first.outcome().await, Some("too slow"));
    }

    #[tokio::test]
    async fn a_flight_ends_with_its_last_waiter() {
        let flights = Flights::default();
        let digest: Arc<str> = "abc".into();
        let (alive, mut dropped) = oneshot::channel::<()>();
        let first = flights.join(&digest, || async move {
            let _alive = alive;
            pending::<()>().await;
        });
        let second = flights.join(&digest, || async { unreachable!() });
        drop(first);
        tokio::task::yield_now().await;
        assert!(dropped.try_recv().is_err_and(|why| why == oneshot::error::TryRecvError::Empty));
        drop(second);
        assert!(dropped.await.is_err(), "no waiter holds it");
    }

    #[tokio::test]
    async fn a_file_is_replaced_when_it_is_read_with_other_content() {
        let versions = Versions::default();
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        let (here, there) = (Path::new("here"), Path::new("there"));
        let first = versions.seen(here, &one);
        let same = versions.seen(here, &one);
        let elsewhere = versions.seen(there, &other);
        assert!(!first.replaced.is_cancelled());
        let second = versions.seen(here, &other);
        first.replaced().await;
        same.replaced().await;
        assert!(!second.replaced.is_cancelled() && !elsewhere.replaced.is_cancelled());
    }
}
