//! What makes a stop wait for instances that outlive their exchange.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Keeps a stop waiting for as long as what it gives lives: an instance that outlives its exchange
/// is in flight too.
#[derive(Clone)]
pub struct Keeper(Arc<dyn Fn(String) -> Box<dyn Any + Send> + Send + Sync>);

impl Keeper {
    /// `keep` is given what the log calls the instance.
    pub fn new(keep: impl Fn(String) -> Box<dyn Any + Send> + Send + Sync + 'static) -> Self {
        Self(Arc::new(keep))
    }

    /// Keeps nothing waiting.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| Box::new(()))
    }

    /// Keeps a stop waiting until what comes back is dropped.
    #[must_use]
    pub fn keep(&self, what: String) -> Box<dyn Any + Send> {
        (self.0)(what)
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}
