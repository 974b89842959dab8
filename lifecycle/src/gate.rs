//! Whether this process accepts on listeners that another one may hold as well: during an upgrade two do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Says whether this process accepts connections from listeners that another one holds too. Cloning gives another handle;
/// dropping the last one leaves it as it is.
#[derive(Clone, Debug)]
pub struct AcceptGate(watch::Sender<GateState>);

#[derive(Clone, Copy, Debug)]
struct GateState {
    is_open: bool,
    /// Whether nobody can take the listeners back.
    is_settled: bool,
}

impl AcceptGate {
    /// One that is open, or is shut until the predecessor says *yours*; that one may take everything back until the gate
    /// is settled.
    #[must_use]
    pub fn new(is_open: bool) -> Self {
        Self(watch::Sender::new(GateState { is_open, is_settled: is_open }))
    }

    /// Whether this process accepts.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.borrow().is_open
    }

    /// Accepts from now on.
    pub fn open(&self) {
        self.0.send_modify(|state| state.is_open = true);
    }

    /// Accepts no more from now on: somebody else does.
    pub fn shut(&self) {
        self.0.send_modify(|state| state.is_open = false);
    }

    /// From now on nobody takes the listeners back.
    pub fn settle(&self) {
        self.0.send_modify(|state| state.is_settled = true);
    }

    /// Waits until nobody takes the listeners back. Cancel-safe.
    pub async fn settled(&self) {
        // The sender is ours.
        self.0.subscribe().wait_for(|state| state.is_settled).await.ok();
    }

    /// The gate of one listener, which another process holds too, or does not.
    #[must_use]
    pub fn of_listener(&self, is_shared: bool) -> ListenerGate {
        let is_shared = Arc::new(AtomicBool::new(is_shared));
        ListenerGate { process: self.clone(), is_shared }
    }
}

/// Says whether this process accepts from one listener. While it is shut, the queue and the path of the listener are
/// somebody else's, and are left alone. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct ListenerGate {
    process: AcceptGate,
    is_shared: Arc<AtomicBool>,
}

impl ListenerGate {
    /// Whether this process accepts. From what nobody else holds it does to the end.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.process.is_open() || !self.is_shared()
    }

    /// Whether the queue and the path are this process's to close: it accepts, and nobody takes the listener back.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let GateState { is_open, is_settled } = *self.process.0.borrow();
        is_open && is_settled || !self.is_shared()
    }

    fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// Takes note of whether another process holds the listener too. To be said before the gate of the process is shut.
    pub fn set_shared(&self, is_shared: bool) {
        self.is_shared.store(is_shared, Ordering::Relaxed);
    }

    /// A look at it.
    #[must_use]
    pub fn watch(&self) -> GateWatch {
        GateWatch { gate: self.clone(), process: self.process.0.subscribe() }
    }
}

/// A look at a [`ListenerGate`].
#[derive(Debug)]
pub struct GateWatch {
    gate: ListenerGate,
    process: watch::Receiver<GateState>,
}

impl GateWatch {
    /// Waits until it is open, or with `false` until it is shut. Cancel-safe.
    pub async fn until(&mut self, is_open: bool) {
        // The sender is ours.
        let gate = &self.gate;
        self.process.wait_for(|_| gate.is_open() == is_open).await.ok();
    }

    /// Waits until nobody can take the listener back. Cancel-safe.
    pub async fn settled(&mut self) {
        let gate = &self.gate;
        self.process.wait_for(|state| state.is_settled || !gate.is_shared()).await.ok();
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
        let process = AcceptGate::new(false);
        let gate = process.of_listener(true);
        let mut watch = gate.watch();
        assert!(!now(watch.until(true)));
        process.open();
        assert!(gate.is_open() && now(watch.until(true)) && !now(watch.until(false)));
        process.shut();
        assert!(!gate.is_open() && now(gate.watch().until(false)));
    }

    #[test]
    fn what_may_be_taken_back_is_not_ours_to_close() {
        let process = AcceptGate::new(false);
        let (gate, own) = (process.of_listener(true), process.of_listener(false));
        process.open();
        assert!(gate.is_open() && !gate.is_ours() && own.is_ours());
        assert!(!now(gate.watch().settled()) && now(own.watch().settled()));
        process.settle();
        assert!(gate.is_ours() && now(gate.watch().settled()));
        process.shut();
        assert!(!gate.is_ours());
        assert!(AcceptGate::new(true).of_listener(true).is_ours(), "the first has no predecessor");
    }

    #[test]
    fn what_nobody_else_holds_stays_open() {
        let process = AcceptGate::new(true);
        let gate = process.of_listener(false);
        process.shut();
        assert!(gate.is_open() && !now(gate.watch().until(false)));
        process.open();
        gate.set_shared(true);
        process.shut();
        assert!(now(gate.watch().until(false)));
    }
}
