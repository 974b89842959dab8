//! From a path to a generation that is proven: the steps that come before the pointer store.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::info;
use wasmtime::component::Component;

use super::compile::{Compiler, NotDone};
use super::engine::{Engines, Needs};
use super::generation::{Blueprint, Generation};
use super::reuse::{Keeper, Reuse};
use super::smoke::Smoke;
use super::source::{LoadError, Source};
use super::{Cache, Grants, Limits, Pace};

/// Reading a file takes no longer, unless the file system has gone.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// A step of a load or a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Somebody asks for a swap.
    Ask,
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
}

impl Rejected {
    pub(super) fn at(step: Step, why: impl Into<String>) -> Self {
        Self { step, why: why.into() }
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
            | LoadError::Malformed { .. }
            | LoadError::UnknownImport { .. }
            | LoadError::NoHandler { .. } => Step::Check,
            LoadError::Uncompilable { .. } | LoadError::Engine(_) => Step::Compile,
            LoadError::Unlinkable { .. } => Step::Link,
        };
        match std::error::Error::source(&why) {
            Some(cause) => Self::at(step, format!("{why}: {cause}")),
            None => Self::at(step, why.to_string()),
        }
    }
}

/// What a load needs to know beside the path.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What guests may use.
    pub limits: Limits,
    /// What they are given beyond that.
    pub grants: Grants,
    /// How far instances are reused; not at all without.
    pub reuse: Option<Reuse>,
    /// Makes a stop wait for instances that are reused.
    pub keeper: Keeper,
    /// Where compiled code is kept.
    pub cache: Cache,
    /// How long compiling may take.
    pub compile: Duration,
    /// Requests that a new generation must answer before it serves, in this order.
    pub smoke: Vec<Smoke>,
}

/// Loads components. Owned by whoever swaps; one per process.
#[derive(Debug)]
pub struct Loader {
    settings: Settings,
    engines: Arc<Engines>,
    compiler: Compiler,
    number: AtomicU64,
    /// Where the last load stands, for whoever drops it halfway.
    step: Mutex<Step>,
}

impl Loader {
    /// A loader; its engines are made when first needed.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        // Idle instances stay in the pool beside those that admission counts.
        let times = if settings.reuse.is_some() { 2 } else { 1 };
        let instances = settings.limits.instances.saturating_mul(times);
        let limits = Limits { instances, ..settings.limits };
        let engines = Arc::new(Engines::new(limits, settings.cache.clone()));
        let (compiler, number, step) = (Compiler::new(), AtomicU64::new(1), Mutex::new(Step::Read));
        Self { settings, engines, compiler, number, step }
    }

    /// Reads, checks, compiles, links and proves a component. Cancel-safe: dropping it leaves a
    /// compiler running whose result is thrown away. Every step has its deadline.
    ///
    /// # Errors
    /// See [`Rejected`].
    pub async fn load(&self, path: &Path, pace: Pace) -> Result<Generation, Rejected> {
        let source = self.read(path).await?;
        let blueprint = self.make(source, pace).await?;
        self.prove(blueprint).await
    }

    /// Reads the file, and no more.
    pub(super) async fn read(&self, path: &Path) -> Result<Source, Rejected> {
        self.begin(Step::Read);
        let asked: PathBuf = path.to_owned();
        // A thread that hangs in a dead file system is left behind, one per try.
        let read = tokio::task::spawn_blocking(move || Source::read(&asked));
        match timeout(READ_PATIENCE, read).await {
            Ok(Ok(source)) => Ok(source?),
            Ok(Err(why)) => Err(Rejected::at(Step::Read, why.to_string())),
            Err(_) => Err(Rejected::at(
                Step::Read,
                format!("cannot read {} within {READ_PATIENCE:?}", path.display()),
            )),
        }
    }

    /// Checks, compiles and links.
    pub(super) async fn make(
        &self,
        source: Source,
        pace: Pace,
    ) -> Result<Arc<Blueprint>, Rejected> {
        self.begin(Step::Check);
        let (kind, survey) = source.check()?;
        self.begin(Step::Compile);
        let (engines, patience) = (self.engines.clone(), self.settings.compile);
        let settings = self.settings.clone();
        let concurrency = survey.needs_concurrency();
        let path = source.path.clone();
        let work = move || -> Result<Blueprint, Rejected> {
            let component = compile(&source, concurrency, &engines)?;
            Blueprint::link(&source, kind, &component, concurrency, &settings).map_err(|why| {
                LoadError::Unlinkable { path: source.path.clone(), why: chain(&why) }.into()
            })
        };
        let made = self.compiler.run(pace, patience, work).await.map_err(|why| {
            let path = path.display();
            let why = match why {
                NotDone::Busy => format!(
                    "{path} was not compiled: an earlier component still is, after {patience:?}; \
                     ask again later"
                ),
                NotDone::TooSlow => {
                    format!("{path} did not compile within {patience:?}; raise --compile-timeout")
                }
                NotDone::Failed => format!("{path} was not compiled: the compiler failed"),
            };
            Rejected::at(Step::Compile, why)
        })?;
        made.map(Arc::new)
    }

    /// Makes a generation of it and lets it show that it can serve: one instance, its `on-start`,
    /// the smoke requests.
    pub(super) async fn prove(&self, blueprint: Arc<Blueprint>) -> Result<Generation, Rejected> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let generation = Generation::new(number, blueprint);
        let path = generation.path().display();
        self.begin(Step::Instantiate);
        let trial = generation.instantiate().await.map_err(|why| {
            Rejected::at(Step::Instantiate, format!("{path} does not start: {why}"))
        })?;
        self.begin(Step::OnStart);
        trial
            .run_hooks()
            .await
            .map_err(|why| Rejected::at(Step::OnStart, format!("{path} does not start: {why}")))?;
        for smoke in &self.settings.smoke {
            self.begin(Step::Smoke);
            smoke.run(&generation).await.map_err(|why| {
                Rejected::at(Step::Smoke, format!("{path} fails the smoke request {smoke}: {why}"))
            })?;
        }
        Ok(generation)
    }

    /// The step that the last load has come to.
    pub(super) fn step(&self) -> Step {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, step: Step) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step;
    }
}

/// Compiles in an engine whose pool fits the component: first in the one that was last used for its
/// kind, then, if that does not fit, in one made to measure. The second time the code is in the
/// cache.
fn compile(source: &Source, concurrency: bool, engines: &Engines) -> Result<Component, LoadError> {
    let engine =
        |needs| engines.get(needs, concurrency).map_err(|why| LoadError::Engine(chain(&why)));
    let compile = |engine: &wasmtime::Engine| {
        Component::new(engine, &source.bytes)
            .map_err(|why| LoadError::Uncompilable { path: source.path.clone(), why: chain(&why) })
    };
    let began = Instant::now();
    let (guess, first) = match engines.last(concurrency) {
        Some(last) => last,
        None => (Needs::TYPICAL, engine(Needs::TYPICAL)?),
    };
    let mut component = compile(&first)?;
    let needs = Needs::of(&component).unwrap_or(Needs::TYPICAL);
    if !guess.serves(&needs) {
        info!(?needs, "component needs a pool made to measure");
        drop((component, first));
        component = compile(&engine(needs)?)?;
    }
    // What would otherwise fall to the first request.
    component
        .initialize_copy_on_write_image()
        .map_err(|why| LoadError::Uncompilable { path: source.path.clone(), why: chain(&why) })?;
    info!(
        component = source.name(),
        took = ?began.elapsed(),
        bytes = source.bytes.len(),
        memories = needs.memories,
        tables = needs.tables,
        "component compiled, or taken from the cache"
    );
    Ok(component)
}

/// An error with all its causes in one line.
fn chain(why: &wasmtime::Error) -> String {
    why.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
