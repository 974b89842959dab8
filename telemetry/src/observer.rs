//! Who is told of each exchange that ends.

use std::fmt;
use std::sync::Arc;

use super::record::ExchangeRecord;

/// Is told of each exchange that ends, on the thread on which it ends. Waits for nothing.
pub trait Observer: Send + Sync {
    /// An exchange has ended.
    fn observe(&self, record: &ExchangeRecord<'_>);

    /// Whether it wants records with the headers of [`Agent`](super::Agent).
    fn wants_agent(&self) -> bool {
        false
    }
}

/// All of them. Cloning gives another handle.
#[derive(Clone, Default)]
pub struct Observers {
    all: Arc<[Arc<dyn Observer>]>,
    /// Asked once, and not for each request.
    want_agent: bool,
}

impl Observers {
    /// These, in this order.
    #[must_use]
    pub fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        let want_agent = observers.iter().any(|observer| observer.wants_agent());
        Self { all: observers.into(), want_agent }
    }

    /// Whether one of them wants the headers of [`Agent`](super::Agent).
    #[must_use]
    pub fn want_agent(&self) -> bool {
        self.want_agent
    }

    /// Tells all of them.
    pub fn observe(&self, record: &ExchangeRecord<'_>) {
        self.all.iter().for_each(|observer| observer.observe(record));
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observers").field(&self.all.len()).finish()
    }
}
