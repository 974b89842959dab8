//! From a component's bytes to code that runs: from the cache, or from a compiler in a child process.
//!
//! This process compiles nothing. It checks, copies and links the code, which takes milliseconds of one
//! core, on a thread of its own and, beside traffic, at the lowest priority.

use std::fmt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use host_code::{
    Artefact, ArtefactKey, CompileBounds, CompileError, Compiled, Compiler, EntryInUse, Urgency,
};
use host_symbols::SymbolTable;
use host_telemetry::ComponentUsage;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::info;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::code_cache::{CodeCache, CodeCacheSetting, give_way};
use super::engine::{Engines, Needs};
use super::epoch::EpochClock;
use super::load_error::{FileSizeLimit, LoadError};
use super::rejected::{Rejected, Step};
use super::shortage::is_shortage;
use super::source::{Glance, Source};
use super::surveyed::SurveyedSource;
use super::vouch::VouchForFile;

/// Reading, checking, copying and linking compiled code takes a fraction of a second, and some seconds
/// at the lowest priority on a busy machine.
const LOAD_PATIENCE: Duration = Duration::from_secs(60);

/// A compile is reported when it takes longer than this, and again each time this has passed.
const REPORTED_AFTER: Duration = Duration::from_secs(1);

/// A component that has been compiling for longer than a second.
#[derive(Clone, Copy, Debug)]
pub struct Compiling<'a> {
    /// Its file.
    pub path: &'a Path,
    /// The size of the file.
    pub bytes: usize,
    /// How long it has been compiling.
    pub since: Duration,
    /// False in the last report, when the compile has ended.
    pub goes_on: bool,
    /// True in the first report of this compile.
    pub first: bool,
}

/// Called for a compile that takes long.
pub type ReportCompile = fn(Compiling<'_>);

/// What all loads of a process have in common.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// Instances at once, of all components, including those that wait to be reused.
    pub instances: usize,
    /// Where compiled code is stored.
    pub cache: CodeCacheSetting,
    /// Bytes that all guests may use together. None for no bound.
    pub memory: Option<u64>,
    /// Interrupts guests that compute.
    pub clock: EpochClock,
    /// What one compile may take.
    pub bounds: CompileBounds,
    /// The largest file that is read.
    pub largest: FileSizeLimit,
    /// Called for a compile that takes long.
    pub report: ReportCompile,
    /// Says whether a file may be loaded, before anything is done with it.
    pub vouch: VouchForFile,
    /// Bytes of code that are mapped at once, as far as no more runs. None for no bound.
    pub code_memory: Option<u64>,
}

/// Waits for a compiler, and reports it if that takes long.
pub(super) async fn reported<T>(
    source: &Source,
    report: ReportCompile,
    compiles: impl Future<Output = T>,
) -> T {
    let (began, mut first) = (Instant::now(), true);
    let tell = |goes_on, first| {
        let (path, bytes, since) = (source.path.as_path(), source.bytes.len(), began.elapsed());
        report(Compiling { path, bytes, since, goes_on, first });
    };
    let mut compiles = pin!(compiles);
    loop {
        match timeout(REPORTED_AFTER, &mut compiles).await {
            Err(_) => tell(true, first),
            Ok(done) => {
                if !first {
                    tell(false, false);
                }
                return done;
            }
        }
        first = false;
    }
}

/// Why there is no code of a component.
#[derive(Debug)]
pub(crate) enum CodeError {
    /// The compiler failed.
    CompileError(CompileError),
    /// It was compiled, but the code cannot be used.
    Rejected(Rejected),
}

impl CodeError {
    /// The error for a component in this file. Several files with the same bytes may wait for the same code.
    pub(crate) fn rejected_at(&self, path: &Path) -> Rejected {
        match self {
            Self::CompileError(why) => Rejected::not_compiled(path, why),
            Self::Rejected(why) => why.clone(),
        }
    }
}

impl From<CompileError> for CodeError {
    fn from(why: CompileError) -> Self {
        Self::CompileError(why)
    }
}

impl From<Rejected> for CodeError {
    fn from(why: Rejected) -> Self {
        Self::Rejected(why)
    }
}

/// Code that is ready to be instantiated.
pub(crate) struct LoadedCode<C> {
    pub(crate) code: C,
    /// It is in the cache, which keeps it for as long as this lives.
    pub(crate) cached: Option<EntryInUse>,
}

/// The result of a look into the cache.
pub(crate) enum CacheLookup<C> {
    /// Its code.
    Code(Box<LoadedCode<C>>),
    /// No entry. New code is stored under this key.
    Nothing(ArtefactKey),
}

/// Links compiled code, so that it can be instantiated. The last arguments are [`Engines::kept`] of its engine, and its
/// symbols.
pub(crate) type LinkCode<C> = Arc<
    dyn Fn(&SurveyedSource, &Component, Option<usize>, SymbolTable) -> wasmtime::Result<C>
        + Send
        + Sync,
>;

/// Gets code from the cache or a compiler. `C` is linked code, ready to be instantiated; the caller
/// brings the function that links, because this room knows no imports.
pub(crate) struct CodeLoader<C> {
    pub(super) engines: Arc<Engines>,
    pub(super) link: LinkCode<C>,
    pub(super) cache: Option<CodeCache>,
    pub(super) compiler: Compiler,
    pub(super) report: ReportCompile,
}

impl<C: Send + 'static> CodeLoader<C> {
    /// Opens the cache, and logs it if the cache cannot be used. Blocks for a moment.
    pub(crate) fn new(config: &LoaderConfig, link: LinkCode<C>) -> Self {
        let engines = Engines::new(config.instances, config.memory, config.clock.clone());
        let cache = CodeCache::open(&config.cache, config.bounds.output);
        let compiler = Compiler::new(config.bounds);
        Self { engines: Arc::new(engines), link, cache, compiler, report: config.report }
    }

    /// Reads imports and exports of a component, which may be text, and has it say what is in its memory, if a
    /// snapshot is to be taken. Bounded in time.
    pub(crate) async fn survey(
        &self,
        source: Source,
        snapshot: bool,
    ) -> Result<SurveyedSource, Rejected> {
        let surveyed = SurveyedSource::new(source.parsed(&self.compiler).await?)?;
        if snapshot { surveyed.instrumented(&self.compiler).await } else { Ok(surveyed) }
    }

    /// Reads imports and exports, if that is possible. Bounded in time.
    pub(crate) async fn glance(&self, source: Source) -> Glance {
        let component = source.parsed(&self.compiler).await;
        component.map(|component| component.glance()).unwrap_or_default()
    }

    /// How many components are compiled at once, at most.
    pub(crate) fn at_once(&self) -> usize {
        self.compiler.at_once()
    }

    /// Looks into the cache for the code of this component, which has this usage. Bounded in time.
    pub(crate) async fn find(
        &self,
        surveyed: &Arc<SurveyedSource>,
        usage: &ComponentUsage,
        pace: Urgency,
    ) -> Result<CacheLookup<C>, Rejected> {
        let began = Instant::now();
        // Making a pool takes as long as the rest of a small component's load, so the rest does not wait for
        // it. Held until the code is linked: the pool goes with its last handle.
        let (pool, found) = tokio::join!(self.pool(surveyed, pace), self.kept(surveyed, pace));
        let (key, kept) = found?;
        let Some((artefact, cached)) = kept else { return Ok(CacheLookup::Nothing(key)) };
        let (engines, component, linker) =
            (self.engines.clone(), surveyed.clone(), self.link.clone());
        let code = aside(pace, move || link(&engines, &component, &artefact, &linker)).await??;
        drop(pool);
        usage.code_from_cache();
        log_loaded(surveyed, began, true);
        let cached = self.cache.as_ref().filter(|_| cached).map(|cache| cache.use_entry(&key));
        Ok(CacheLookup::Code(Box::new(LoadedCode { code, cached })))
    }

    /// The engine that it seems to need, at a start: beside traffic none is made that may be of no use. None if
    /// there is none: its load will say why.
    async fn pool(&self, surveyed: &SurveyedSource, pace: Urgency) -> Option<Engine> {
        if pace != Urgency::Start {
            return None;
        }
        let (engines, needs) = (self.engines.clone(), surveyed.survey.needs);
        let concurrency = surveyed.concurrency;
        aside(pace, move || engines.get(needs, concurrency)).await.ok()?.ok()
    }

    /// Its key in the cache, and the code that is there already: whether the cache has it, too.
    async fn kept(
        &self,
        surveyed: &Arc<SurveyedSource>,
        pace: Urgency,
    ) -> Result<(ArtefactKey, Option<(Artefact, bool)>), Rejected> {
        let (engines, component) = (self.engines.clone(), surveyed.clone());
        let key = aside(pace, move || key(&engines, &component)).await??;
        let kept = self.cached(&key, pace).await.map(|artefact| (artefact, true));
        let brought_along = || brought_along(surveyed, &key).map(|artefact| (artefact, false));
        Ok((key, kept.or_else(brought_along)))
    }

    /// What the cache has.
    pub(super) async fn cached(&self, key: &ArtefactKey, pace: Urgency) -> Option<Artefact> {
        self.cache.as_ref()?.get(key, pace).await
    }

    /// Compiles a component that is not in the cache, and has this usage. Bounded in time.
    pub(crate) async fn compile(
        &self,
        surveyed: &Arc<SurveyedSource>,
        key: &ArtefactKey,
        usage: &ComponentUsage,
        pace: Urgency,
    ) -> Result<LoadedCode<C>, CodeError> {
        let began = Instant::now();
        let source = &surveyed.source;
        let compiled = self.compiler.compile(&source.bytes, key, surveyed.concurrency, pace);
        let compiled = reported(source, self.report, compiled).await?;
        let Compiled { artefact, took, memory } = compiled;
        usage.compiled(took, memory);
        let (engines, component, linker) =
            (self.engines.clone(), surveyed.clone(), self.link.clone());
        let link =
            move || Ok::<_, Rejected>((link(&engines, &component, &artefact, &linker)?, artefact));
        let (code, artefact) = aside(pace, link).await??;
        let cached = match &self.cache {
            Some(cache) if cache.put(key, artefact, pace).await => Some(cache.use_entry(key)),
            _ => None,
        };
        log_loaded(surveyed, began, false);
        Ok(LoadedCode { code, cached })
    }
}

impl<C> fmt::Debug for CodeLoader<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeLoader").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// Runs work that needs a core on a thread of its own; at a start on one that is there already. The wait is
/// bounded: a thread that hangs in a dead file system is left behind.
pub(super) async fn aside<T: Send + 'static>(
    pace: Urgency,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Rejected> {
    let refused = |why: String| Rejected::for_now(Step::Compile, why);
    let (send, result) = oneshot::channel();
    let work = move || {
        give_way(pace);
        send.send(work()).ok();
    };
    if pace == Urgency::Start {
        drop(tokio::task::spawn_blocking(work));
    } else {
        thread::Builder::new()
            .name("load".into())
            .spawn(work)
            .map_err(|why| refused(format!("there is no thread to load it on: {why}")))?;
    }
    let took_too_long = |_| refused(format!("loading it took longer than {LOAD_PATIENCE:?}"));
    let done = host_clock::timeout(LOAD_PATIENCE, result).await.map_err(took_too_long)?;
    done.map_err(|_| refused("loading it failed".into()))
}

pub(super) fn log_loaded(surveyed: &SurveyedSource, began: Instant, cached: bool) {
    info!(
        file = %surveyed.source.path.display(),
        took = %format_args!("{:.3?}", began.elapsed()),
        bytes = surveyed.source.bytes.len(),
        cached,
        "component compiled, or taken from the cache"
    );
}

/// The code that it brings along, if that is for this host.
fn brought_along(surveyed: &SurveyedSource, key: &ArtefactKey) -> Option<Artefact> {
    let code = surveyed.source.code.clone()?;
    code.vouched(key)
        .inspect_err(|why| {
            let file = surveyed.source.path.display();
            info!(%file, "the code in it is of another version or processor ({why}): it is compiled anew");
        })
        .ok()
}

/// The key of its code in the cache.
pub(super) fn key(engines: &Engines, surveyed: &SurveyedSource) -> Result<ArtefactKey, Rejected> {
    let ruler = engines.ruler(surveyed.concurrency);
    let ruler = ruler.map_err(|why| LoadError::Engine(chain(&why)))?;
    Ok(ArtefactKey::new(&ruler, &surveyed.source.component_digest))
}

pub(super) fn link<C>(
    engines: &Engines,
    surveyed: &SurveyedSource,
    artefact: &Artefact,
    link: &LinkCode<C>,
) -> Result<C, Rejected> {
    let component = fit(surveyed, artefact, engines)?;
    let unlinkable =
        |why| LoadError::Unlinkable { path: surveyed.source.path.clone(), why: chain(&why) };
    let kept = engines.kept(component.engine());
    link(surveyed, &component, kept, artefact.symbols()).map_err(|why| unlinkable(why).into())
}

/// Loads code into an engine whose pool fits the component: the one that fits by its survey. If code and
/// survey differ, because a core module is instantiated twice or not at all, the code is loaded again.
fn fit(
    surveyed: &SurveyedSource,
    artefact: &Artefact,
    engines: &Engines,
) -> Result<Component, Rejected> {
    let SurveyedSource { source, concurrency, .. } = surveyed;
    let no_engine = |why: wasmtime::Error| LoadError::Engine(chain(&why));
    let refused = |why: wasmtime::Error| {
        let unloadable = LoadError::Unloadable { path: source.path.clone(), why: chain(&why) };
        Rejected { passing: is_shortage(&why), ..unloadable.into() }
    };
    let surveyed = surveyed.survey.needs;
    let fitting = engines.get(surveyed, *concurrency).and_then(|engine| artefact.load(&engine));
    let (mut component, in_pool) = match fitting {
        Ok(component) => (component, true),
        Err(why) if is_shortage(&why) => return Err(refused(why)),
        // A pool refuses a component that is too large for it before its size can be read.
        Err(_) => {
            let ruler = engines.ruler(*concurrency).map_err(no_engine)?;
            (artefact.load(&ruler).map_err(refused)?, false)
        }
    };
    let needs = Needs::required_by(&component).unwrap_or(surveyed);
    if !in_pool || !surveyed.serves(&needs, engines.pools()) {
        let Needs { memories, tables, .. } = needs;
        let file = source.path.display();
        info!(%file, memories, tables, "component needs another pool than it seemed");
        drop(component);
        let engine = engines.get(needs, *concurrency).map_err(no_engine)?;
        component = artefact.load(&engine).map_err(refused)?;
    }
    // Otherwise the first request would wait for it.
    component.initialize_copy_on_write_image().map_err(refused)?;
    Ok(component)
}

/// An error with all its causes, in one line.
pub(crate) fn chain(why: &wasmtime::Error) -> String {
    why.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
