//! How much, and how long, a registry may take.

use std::time::Duration;

use host_clock::{Moment, timeout};

use crate::error::RegistryError;

/// What one operation may take: a pull, a push, a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullBounds {
    /// Bytes of a component.
    pub size: u64,
    /// All of it.
    pub whole: Duration,
    /// To a connection: look-up, connect and TLS handshake together; without a byte while one is waited for.
    pub silence: Duration,
}

impl Default for PullBounds {
    /// 256 MiB, within 5 minutes, never silent for more than 30 s.
    fn default() -> Self {
        Self {
            size: 256 * 1024 * 1024,
            whole: Duration::from_secs(5 * 60),
            silence: Duration::from_secs(30),
        }
    }
}

/// The time of one operation, which began when this was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    end: Moment,
    bounds: PullBounds,
}

impl Patience {
    pub(crate) fn new(bounds: PullBounds) -> Self {
        Self { end: Moment::now() + bounds.whole, bounds }
    }

    /// Waits for the next sign of life.
    pub(crate) async fn sign<T>(
        &self,
        of: &str,
        future: impl Future<Output = T>,
    ) -> Result<T, RegistryError> {
        self.within(self.bounds.silence, of, future).await
    }

    /// Waits for something that is at work all the time, as an upload is.
    pub(crate) async fn work<T>(
        &self,
        of: &str,
        future: impl Future<Output = T>,
    ) -> Result<T, RegistryError> {
        self.within(self.bounds.whole, of, future).await
    }

    async fn within<T>(
        &self,
        longest: Duration,
        of: &str,
        future: impl Future<Output = T>,
    ) -> Result<T, RegistryError> {
        let left = self.end.left();
        timeout(longest.min(left), future).await.map_err(|_| {
            let host = of.to_owned();
            if longest < left {
                RegistryError::Silent { host, after: longest }
            } else {
                RegistryError::TooSlow { host, after: self.bounds.whole }
            }
        })
    }
}
