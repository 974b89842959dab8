//! Whether this process accepts on listeners that another one may hold as well: during an upgrade two do.

use tokio::sync::watch;

/// Says whether this process accepts connections. While it is shut, the queues and the paths of listeners are somebody
/// else's too, and are left alone. Cloning gives another handle; dropping the last one leaves it as it is.
#[derive(Clone, Debug)]
pub struct AcceptGate(watch::Sender<bool>);

/// A look at an [`AcceptGate`], of one listener.
#[derive(Debug)]
pub struct GateWatch(watch::Receiver<bool>);

impl AcceptGate {
    /// One that is open, or is shut until the predecessor says *yours*.
    #[must_use]
    pub fn new(is_open: bool) -> Self {
        Self(watch::Sender::new(is_open))
    }

    /// Whether this process accepts.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// Accepts from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Accepts no more from now on: somebody else does.
    pub fn shut(&self) {
        self.0.send_replace(false);
    }

    /// A look at it.
    #[must_use]
    pub fn watch(&self) -> GateWatch {
        GateWatch(self.0.subscribe())
    }
}

impl GateWatch {
    /// Waits until it is open, or with `false` until it is shut. Cancel-safe.
    pub async fn until(&mut self, is_open: bool) {
        if self.0.wait_for(|open| *open == is_open).await.is_err() {
            // Nobody can change it any more.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    /// Whether it is ready at once.
    fn now(future: impl Future<Output = ()>) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn who_looks_late_sees_how_it_stands() {
        let gate = AcceptGate::new(false);
        let mut watch = gate.watch();
        assert!(!now(watch.until(true)));
        gate.open();
        assert!(gate.is_open() && now(watch.until(true)) && !now(watch.until(false)));
        gate.shut();
        assert!(now(gate.watch().until(false)));
        drop(gate);
        assert!(!now(watch.until(true)), "nobody can open it any more");
    }
}
