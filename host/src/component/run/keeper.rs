//! What makes a stop wait for instances that outlive their exchange.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Makes a stop wait for instances that outlive their exchange, because they are in flight too. A stop
/// waits for as long as the guard that it gives lives.
#[derive(Clone)]
pub struct Keeper(Arc<dyn Fn(String) -> Box<dyn Any + Send> + Send + Sync>);

impl Keeper {
    /// Calls `keep` with the name of the instance in the log.
    pub fn new(keep: impl Fn(String) -> Box<dyn Any + Send> + Send + Sync + 'static) -> Self {
        Self(Arc::new(keep))
    }

    /// Makes no stop wait.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| Box::new(()))
    }

    /// Makes a stop wait until the returned guard is dropped.
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
