//! Changes that wait for a compiler, beside the one whose turn it is.
//!
//! One that was asked for later and is carried out meanwhile wins: what waits here for the same
//! component is given up, and its compiler killed. A change of all components loses only that one: it
//! goes on with the others.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::swap::{Change, STOPPING};
use crate::component::{Held, Loader, Rejected, Step, Urgency, Wanted};

/// What a change is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// One component.
    Component(Arc<str>),
    /// All that the manifest says.
    All,
}

/// A change and what its compilers have come to.
pub(super) struct Compiled {
    pub(super) change: Change,
    pub(super) outcome: Result<Vec<Held>, Rejected>,
}

/// See the module. Dropping it kills all compilers.
pub(super) struct Aside {
    loader: Arc<Loader>,
    stopping: CancellationToken,
    compiling: JoinSet<Compiled>,
    waiting: Vec<Waiting>,
}

struct Waiting {
    number: u64,
    scope: Scope,
    overtaken: CancellationToken,
    /// The components that it wants compiled, and what gives up one of them.
    wanted: Vec<(Arc<str>, CancellationToken)>,
    /// See [`Change::settled`].
    settled: BTreeSet<Arc<str>>,
}

impl Waiting {
    /// A change that was asked for later has decided what becomes of these.
    fn lose(&mut self, names: &[&Arc<str>]) {
        self.settled.extend(names.iter().map(|name| Arc::clone(name)));
        match &self.scope {
            Scope::Component(name) if names.contains(&name) => self.overtaken.cancel(),
            Scope::Component(_) => {}
            Scope::All => {
                let lost = self.wanted.iter().filter(|(name, _)| names.contains(&name));
                lost.for_each(|(_, given_up)| given_up.cancel());
            }
        }
    }
}

impl Aside {
    pub(super) fn new(loader: Arc<Loader>, stopping: CancellationToken) -> Self {
        Self { loader, stopping, compiling: JoinSet::new(), waiting: Vec::new() }
    }

    /// How many changes wait.
    pub(super) fn len(&self) -> usize {
        self.compiling.len()
    }

    /// Has compiled what a change wants.
    pub(super) fn compile(&mut self, mut change: Change, scope: Scope, wanted: Vec<Wanted>) {
        let (loader, stopping) = (self.loader.clone(), self.stopping.clone());
        let (number, overtaken) = (change.number(), CancellationToken::new());
        let of = |wanted: &Wanted| Some((wanted.component.clone()?, wanted.given_up.clone()));
        self.waiting.push(Waiting {
            number,
            scope,
            overtaken: overtaken.clone(),
            wanted: wanted.iter().filter_map(of).collect(),
            settled: BTreeSet::new(),
        });
        self.compiling.spawn(async move {
            let refused = |why| Err(Rejected::at(Step::Compile, why));
            let told = change.under_way();
            let tell = || {
                // Who asked may have gone.
                told.map(|told| told.send(()).ok());
            };
            let outcome = tokio::select! {
                biased;
                () = stopping.cancelled() => refused(STOPPING),
                () = overtaken.cancelled() => Ok(Vec::new()),
                () = change.given_up() => refused(OUTDONE),
                compiled = loader.compile(wanted, Urgency::BesideTraffic, tell) => compiled,
            };
            Compiled { change, outcome }
        });
    }

    /// The next change that need not wait any longer; none if none waits. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Compiled> {
        // A task of these is not aborted, and what it awaits does not panic.
        let mut compiled = self.compiling.join_next().await?.ok()?;
        let number = compiled.change.number();
        let place = self.waiting.iter().position(|waiting| waiting.number == number);
        if let Some(place) = place {
            compiled.change.settled(self.waiting.swap_remove(place).settled);
        }
        Some(compiled)
    }

    /// What serves these components is what the change with this number wants: what those before it
    /// that still wait want of them is given up.
    pub(super) fn decided<'a>(
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

/// Why a change is given up.
pub(super) const OVERTAKEN: &str =
    "another change, asked for later, was carried out while this one was being compiled";

/// The same, of one that nobody waits for.
const OUTDONE: &str = "the same was asked for later, and reads everything anew";

impl fmt::Debug for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aside").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}
