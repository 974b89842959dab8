//! From a path to a proven generation: the steps before the pointer store.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use host_code::{ArtefactKey, Urgency};
use host_telemetry::ComponentUsage;
use tokio::task::JoinSet;
use tracing::warn;

use super::code::code_loader::{
    CacheLookup, CodeError, CodeLoader, LinkCode, LoadedCode, LoaderConfig,
};
use super::code::load_error::FileSizeLimit;
use super::code::rejected::{Rejected, Step};
use super::code::single_flight::{Flight, Flights, Version, Versions};
use super::code::source::{Glance, Source};
use super::code::surveyed::{Beginning, SurveyedSource, code_name};
use super::code::vouch::VouchForFile;
use super::generation::Generation;
use super::imports::link::Linkers;
use super::known_code::KnownCode;
use super::load_progress::begin;
use super::map_again::GivenBack;
use super::run::blueprint::{Blueprint, KeptCode};
use super::run::component_code::ComponentCode;
use super::run::linked_code::LinkedCode;
use super::run::settings::Settings;
use super::starts;
use super::wanted::Wanted;
use super::warm_up::warm_up;

/// Reading a file takes less, unless the file system hangs.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// Why a file has not become a blueprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmade {
    /// It has to be compiled first, which takes long: see [`Loader::compile`].
    Uncompiled,
    /// It cannot serve.
    Rejected(Rejected),
}

impl From<Rejected> for Unmade {
    fn from(why: Rejected) -> Self {
        Self::Rejected(why)
    }
}

/// Loads components. One per process, shared by swaps and by compiles that run meanwhile.
#[derive(Debug)]
pub struct Loader {
    code_loader: Arc<CodeLoader<LinkedCode>>,
    largest: FileSizeLimit,
    vouch: VouchForFile,
    number: AtomicU64,
    known: KnownCode,
    flights: Flights<CompileOutcome>,
    versions: Versions,
    /// None where code stays mapped.
    given_back: Option<GivenBack>,
}

/// The outcome of a compile, for all its waiters.
type CompileOutcome = Result<Arc<ComponentCode>, Arc<CodeError>>;

impl Loader {
    /// A loader. Its engines are made when first needed. Opens the cache, which blocks for a moment.
    #[must_use]
    pub fn new(config: &LoaderConfig) -> Self {
        let linkers = Linkers::default();
        let link: LinkCode<LinkedCode> = Arc::new(move |surveyed, component, kept, symbols| {
            LinkedCode::link(&linkers, surveyed, component, kept, symbols)
        });
        Self {
            code_loader: Arc::new(CodeLoader::new(config, link)),
            largest: config.largest,
            vouch: config.vouch.clone(),
            number: AtomicU64::new(1),
            known: KnownCode::default(),
            flights: Flights::default(),
            versions: Versions::default(),
            given_back: config.code_memory.map(GivenBack::new),
        }
    }

    /// Reads the file, if it may be loaded.
    ///
    /// # Errors
    /// See [`Rejected`].
    pub async fn read(&self, path: &Path) -> Result<Source, Rejected> {
        begin(Step::Read);
        let (asked, largest, vouch) = (path.to_owned(), self.largest, self.vouch.clone());
        // A thread that hangs in a dead file system is left behind, one per try.
        let read = tokio::task::spawn_blocking(move || {
            Source::read_vouched(&asked, largest, |bytes, is_bundle| {
                vouch.check(&asked, bytes, is_bundle)
            })
        });
        match host_clock::timeout(READ_PATIENCE, read).await {
            Ok(Ok(source)) => Ok(source?),
            Ok(Err(why)) => Err(Rejected::for_now(Step::Read, why.to_string())),
            Err(_) => Err(Rejected::for_now(
                Step::Read,
                format!("cannot read {} within {READ_PATIENCE:?}", path.display()),
            )),
        }
    }

    /// Imports and exports of the file at `path`; nothing if it cannot be read.
    pub async fn glance(&self, path: &Path) -> Glance {
        match self.read(path).await {
            Ok(source) => self.code_loader.glance(source).await,
            Err(_) => Glance::default(),
        }
    }

    /// Checks and links a file with code that is in use or in the cache. Cancel-safe. Every step has its
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
        let snapshot = settings.snapshot;
        let code = match self.known.get(&code_name(&source.digest, snapshot)) {
            Some(code) => code,
            // Only a compiler reads text.
            None if source.is_text() => return Err(Unmade::Uncompiled),
            None => {
                let found = self.find((source, snapshot), &settings.usage, pace).await?;
                found.map_err(|_| Unmade::Uncompiled)?
            }
        };
        Ok(Arc::new(Blueprint::new(&path, code, settings, pace)))
    }

    /// Compiles those of the files that are neither in use nor in the cache: some at once, each in a child
    /// process. The code stays available for as long as the result is held. Cancel-safe: dropping the
    /// future kills the compilers that have no other waiter. Files that cannot be read are skipped, because
    /// their load reports the error; so are files that another load has read anew meanwhile. `under_way` is
    /// called once, when as many compiles run as can run at once, or when text is being read.
    ///
    /// # Errors
    /// The [`Rejected`] of the first file that has to be compiled and cannot be.
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
            if let Some(code) = self.known.get(&code_name(&source.digest, wanted.snapshot)) {
                held.push(Held(code));
                continue;
            }
            let version = self.versions.seen(&wanted.path, &source.digest);
            if source.is_text() || wanted.snapshot {
                tell();
            }
            let (surveyed, key) = match self.code_of(source, &wanted, &version, pace).await? {
                Some(Err(missing)) => missing,
                Some(Ok(code)) => {
                    held.push(Held(code));
                    continue;
                }
                None => continue,
            };
            while compiling.len() >= self.code_loader.at_once() {
                tell();
                held.extend(next(&mut compiling).await?);
            }
            let flight = self.join(surveyed, key, wanted.usage.clone(), pace);
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

    /// The code of a file. Nothing if it is not wanted any more, or if it has a fault that its load will
    /// find again.
    async fn code_of(
        &self,
        source: Source,
        wanted: &Wanted,
        version: &Version,
        pace: Urgency,
    ) -> Result<Option<Result<Arc<ComponentCode>, (SurveyedSource, ArtefactKey)>>, Rejected> {
        // A child has read it, and refused it. It would be asked again at once.
        let is_text = source.is_text() || wanted.snapshot;
        let found = tokio::select! {
            biased;
            () = wanted.is_vain(version) => return Ok(None),
            found = self.find((source, wanted.snapshot), &wanted.usage, pace) => found,
        };
        match found {
            Ok(found) => Ok(Some(found)),
            Err(why) if is_text => Err(wanted.refused(why)),
            Err(_) => Ok(None),
        }
    }

    /// Compiles it, or joins the compile of the same bytes that is under way: one component counts it.
    fn join(
        self: &Arc<Self>,
        surveyed: SurveyedSource,
        key: ArtefactKey,
        usage: Arc<ComponentUsage>,
        pace: Urgency,
    ) -> Arc<Flight<CompileOutcome>> {
        let name = surveyed.code_name();
        let (loader, bytes) = (self.clone(), name.clone());
        self.flights.join(&name, || async move {
            if let Some(code) = loader.known.get(&bytes) {
                return Ok(code);
            }
            let surveyed = Arc::new(surveyed);
            let code = loader.code_loader.compile(&surveyed, &key, &usage, pace).await?;
            Ok(loader.learn(&surveyed, code, &usage))
        })
    }

    /// A blueprint of kept code with these settings.
    #[must_use]
    pub fn remake(&self, kept: &KeptCode, settings: &Arc<Settings>) -> Arc<Blueprint> {
        Arc::new(Blueprint::new(&kept.path, kept.code.clone(), settings, Urgency::BesideTraffic))
    }

    /// Linked code from the cache, or what it takes to compile it.
    async fn find(
        &self,
        (source, snapshot): (Source, bool),
        usage: &Arc<ComponentUsage>,
        pace: Urgency,
    ) -> Result<Result<Arc<ComponentCode>, (SurveyedSource, ArtefactKey)>, Rejected> {
        begin(Step::Check);
        let surveyed = Arc::new(self.code_loader.survey(source, snapshot).await?);
        begin(Step::Compile);
        match self.code_loader.find(&surveyed, usage, pace).await? {
            CacheLookup::Code(code) => Ok(Ok(self.learn(&surveyed, *code, usage))),
            CacheLookup::Nothing(key) => {
                let surveyed = Arc::try_unwrap(surveyed);
                let lost = |_| Rejected::for_now(Step::Compile, "loading it has not ended");
                Ok(Err((surveyed.map_err(lost)?, key)))
            }
        }
    }

    fn learn(
        &self,
        surveyed: &SurveyedSource,
        code: LoadedCode<LinkedCode>,
        usage: &Arc<ComponentUsage>,
    ) -> Arc<ComponentCode> {
        let code = match &self.given_back {
            Some(given_back) => {
                let again = (&self.code_loader, self.largest);
                given_back.component_code(surveyed, code, usage, again)
            }
            None => ComponentCode::new(surveyed, code.code, None),
        };
        self.known.add(surveyed.code_name(), code)
    }

    /// Makes a generation and proves that it can serve: with one instance, its `on-start`, and the smoke
    /// requests.
    ///
    /// # Errors
    /// See [`Rejected`].
    pub async fn prove(&self, blueprint: Arc<Blueprint>) -> Result<Generation, Rejected> {
        let name = blueprint.name.clone();
        self.try_out(blueprint).await.inspect_err(|why| {
            if !why.stack.is_empty() {
                let (step, stack) = (why.step.name(), why.stack.join("\n"));
                warn!(
                    component = &*name,
                    step,
                    exception.stacktrace = stack,
                    "guest trapped in its trial"
                );
            }
        })
    }

    async fn try_out(&self, blueprint: Arc<Blueprint>) -> Result<Generation, Rejected> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let blueprint = match &blueprint.code.beginning {
            Beginning::Cold(original) => {
                let loads = (&*self.code_loader, self.largest);
                warm_up(loads, number, original, &blueprint).await?
            }
            Beginning::Each | Beginning::Warm => blueprint,
        };
        let generation = Generation::new(number, blueprint);
        let path = generation.path().display();
        starts::try_all(&generation).await?;
        for smoke in &generation.blueprint().settings.smoke {
            begin(Step::Smoke);
            smoke.run(|request| generation.start_alone(request)).await.map_err(|why| {
                Rejected::at(Step::Smoke, format!("{path} fails the smoke request {smoke}: {why}"))
                    .with_stack(why.stacktrace())
            })?;
        }
        Ok(generation)
    }
}

/// Linked code, held in memory until the load that needs it.
pub struct Held(Arc<ComponentCode>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.0.digest).finish()
    }
}

/// Waits for the code of a file.
async fn landed(flight: &Flight<CompileOutcome>, wanted: &Wanted) -> Result<Held, Rejected> {
    let refused = match flight.outcome().await {
        Some(Ok(code)) => return Ok(Held(code)),
        Some(Err(why)) => why.rejected_at(&wanted.path),
        None => Rejected::for_now(Step::Compile, "compiling it has failed"),
    };
    Err(wanted.refused(refused))
}

/// The code of the next compile that ends; none if its file was given up.
async fn next(
    compiling: &mut JoinSet<Result<Option<Held>, Rejected>>,
) -> Result<Option<Held>, Rejected> {
    match compiling.join_next().await {
        None => Ok(None),
        Some(Ok(compiled)) => compiled,
        Some(Err(why)) => Err(Rejected::for_now(Step::Compile, why.to_string())),
    }
}
