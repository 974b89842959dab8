//! What is being compiled: nothing twice at once, nothing that nobody wants any more, and whoever waits for
//! it learns what has become of it.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// All flights, by the digest of what is compiled.
pub(crate) struct Flights<T>(Mutex<HashMap<Arc<str>, Weak<Flight<T>>>>);

/// One of them. It goes on as long as somebody holds it.
pub(crate) struct Flight<T> {
    outcome: watch::Receiver<Option<T>>,
    _task: AbortOnDropHandle<()>,
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// The one of this digest that is under way, else one that does `work`. On the current runtime.
    pub(crate) fn join<F>(&self, digest: &Arc<str>, work: impl FnOnce() -> F) -> Arc<Flight<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        let under_way = flights.get(digest).and_then(Weak::upgrade);
        // Others may still be on their way to read how the last one ended: that is not for who comes now.
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
    /// Waits for what it comes to; none if its task has failed.
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

/// What the files are of which something is being compiled.
#[derive(Debug, Default)]
pub(crate) struct Versions(Mutex<HashMap<PathBuf, Weak<Version>>>);

/// What a file is, or was.
#[derive(Debug)]
pub(crate) struct Version {
    digest: Arc<str>,
    /// The file is another one by now.
    replaced: CancellationToken,
}

impl Versions {
    /// A file has just been read. Whoever waits for what it was before is told that it waits in vain: what
    /// is loaded is read anew.
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
    /// Waits until the file has been seen to be another one. Cancel-safe.
    pub(crate) async fn replaced(&self) {
        self.replaced.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    /// Five that asked for the same component, which was too slow, waited for each other: the last one for
    /// five times the time that compiling may take.
    #[tokio::test]
    async fn all_who_wait_learn_of_a_failure_at_once_and_who_comes_later_begins_anew() {
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
    async fn a_flight_ends_with_the_last_who_holds_it() {
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
        assert!(dropped.await.is_err(), "nobody holds it");
    }

    #[tokio::test]
    async fn a_file_is_replaced_when_something_else_is_read_there() {
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
