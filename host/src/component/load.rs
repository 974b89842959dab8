//! From a path to a generation that is proven: the steps that come before the pointer store.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use host_code::{ArtefactKey, CompileBounds};
use host_manifest::escape;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::compile::{Blank, Found, Foundry, Say, Unfinished};
use super::flight::{Flight, Flights, Version, Versions};
use super::generation::{Blueprint, Code, Generation, Kept};
use super::instance::GuestFailure;
use super::memory::MemoryBudget;
use super::reuse::Keeper;
use super::scarce::is_shortage;
use super::smoke::Smoke;
use super::source::{Glance, Largest, LoadError, Source};
use super::{Cache, Clock, ComponentLimits, Grants, IdleRoom, ReuseConfig, Share, Urgency};

/// Reading a file takes no longer, unless the file system has gone.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// A step of a load or a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Somebody asks for a swap.
    Ask,
    /// The manifest is read.
    Manifest,
    /// What a component is granted is opened.
    Grants,
    /// The file is read.
    Read,
    /// What it says of itself: kind and imports.
    Check,
    /// It is compiled, or taken from the cache.
    Compile,
    /// Its imports get what the host has.
    Link,
    /// One instance is made.
    Instantiate,
    /// That instance's hook `on-start` runs.
    OnStart,
    /// The operator's smoke requests are answered.
    Smoke,
}

impl Step {
    /// The name in logs and in the control socket's answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Manifest => "manifest",
            Self::Grants => "grants",
            Self::Read => "read",
            Self::Check => "check",
            Self::Compile => "compile",
            Self::Link => "link",
            Self::Instantiate => "instantiate",
            Self::OnStart => "on-start",
            Self::Smoke => "smoke",
        }
    }
}

/// A component that does not come to serve: at which step, and why. Says what to do where there is
/// something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Where it failed.
    pub step: Step,
    /// The reason, in one line.
    pub why: String,
    /// It is not for what the files are: the same may be taken a moment later.
    pub passing: bool,
}

impl Rejected {
    /// A refusal at `step`, for what is to be loaded. Of what strangers have put into it nothing is a
    /// command to a terminal.
    pub fn at(step: Step, why: impl Into<String>) -> Self {
        Self { step, why: escape::harmless(&why.into()), passing: false }
    }

    /// A refusal at `step` for something that passes: the process or the machine is out of it, or
    /// somebody does not answer.
    pub fn for_now(step: Step, why: impl Into<String>) -> Self {
        Self { passing: true, ..Self::at(step, why) }
    }

    /// The same, of a component that has a name.
    #[must_use]
    pub fn of(self, component: &str) -> Self {
        Self { why: format!("component {component}: {}", self.why), ..self }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Rejected {}

impl From<LoadError> for Rejected {
    fn from(why: LoadError) -> Self {
        let step = match &why {
            LoadError::Unreadable { .. } | LoadError::TooLarge { .. } => Step::Read,
            LoadError::BadText { .. }
            | LoadError::CoreModule { .. }
            | LoadError::Else { .. }
            | LoadError::Malformed { .. }
            | LoadError::UnknownImport { .. }
            | LoadError::NoHandler { .. } => Step::Check,
            LoadError::Unloadable { .. } | LoadError::Engine(_) => Step::Compile,
            LoadError::Unlinkable { .. } => Step::Link,
        };
        let passing = match &why {
            LoadError::Unreadable { why, .. } => is_passing(why),
            LoadError::Engine(_) => true,
            _ => false,
        };
        let why = match std::error::Error::source(&why) {
            Some(cause) => format!("{why}: {cause}"),
            None => why.to_string(),
        };
        Self { passing, ..Self::at(step, why) }
    }
}

/// Whether a file may be readable a moment later without a change that can be seen.
fn is_passing(why: &io::Error) -> bool {
    !matches!(
        why.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidInput
    )
}

/// Why nothing was made of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmade {
    /// It has to be compiled first, which takes long: [`Loader::compile`].
    Uncompiled,
    /// It will not come to serve.
    Rejected(Rejected),
}

impl From<Rejected> for Unmade {
    fn from(why: Rejected) -> Self {
        Self::Rejected(why)
    }
}

/// What a component is loaded with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it is called; by its file if none.
    pub name: Option<Arc<str>>,
    /// What guests may use.
    pub limits: ComponentLimits,
    /// Where their memory is counted beside that of each.
    pub memory: MemoryBudget,
    /// Its part of the workers.
    pub share: Share,
    /// What they are given beyond the sandbox.
    pub grants: Grants,
    /// How far instances are reused; not at all without.
    pub reuse: Option<ReuseConfig>,
    /// Where those wait, with the ones of all other components.
    pub idle: IdleRoom,
    /// Makes a stop wait for instances that are reused.
    pub keeper: Keeper,
    /// Requests that a new generation must answer before it serves, in this order.
    pub smoke: Vec<Smoke>,
}

/// What all loads of a process have in common.
#[derive(Clone, Debug)]
pub struct Workshop {
    /// Instances at once, of all components, those included that wait to be reused.
    pub instances: usize,
    /// Where compiled code is kept.
    pub cache: Cache,
    /// Bytes that all guests may have together; none for as many as they like.
    pub memory: Option<u64>,
    /// What ends a guest's stay on a worker.
    pub clock: Clock,
    /// What compiling one component may take.
    pub bounds: CompileBounds,
    /// What is read of a file at most.
    pub largest: Largest,
    /// Is told of a compile that takes long.
    pub say: Say,
}

/// Loads components. Shared by whoever swaps and by what compiles meanwhile; one per process.
#[derive(Debug)]
pub struct Loader {
    foundry: Foundry,
    largest: Largest,
    number: AtomicU64,
    /// Where the last load stands, for whoever drops it halfway.
    step: Mutex<Step>,
    /// Code that is in use, by its digest: many components may be of one file.
    known: Mutex<HashMap<Arc<str>, Weak<Code>>>,
    flights: Flights<Compiled>,
    versions: Versions,
}

/// What a compiler has come to, for all who wait for it.
type Compiled = Result<Arc<Code>, Arc<Unfinished>>;

/// A file whose code is wanted, and the component that it is for, if that has a name.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The name.
    pub component: Option<Arc<str>>,
    /// The file.
    pub path: PathBuf,
    /// It is not wanted any more: its compiler is killed, and the others go on.
    pub given_up: CancellationToken,
}

impl Wanted {
    /// A file, until it is given up.
    #[must_use]
    pub fn new(component: Option<Arc<str>>, path: PathBuf) -> Self {
        Self { component, path, given_up: CancellationToken::new() }
    }

    /// Waits until its code is not wanted any more: given up, or of a file that is another one by now.
    /// Cancel-safe.
    async fn is_vain(&self, version: &Version) {
        tokio::select! {
            () = self.given_up.cancelled() => {}
            () = version.replaced() => {}
        }
    }

    /// Why there is none, in the name of its component.
    fn refused(&self, why: Rejected) -> Rejected {
        match &self.component {
            Some(component) => why.of(component),
            None => why,
        }
    }
}

impl Loader {
    /// A loader; its engines are made when first needed. Opens the cache, which blocks for a moment.
    #[must_use]
    pub fn new(workshop: &Workshop) -> Self {
        Self {
            foundry: Foundry::new(workshop),
            largest: workshop.largest,
            number: AtomicU64::new(1),
            step: Mutex::new(Step::Read),
            known: Mutex::default(),
            flights: Flights::default(),
            versions: Versions::default(),
        }
    }

    /// Reads the file, and no more.
    ///
    /// # Errors
    /// See [`Rejected`].
    pub async fn read(&self, path: &Path) -> Result<Source, Rejected> {
        self.begin(Step::Read);
        let (asked, largest): (PathBuf, _) = (path.to_owned(), self.largest);
        // A thread that hangs in a dead file system is left behind, one per try.
        let read = tokio::task::spawn_blocking(move || Source::read(&asked, largest));
        match host_clock::timeout(READ_PATIENCE, read).await {
            Ok(Ok(source)) => Ok(source?),
            Ok(Err(why)) => Err(Rejected::for_now(Step::Read, why.to_string())),
            Err(_) => Err(Rejected::for_now(
                Step::Read,
                format!("cannot read {} within {READ_PATIENCE:?}", path.display()),
            )),
        }
    }

    /// What the file at `path` says of itself; nothing if it cannot be read.
    pub async fn glance(&self, path: &Path) -> Glance {
        match self.read(path).await {
            Ok(source) => self.foundry.glance(source).await,
            Err(_) => Glance::default(),
        }
    }

    /// Checks and links, with code that is in use or in the cache. Cancel-safe. Every step has its
    /// deadline.
    ///
    /// # Errors
    /// See [`Unmade`].
    pub async fn make(
        &self,
        source: Source,
        settings: &Arc<Settings>,
        pace: Urgency,
    ) -> Result<Arc<Blueprint>, Unmade> {
        let path = source.path.clone();
        let code = match self.known(&source.digest) {
            Some(code) => code,
            // A compiler has to read it first.
            None if source.is_text() => return Err(Unmade::Uncompiled),
            None => self.find(source, pace).await?.map_err(|_| Unmade::Uncompiled)?,
        };
        Ok(Arc::new(Blueprint::new(&path, code, settings)))
    }

    /// Compiles, of these files, what is neither in use nor in the cache: some at once, each by a child
    /// of its own. Their code is there as long as what is given is held. Cancel-safe: dropping it
    /// kills the compilers that nobody else waits for. A file that cannot be read is passed over: who
    /// loads it says so; so is one that has been read anew by another meanwhile. `under_way` is called once,
    /// when as many are being compiled as can be, or text is being read.
    ///
    /// # Errors
    /// See [`Rejected`]: the first one that has to be compiled and cannot.
    pub async fn compile(
        self: &Arc<Self>,
        wanted: impl IntoIterator<Item = Wanted> + Send,
        pace: Urgency,
        under_way: impl FnOnce() + Send,
    ) -> Result<Vec<Held>, Rejected> {
        let (mut compiling, mut held) = (JoinSet::new(), Vec::new());
        let mut under_way = Some(under_way);
        let mut tell = || {
            if let Some(tell) = under_way.take() {
                tell();
            }
        };
        for wanted in wanted {
            let Ok(source) = self.read(&wanted.path).await else { continue };
            if let Some(code) = self.known(&source.digest) {
                held.push(Held(code));
                continue;
            }
            let version = self.versions.seen(&wanted.path, &source.digest);
            if source.is_text() {
                tell();
            }
            let (blank, key) = match self.code_of(source, &wanted, &version, pace).await? {
                Some(Err(missing)) => missing,
                Some(Ok(code)) => {
                    held.push(Held(code));
                    continue;
                }
                None => continue,
            };
            while compiling.len() >= self.foundry.at_once() {
                tell();
                held.extend(next(&mut compiling).await?);
            }
            let flight = self.join(blank, key, pace);
            compiling.spawn(async move {
                tokio::select! {
                    biased;
                    () = wanted.is_vain(&version) => Ok(None),
                    landed = landed(&flight, &wanted) => landed.map(Some),
                }
            });
        }
        tell();
        while !compiling.is_empty() {
            held.extend(next(&mut compiling).await?);
        }
        Ok(held)
    }

    /// What there is of a file's code; nothing if it is not wanted any more, or if something is wrong with it
    /// that is found again by who loads it.
    async fn code_of(
        &self,
        source: Source,
        wanted: &Wanted,
        version: &Version,
        pace: Urgency,
    ) -> Result<Option<Result<Arc<Code>, (Blank, ArtefactKey)>>, Rejected> {
        let is_text = source.is_text();
        let found = tokio::select! {
            biased;
            () = wanted.is_vain(version) => return Ok(None),
            found = self.find(source, pace) => found,
        };
        match found {
            Ok(found) => Ok(Some(found)),
            Err(why) if is_text => Err(wanted.refused(why)),
            Err(_) => Ok(None),
        }
    }

    /// Has it compiled, or waits with those who have it compiled already.
    fn join(
        self: &Arc<Self>,
        blank: Blank,
        key: ArtefactKey,
        pace: Urgency,
    ) -> Arc<Flight<Compiled>> {
        let digest = blank.source.digest.clone();
        let (loader, of) = (self.clone(), digest.clone());
        self.flights.join(&digest, || async move {
            if let Some(code) = loader.known(&of) {
                return Ok(code);
            }
            loader.begin(Step::Compile);
            let code = loader.foundry.compile(&Arc::new(blank), &key, pace).await?;
            Ok(loader.learn(of, code))
        })
    }

    /// Code that was kept, with these settings.
    #[must_use]
    pub fn remake(&self, of: &Kept, settings: &Arc<Settings>) -> Arc<Blueprint> {
        Arc::new(Blueprint::new(&of.path, of.code.clone(), settings))
    }

    fn known(&self, digest: &Arc<str>) -> Option<Arc<Code>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, code| code.strong_count() > 0);
        known.get(digest)?.upgrade()
    }

    /// Code out of the cache, or what it takes to compile it.
    async fn find(
        &self,
        source: Source,
        pace: Urgency,
    ) -> Result<Result<Arc<Code>, (Blank, ArtefactKey)>, Rejected> {
        self.begin(Step::Check);
        let blank = Arc::new(self.foundry.blank(source).await?);
        self.begin(Step::Compile);
        match self.foundry.find(&blank, pace).await? {
            Found::Code(code) => Ok(Ok(self.learn(blank.source.digest.clone(), *code))),
            Found::Nothing(key) => {
                let blank = Arc::try_unwrap(blank);
                let lost = |_| Rejected::for_now(Step::Compile, "loading it has not ended");
                Ok(Err((blank.map_err(lost)?, key)))
            }
        }
    }

    fn learn(&self, digest: Arc<str>, code: Code) -> Arc<Code> {
        let code = Arc::new(code);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(digest, Arc::downgrade(&code));
        code
    }

    /// Makes a generation of it and lets it show that it can serve: one instance, its `on-start`,
    /// the smoke requests.
    ///
    /// # Errors
    /// See [`Rejected`].
    pub async fn prove(&self, blueprint: Arc<Blueprint>) -> Result<Generation, Rejected> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let generation = Generation::new(number, blueprint);
        let path = generation.path().display();
        self.begin(Step::Instantiate);
        let trial = generation.instantiate().await.map_err(|why| {
            let wants = is_shortage(&why);
            let why = GuestFailure::of(&why);
            let passing = wants || matches!(why, GuestFailure::NoMemory | GuestFailure::PoolFull);
            let why = format!("{path} does not start: {why}");
            Rejected { passing, ..Rejected::at(Step::Instantiate, why) }
        })?;
        self.begin(Step::OnStart);
        trial
            .run_hooks()
            .await
            .map_err(|why| Rejected::at(Step::OnStart, format!("{path} does not start: {why}")))?;
        for smoke in &generation.blueprint().settings.smoke {
            self.begin(Step::Smoke);
            smoke.run(&generation).await.map_err(|why| {
                Rejected::at(Step::Smoke, format!("{path} fails the smoke request {smoke}: {why}"))
            })?;
        }
        Ok(generation)
    }

    /// The step that the last load has come to.
    #[must_use]
    pub fn step(&self) -> Step {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, step: Step) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step;
    }
}

/// Code that is kept in memory for who is about to use it.
pub struct Held(Arc<Code>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.0.digest).finish()
    }
}

/// Waits for the code of a file.
async fn landed(flight: &Flight<Compiled>, wanted: &Wanted) -> Result<Held, Rejected> {
    let refused = match flight.outcome().await {
        Some(Ok(code)) => return Ok(Held(code)),
        Some(Err(why)) => why.of(&wanted.path),
        None => Rejected::for_now(Step::Compile, "compiling it has failed"),
    };
    Err(wanted.refused(refused))
}

/// The code of the next one; none if it was given up.
async fn next(
    compiling: &mut JoinSet<Result<Option<Held>, Rejected>>,
) -> Result<Option<Held>, Rejected> {
    match compiling.join_next().await {
        None => Ok(None),
        Some(Ok(compiled)) => compiled,
        Some(Err(why)) => Err(Rejected::for_now(Step::Compile, why.to_string())),
    }
}
