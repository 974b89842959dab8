//! What an exchange is called.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, Request, Uri};

use crate::lifecycle::Guard;

/// What an exchange is called in logs and among the survivors of a drain.
#[derive(Debug)]
pub(super) struct Label {
    method: Method,
    uri: Uri,
    /// Of which exchange it is a part, in a chain.
    pub(super) of: Option<u64>,
    /// Once it has an instance: who waits for one may get one of a newer generation.
    server: Mutex<Option<(Arc<str>, u64)>>,
}

impl Label {
    pub(super) fn new<B>(request: &Request<B>, of: Option<u64>) -> Self {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Self { method, uri, of, server: Mutex::default() }
    }

    pub(super) fn server(&self) -> MutexGuard<'_, Option<(Arc<str>, u64)>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of its exchange: of the one around it, in a chain.
    pub(super) fn exchange(&self, guard: &Guard) -> u64 {
        self.of.unwrap_or_else(|| guard.id())
    }

    pub(super) fn component(&self) -> Option<Arc<str>> {
        self.server().as_ref().map(|(component, _)| component.clone())
    }

    pub(super) fn generation(&self) -> Option<u64> {
        self.server().as_ref().map(|(_, generation)| *generation)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, uri, .. } = self;
        let path = uri.path_and_query().map_or("*", |path| path.as_str());
        write!(f, "{method} {path}")?;
        if let Some(exchange) = self.of {
            write!(f, " of exchange={exchange}")?;
        }
        self.generation().map_or(Ok(()), |generation| write!(f, " generation={generation}"))
    }
}
