//! Changes of what is served, one after the other: whoever asks, the same code answers.
//!
//! A change whose code has to be compiled first steps aside for that and takes another turn after it
//! (`aside.rs`): it holds up no other, and one that was asked for later wins over it.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use host_manifest::Stamp;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::aside::{Aside, Compiled, OVERTAKEN, Scope};
use super::reload::{ALWAYS_ANOTHER, Outfitter, Rebuilt, Reloaded, Scruples, TURNS_AT_MOST};
use super::shelf::{Listed, Retirement, Shelf};
use super::{App, Looked, Site, Slot};
use crate::component::{
    Generation, Held, Keeper, Loader, Rejected, Settings, Source, Step, Unmade, Urgency, Wanted,
};

/// Swaps that may wait for the one under way; who comes later is told to come again.
const WAITING_AT_MOST: usize = 16;

/// What is asked for. A component need not be named where there is only one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read again what is served: the manifest and all of its files, or the file of the one
    /// component where there is no manifest.
    Reload,
    /// Have a component served from this file from now on.
    Swap(Option<String>, PathBuf),
    /// Put the code of a component's previous generation back.
    Rollback(Option<String>),
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Hangup,
    /// An operator, over the control socket.
    Operator,
    /// The file has changed.
    Watch,
}

impl Trigger {
    /// What the log calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Operator => "host ctl",
            Self::Watch => "--watch",
        }
    }
}

/// How a swap came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Exchanges that begin from now on run on another generation.
    Swapped {
        /// Number of the generation that is retired.
        from: u64,
        /// Number of the one that serves.
        to: u64,
        /// From the turn of this swap to the pointer store.
        took: Duration,
    },
    /// The bytes are those that serve already, or that were rolled back.
    Unchanged {
        /// Number of the generation that goes on.
        generation: u64,
    },
    /// A manifest is in force.
    Reloaded(Reloaded),
    /// The generation that served goes on.
    Rejected(Rejected),
}

impl Outcome {
    /// Nobody carries anything out any more.
    pub(super) fn ending() -> Self {
        Self::Rejected(Rejected::for_now(Step::Ask, "the process is ending"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swapped { from, to, took } => {
                write!(f, "swapped from generation {from} to {to} in {took:.3?}")
            }
            Self::Unchanged { generation } => {
                write!(f, "unchanged: the file says nothing new, generation {generation} goes on")
            }
            Self::Reloaded(reloaded) => reloaded.fmt(f),
            Self::Rejected(Rejected { step, why, .. }) => {
                write!(f, "rejected at step {}: {why}", step.name())
            }
        }
    }
}

/// The last swap, for who looks later.
#[derive(Clone, Debug)]
pub struct LastSwap {
    /// When it was over.
    pub at: Instant,
    /// Who had asked.
    pub trigger: Trigger,
    /// How it came out.
    pub outcome: Outcome,
}

pub(super) struct Asked {
    ask: Ask,
    trigger: Trigger,
    answer: oneshot::Sender<Outcome>,
    /// Told when it waits for a compiler.
    under_way: Option<oneshot::Sender<()>>,
    /// A stop waits until who asked has been told.
    kept: Box<dyn Any + Send>,
}

/// A reload that somebody will hear of.
#[derive(Debug)]
pub(super) struct Pending {
    /// What becomes of it.
    pub(super) outcome: oneshot::Receiver<Outcome>,
    /// Comes if it waits for a compiler: from then on another one that wants the same compiled shares it.
    pub(super) under_way: Option<oneshot::Receiver<()>>,
}

/// A change that has had its first turn.
pub(super) struct Change {
    asked: Asked,
    by: By,
    turns: usize,
    /// What was compiled for it.
    held: Vec<Held>,
    /// Components that changes asked for later have decided about while it waited.
    settled: BTreeSet<Arc<str>>,
}

/// Which change it is.
#[derive(Clone, Copy)]
struct By {
    /// Counts up: who asked later has a greater one.
    number: u64,
    trigger: Trigger,
    /// Its first turn.
    began: Instant,
}

impl Change {
    /// Counts up: who asked later has a greater one.
    pub(super) fn number(&self) -> u64 {
        self.by.number
    }

    /// Waits until nobody wants it any more. What an operator has asked for is carried out even if he
    /// has gone.
    pub(super) async fn given_up(&mut self) {
        match self.asked.trigger {
            Trigger::Operator => pending().await,
            Trigger::Hangup | Trigger::Watch => self.asked.answer.closed().await,
        }
    }

    /// Whom to tell that it waits for a compiler, once.
    pub(super) fn under_way(&mut self) -> Option<oneshot::Sender<()>> {
        self.asked.under_way.take()
    }

    /// Leaves these alone from now on: changes that were asked for later have decided about them.
    pub(super) fn settled(&mut self, names: BTreeSet<Arc<str>>) {
        self.settled.extend(names);
    }
}

/// What a turn has come to, short of a rejection.
enum Turn {
    Over(Outcome),
    /// These are to be compiled first.
    Uncompiled(Scope, Vec<Wanted>),
}

/// Asks for swaps and tells of generations. Cheap to clone; dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Swaps {
    sender: mpsc::Sender<Asked>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    slot: Arc<Slot>,
    shelf: Shelf,
    outfitter: Outfitter,
    keeper: Keeper,
    last: watch::Sender<Option<LastSwap>>,
}

/// Carries swaps out. Owned by one task.
#[derive(Debug)]
pub struct Swapper {
    receiver: mpsc::Receiver<Asked>,
    shared: Arc<Shared>,
    loader: Arc<Loader>,
    aside: Aside,
    /// A stop has been asked for.
    stopping: CancellationToken,
    /// Tasks that see retired generations off.
    retiring: TaskTracker,
}

impl Swaps {
    /// The two ends of swapping what sits in `slot`. `stopping` is cancelled when a stop is asked
    /// for: that wins over a swap, and no swap begins after it. `keeper` makes it wait until who
    /// asked for one has its outcome.
    #[must_use]
    pub fn new(
        slot: Arc<Slot>,
        loader: Arc<Loader>,
        outfitter: Outfitter,
        retirement: Retirement,
        stopping: CancellationToken,
        keeper: Keeper,
    ) -> (Self, Swapper) {
        let (sender, receiver) = mpsc::channel(WAITING_AT_MOST);
        let (last, _) = watch::channel(None);
        let shared =
            Arc::new(Shared { slot, shelf: Shelf::new(retirement), outfitter, keeper, last });
        let retiring = TaskTracker::new();
        let aside = Aside::new(loader.clone(), stopping.clone());
        let swapper =
            Swapper { receiver, shared: shared.clone(), loader, aside, stopping, retiring };
        (Self { sender, shared }, swapper)
    }

    /// Asks in the name of an operator and waits for the outcome: as long as those before it and its own steps
    /// take, each of which has a deadline. Dropping the future leaves the swap going on.
    pub async fn ask(&self, ask: Ask) -> Outcome {
        let (asked, Pending { outcome, .. }) = self.asked(ask, Trigger::Operator);
        match self.sender.try_send(asked) {
            Ok(()) => outcome.await.unwrap_or_else(|_| Outcome::ending()),
            Err(TrySendError::Full(_)) => {
                let why = "too many swaps are waiting already; ask again later";
                Outcome::Rejected(Rejected::for_now(Step::Ask, why))
            }
            Err(TrySendError::Closed(_)) => Outcome::ending(),
        }
    }

    /// Asks for a reload in the name of somebody who cannot be told to come again: as soon as there is a
    /// place for it. Cancel-safe.
    pub(super) async fn reload(&self, trigger: Trigger) -> Pending {
        let (asked, pending) = self.asked(Ask::Reload, trigger);
        if let Ok(place) = self.sender.reserve().await {
            place.send(asked);
        }
        pending
    }

    /// Whether there is no place for another.
    pub(super) fn are_many(&self) -> bool {
        self.sender.capacity() == 0
    }

    fn asked(&self, ask: Ask, trigger: Trigger) -> (Asked, Pending) {
        let (answer, outcome) = oneshot::channel();
        let (under_way, is_under_way) = oneshot::channel();
        let kept = self.shared.keeper.keep(format!("swap asked={}", trigger.name()));
        let asked = Asked { ask, trigger, answer, under_way: Some(under_way), kept };
        (asked, Pending { outcome, under_way: Some(is_under_way) })
    }

    /// All generations that there are, newest first.
    #[must_use]
    pub fn generations(&self) -> Vec<Listed> {
        self.shared.shelf.list(&self.shared.slot)
    }

    /// The last swap, if there was one.
    #[must_use]
    pub fn last(&self) -> Option<LastSwap> {
        self.shared.last.borrow().clone()
    }

    /// Follows the outcomes of swaps, whoever asks for them.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<LastSwap>> {
        self.shared.last.subscribe()
    }

    /// What a reload reads, and what each file was when that was read which serves; none if it
    /// matters only what becomes of it from now on. A path may be there more than once.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, Option<Stamp>)> {
        let current = self.shared.slot.current();
        let manifest = self.shared.outfitter.manifest();
        let manifest = manifest.map(|(path, stamp)| (path.to_owned(), Some(stamp)));
        let looked = current.apps().map(|app| (app.looked.path.clone(), app.looked.stamp));
        looked.chain(manifest).collect()
    }

    /// Tells all guests that the process drains and cuts at `deadline`.
    pub fn end_all(&self, deadline: Instant) {
        self.shared.shelf.end_all(&self.shared.slot, deadline);
    }

    /// Cuts everything: the process ends.
    pub fn cut_all(&self) {
        self.shared.shelf.cut_all(&self.shared.slot);
    }
}

impl Swapper {
    /// Carries out one swap after the other, until nobody can ask any more.
    pub async fn run(mut self) {
        let mut number = 0;
        loop {
            tokio::select! {
                biased;
                Some(compiled) = self.aside.next() => self.go_on(compiled).await,
                asked = self.receiver.recv() => {
                    let Some(asked) = asked else { return };
                    number += 1;
                    info!(asked = asked.trigger.name(), ask = ?asked.ask, "swap: begins");
                    let by = By { number, trigger: asked.trigger, began: Instant::now() };
                    let (held, settled) = (Vec::new(), BTreeSet::new());
                    self.turn(Change { asked, by, turns: 0, held, settled }).await;
                }
            }
        }
    }

    /// What a change wanted has been compiled, or cannot be.
    async fn go_on(&mut self, Compiled { mut change, outcome }: Compiled) {
        match outcome {
            Ok(held) => {
                change.held.extend(held);
                self.turn(change).await;
            }
            Err(why) => self.end(change, Outcome::Rejected(why)),
        }
    }

    async fn turn(&mut self, mut change: Change) {
        change.turns += 1;
        let stopping = self.stopping.clone();
        let outcome = if stopping.is_cancelled() {
            Err(Rejected::at(Step::Ask, STOPPING))
        } else {
            tokio::select! {
                biased;
                () = stopping.cancelled() => Err(Rejected::at(self.loader.step(), STOPPING)),
                outcome = self.swap(&change.asked.ask, change.by, &change.settled) => outcome,
            }
        };
        match outcome {
            Ok(Turn::Over(outcome)) => self.end(change, outcome),
            Err(why) => self.end(change, Outcome::Rejected(why)),
            Ok(Turn::Uncompiled(..)) if change.turns >= TURNS_AT_MOST => {
                let why = Rejected::for_now(Step::Compile, ALWAYS_ANOTHER);
                self.end(change, Outcome::Rejected(why));
            }
            Ok(Turn::Uncompiled(..)) if self.aside.len() >= WAITING_AT_MOST => {
                let why = Rejected::for_now(Step::Compile, "too many others are being compiled");
                self.end(change, Outcome::Rejected(why));
            }
            Ok(Turn::Uncompiled(scope, wanted)) => self.aside.compile(change, scope, wanted),
        }
    }

    /// Says what a change has come to.
    fn end(&self, change: Change, outcome: Outcome) {
        let Asked { trigger, answer, kept, .. } = change.asked;
        let asked = trigger.name();
        if matches!(outcome, Outcome::Rejected(_)) {
            warn!(asked, "swap: {outcome}");
        } else {
            info!(asked, "swap: {outcome}");
        }
        let last = LastSwap { at: Instant::now(), trigger, outcome: outcome.clone() };
        self.shared.last.send_replace(Some(last));
        // Who asked may have gone.
        answer.send(outcome).ok();
        drop(kept);
    }

    async fn swap(
        &mut self,
        ask: &Ask,
        by: By,
        settled: &BTreeSet<Arc<str>>,
    ) -> Result<Turn, Rejected> {
        let only_new = by.trigger == Trigger::Watch;
        match ask {
            Ask::Reload if self.shared.outfitter.manifest().is_some() => {
                self.reload_manifest(by, &Scruples { only_new, settled }).await
            }
            Ask::Reload => {
                let app = self.shared.app(None)?;
                let path = app.looked.path.clone();
                self.swap_to(by, &path, &app, (only_new, settled)).await
            }
            Ask::Swap(name, path) => {
                let app = self.shared.app(name.as_deref())?;
                self.swap_to(by, path, &app, (false, settled)).await
            }
            Ask::Rollback(name) => {
                let app = self.shared.app(name.as_deref())?;
                let previous = self.shared.shelf.previous(&app.manifest.name).ok_or_else(|| {
                    Rejected::at(Step::Ask, "there is no previous generation to go back to")
                })?;
                let previous = self.loader.remake(&previous, &app.settings);
                let next = self.loader.prove(previous).await?;
                let looked = self.shared.after_rollback(&app, &next);
                Ok(Turn::Over(self.put(by, &app, next, looked)))
            }
        }
    }

    /// Has `app` served from the file at `path`; not if `only_new` and it is as when it was last read, nor
    /// if a change that was asked for later has settled what serves. That may be the same, though.
    async fn swap_to(
        &mut self,
        by: By,
        path: &Path,
        app: &Candidate,
        (only_new, settled): (bool, &BTreeSet<Arc<str>>),
    ) -> Result<Turn, Rejected> {
        let source = self.loader.read(path).await?;
        let looked = self.shared.after_swap(app, &source);
        let serves = *source.digest() == app.digest;
        let says_nothing = only_new && *source.digest() == app.looked.digest;
        if serves || says_nothing {
            self.shared.take_note(app, looked);
            if !says_nothing {
                self.aside.decided(by.number, [&app.manifest.name]);
            }
            return Ok(Turn::Over(Outcome::Unchanged { generation: app.number }));
        }
        if settled.contains(&app.manifest.name) {
            return Err(Rejected::at(Step::Compile, OVERTAKEN));
        }
        let blueprint = match self.loader.make(source, &app.settings, Urgency::BesideTraffic).await
        {
            Ok(blueprint) => blueprint,
            Err(Unmade::Rejected(why)) => return Err(why),
            Err(Unmade::Uncompiled) => {
                let wanted = Wanted::new(None, path.to_owned());
                let scope = Scope::Component(app.manifest.name.clone());
                return Ok(Turn::Uncompiled(scope, vec![wanted]));
            }
        };
        let next = self.loader.prove(blueprint).await?;
        Ok(Turn::Over(self.put(by, app, next, looked)))
    }

    /// Puts a proven generation in the place of an app's.
    fn put(&mut self, by: By, app: &Candidate, next: Generation, looked: Looked) -> Outcome {
        let to = next.number();
        let current = self.shared.slot.current();
        // Changes are serial, and this is the one: what was there a moment ago is there still.
        let site = match current.app(&app.manifest.name) {
            Some(app) => current.with(app.on(Arc::new(next), looked)),
            None => return Outcome::Unchanged { generation: app.number },
        };
        drop(current);
        self.commit(site);
        self.aside.decided(by.number, [&app.manifest.name]);
        Outcome::Swapped { from: app.number, to, took: by.began.elapsed() }
    }

    async fn reload_manifest(&mut self, by: By, scruples: &Scruples<'_>) -> Result<Turn, Rejected> {
        let Shared { slot, outfitter, .. } = &*self.shared;
        let Rebuilt { site, mut reloaded, decided } =
            match outfitter.rebuild(slot, &self.loader, scruples).await {
                Ok(rebuilt) => rebuilt,
                Err(Unmade::Rejected(why)) => return Err(why),
                Err(Unmade::Uncompiled) => {
                    let wanted = outfitter.wanted_now(scruples).await?;
                    return Ok(Turn::Uncompiled(Scope::All, wanted));
                }
            };
        reloaded.took = by.began.elapsed();
        if let Some(site) = site {
            self.commit(site);
        }
        self.aside.decided(by.number, &decided);
        Ok(Turn::Over(Outcome::Reloaded(reloaded)))
    }

    fn commit(&self, site: Site) {
        for leaves in self.shared.shelf.replace(&self.shared.slot, site) {
            self.retiring.spawn(leaves);
        }
    }
}

/// A component that is to be changed, as it is now. Holds nothing of its generation: only exchanges
/// may.
struct Candidate {
    manifest: Arc<host_manifest::ComponentConfig>,
    settings: Arc<Settings>,
    looked: Looked,
    digest: Arc<str>,
    number: u64,
}

impl Shared {
    /// The component of this name, or the only one.
    fn app(&self, name: Option<&str>) -> Result<Candidate, Rejected> {
        let current = self.slot.current();
        let names = || {
            let names: Vec<&str> = current.apps().map(|app| &*app.manifest.name).collect();
            names.join(", ")
        };
        let refused = |why: String| Rejected::at(Step::Ask, why);
        let app = match name {
            Some(name) => current.app(name).ok_or_else(|| {
                refused(format!("there is no component {name}; there are: {}", names()))
            })?,
            None => {
                let mut apps = current.apps();
                let (Some(only), None) = (apps.next(), apps.next()) else {
                    return Err(refused(format!(
                        "there is more than one component; name one with --component: {}",
                        names()
                    )));
                };
                only
            }
        };
        Ok(Candidate {
            manifest: app.manifest.clone(),
            settings: app.settings.clone(),
            looked: app.looked.clone(),
            digest: app.generation.digest().clone(),
            number: app.generation.number(),
        })
    }

    /// What a reload reads when `app` has been swapped to this file: that one, unless a manifest says
    /// which it is.
    fn after_swap(&self, app: &Candidate, source: &Source) -> Looked {
        let stays = self.outfitter.manifest().is_some() && source.path() != app.looked.path;
        if stays { app.looked.clone() } else { Looked::of(source) }
    }

    /// The same when it goes back to `next`, which was read long ago.
    fn after_rollback(&self, app: &Candidate, next: &Generation) -> Looked {
        let (path, digest) = (next.path().to_owned(), next.digest().clone());
        let stays = self.outfitter.manifest().is_some() || path == app.looked.path;
        if stays { app.looked.clone() } else { Looked { path, stamp: None, digest } }
    }

    /// What a reload reads has been read, and nothing else has changed.
    fn take_note(&self, app: &Candidate, looked: Looked) {
        let current = self.slot.current();
        if let Some(app) = current.app(&app.manifest.name) {
            let site = current.with(App { looked, ..(**app).clone() });
            drop(current);
            drop(self.slot.swap(site));
        }
    }
}

/// Why nothing is swapped any more.
pub(super) const STOPPING: &str =
    "the host is stopping, and what it serves is not swapped any more";
