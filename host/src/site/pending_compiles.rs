//! Changes that wait for a compiler. They hold up no other change.
//!
//! If a change that was asked for later is carried out meanwhile, it wins: a change that waits here for
//! the same component is given up, and its compiler killed. A change of all components loses only that
//! component and goes on with the others.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::change::Change;
use super::outcome::STOPPING;
use crate::component::{Held, Loader, Rejected, Step, Urgency, Wanted};

/// What a change is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChangeScope {
    /// One component.
    Component(Arc<str>),
    /// Everything that the manifest says.
    Manifest,
}

/// A change, and the code that was compiled for it or why there is none.
pub(super) struct CompiledChange {
    pub(super) change: Change,
    pub(super) code: Result<Vec<Held>, Rejected>,
}

/// See the module. Dropping it kills all compilers.
pub(super) struct PendingCompiles {
    loader: Arc<Loader>,
    stopping: CancellationToken,
    tasks: JoinSet<CompiledChange>,
    waiting: Vec<WaitingChange>,
}

struct WaitingChange {
    number: u64,
    scope: ChangeScope,
    overtaken: CancellationToken,
    /// The components that it wants compiled, each with the token that gives it up.
    wanted: Vec<(Arc<str>, CancellationToken)>,
    /// See [`Change::settle`].
    settled: BTreeSet<Arc<str>>,
}

impl WaitingChange {
    /// Takes note that a change which was asked for later has decided about these components.
    fn lose(&mut self, names: &[&Arc<str>]) {
        self.settled.extend(names.iter().map(|name| Arc::clone(name)));
        match &self.scope {
            ChangeScope::Component(name) if names.contains(&name) => self.overtaken.cancel(),
            ChangeScope::Component(_) => {}
            ChangeScope::Manifest => {
                let lost = self.wanted.iter().filter(|(name, _)| names.contains(&name));
                lost.for_each(|(_, given_up)| given_up.cancel());
            }
        }
    }
}

impl PendingCompiles {
    pub(super) fn new(loader: Arc<Loader>, stopping: CancellationToken) -> Self {
        Self { loader, stopping, tasks: JoinSet::new(), waiting: Vec::new() }
    }

    /// How many changes wait.
    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Compiles what a change wants.
    pub(super) fn start(&mut self, mut change: Change, scope: ChangeScope, wanted: Vec<Wanted>) {
        let (loader, stopping) = (self.loader.clone(), self.stopping.clone());
        let (number, overtaken) = (change.id().number, CancellationToken::new());
        let named = |wanted: &Wanted| Some((wanted.component.clone()?, wanted.given_up.clone()));
        self.waiting.push(WaitingChange {
            number,
            scope,
            overtaken: overtaken.clone(),
            wanted: wanted.iter().filter_map(named).collect(),
            settled: BTreeSet::new(),
        });
        self.tasks.spawn(async move {
            let refused = |why| Err(Rejected::at(Step::Compile, why));
            let compile_started = change.take_compile_started();
            let tell = || {
                // The client may have gone.
                compile_started.map(|started| started.send(()).ok());
            };
            let code = tokio::select! {
                biased;
                () = stopping.cancelled() => refused(STOPPING),
                () = overtaken.cancelled() => Ok(Vec::new()),
                () = change.abandoned() => refused(SUPERSEDED),
                compiled = loader.compile(wanted, Urgency::BesideTraffic, tell) => compiled,
            };
            CompiledChange { change, code }
        });
    }

    /// The next change that need not wait any longer; none if none waits. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<CompiledChange> {
        // A task of these is not aborted, and what it awaits does not panic.
        let mut compiled = self.tasks.join_next().await?.ok()?;
        let number = compiled.change.id().number;
        let place = self.waiting.iter().position(|waiting| waiting.number == number);
        if let Some(place) = place {
            compiled.change.settle(self.waiting.swap_remove(place).settled);
        }
        Some(compiled)
    }

    /// The change with this number has decided about these components. Changes that were asked for
    /// before it and still wait here lose them.
    pub(super) fn give_up_before<'a>(
        &mut self,
        number: u64,
        names: impl IntoIterator<Item = &'a Arc<str>>,
    ) {
        let names: Vec<&Arc<str>> = names.into_iter().collect();
        self.waiting
            .iter_mut()
            .filter(|waiting| waiting.number < number)
            .for_each(|waiting| waiting.lose(&names));
    }
}

/// Why a change is given up whose component a later change has decided about.
pub(super) const OVERTAKEN: &str =
    "another change, asked for later, was carried out while this one was being compiled";

/// Why a reload of SIGHUP or `--watch` is given up once a later one waits for the same.
const SUPERSEDED: &str = "the same was asked for later, and reads everything anew";

impl fmt::Debug for PendingCompiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingCompiles")
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}
