//! What the service manager is told of this process, and when.
//!
//! ```text
//! start ──ready line──→ READY=1            PhaseWatch ─→ watch.rs ─→ STOPPING=1, STATUS=…, EXTEND_TIMEOUT_USEC=…
//! a change is asked for → RELOADING=1      workers ────→ pulse.rs ─→ WATCHDOG=1
//! its outcome is told ──→ READY=1
//! ```
//!
//! What goes by time is told from the lifecycle's runtime: guests that spin on every core hold it up neither at a stop
//! nor while the process serves.

mod pulse;
mod teller;
mod watch;
mod words;

use std::sync::Arc;
use std::time::Duration;

use host_lifecycle::Lifecycle;
use host_systemd::{Barrier, Message, Notifier, stored_at_most, watchdog_time};
use tokio::runtime::Handle;

use crate::component::Keeper;
use crate::config::ServeConfig;
use teller::{ChangeGuard, Teller};
use words::loading;

pub(super) use teller::KeptSocket;
pub(super) use words::Served;

/// A start that compiles ends in the time that its compiles may take, and this.
const START_BESIDE_COMPILES: Duration = Duration::from_secs(60);

/// Tells the service manager; without one it does nothing. Cheap to clone, and no call waits.
#[derive(Clone, Debug)]
pub(super) struct ServiceManager(Arc<Teller>);

impl ServiceManager {
    /// Tells the service manager that the environment names, if it names one, that the process starts. One that takes over
    /// tells nothing before it is ready: until then it is not the service.
    pub(super) fn begin(
        config: &ServeConfig,
        lifecycle: &Lifecycle,
        workers: &Handle,
        takes_over: bool,
    ) -> Self {
        let manifest = &config.manifest;
        let components = manifest.components.len();
        let teller = Arc::new(Teller::new(Notifier::from_env(), lifecycle, workers));
        if teller.notifier.is_heard() && takes_over {
            teller.hush(true);
            drop(teller.lifecycle.spawn(watch::follow(teller.clone(), Duration::ZERO)));
        } else if teller.notifier.is_heard() {
            teller.starting(loading(components));
            let compiles =
                manifest.swap.compile.saturating_mul(components.try_into().unwrap_or(u32::MAX));
            let start = compiles.saturating_add(START_BESIDE_COMPILES);
            // It ends with the lifecycle's runtime: at the end of the process.
            drop(teller.lifecycle.spawn(watch::follow(teller.clone(), start)));
        }
        Self(teller)
    }

    /// The ready line is printed: clients are served. From now on the service manager keeps handles of the sockets in
    /// `kept`.
    pub(super) fn ready(&self, served: Served, kept: Vec<KeptSocket>) {
        let teller = &*self.0;
        if !teller.notifier.is_heard() {
            return;
        }
        if teller.ready(served, kept)
            && let Some(time) = watchdog_time()
        {
            // As above.
            drop(teller.lifecycle.spawn(watch::beat(self.0.clone(), time)));
        }
    }

    /// Tells of each change, from the moment in which it is asked for until its outcome has been told, beside what `keeper`
    /// does.
    pub(super) fn keeper(&self, keeper: Keeper) -> Keeper {
        let teller = self.0.clone();
        Keeper::new(move |what| Box::new((ChangeGuard::new(teller.clone()), keeper.keep(what))))
    }

    /// Whether the service manager keeps sockets, should this process crash.
    pub(super) fn keeps_sockets(&self) -> bool {
        self.0.notifier.is_heard() && stored_at_most() > 0
    }

    /// The service manager need not keep what it does under this name.
    pub(super) fn let_go(&self, name: &str) {
        self.0.notifier.tell(Message::new().unstore(name));
    }

    /// Nothing is told while another process may be the service in a moment.
    pub(super) fn hush(&self, yes: bool) {
        self.0.hush(yes);
    }

    /// The service is another process from now on. Nothing is told after it. Gives when the service manager knows.
    pub(super) fn succeeded_by(&self, pid: u32) -> Barrier {
        self.0.succeeded_by(pid)
    }

    /// The process has come to its end, of which `line` is the last word. Nothing is told after it.
    pub(super) fn ended(&self, line: &str, is_stop: bool) {
        self.0.ended(line, is_stop);
    }
}
