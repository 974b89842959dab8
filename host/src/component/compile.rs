//! From a component's bytes to code that runs: out of the cache, or compiled by a child process.
//!
//! Nothing is compiled in this process. What is left to be done here, checking, copying and linking,
//! takes milliseconds of one core, on a thread of its own and beside traffic at the lowest priority.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use host_code::{
    Artefact, ArtefactKey, CompileBounds, CompileError, Compiler, Urgency, component_digest,
    settings,
};
use rustix::process::setpriority_process;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::code_cache::CodeCache;
use super::engine::{Engines, Needs};
use super::generation::Code;
use super::scarce::is_shortage;
use super::source::{Glance, Largest, LoadError, Source, stem};
use super::survey::{Kind, Survey};
use super::{Cache, Rejected, Step, Workshop};

/// The weakest claim to a core, as the compiler has it.
const NICEST: i32 = 19;

/// To read compiled code, check it, copy it and link it takes a fraction of a second at most, and on a
/// machine that is busy, at the lowest priority, some seconds.
const LOAD_PATIENCE: Duration = Duration::from_secs(60);

/// A compile that takes longer than this is said, and again each time that this has passed.
const SAID_AFTER: Duration = Duration::from_secs(1);

/// A component that has been compiling for longer than a second.
#[derive(Clone, Copy, Debug)]
pub struct Compiling<'a> {
    /// Its file.
    pub path: &'a Path,
    /// The size of that.
    pub bytes: usize,
    /// For how long.
    pub since: Duration,
    /// It goes on; else this is the end of it.
    pub goes_on: bool,
    /// It has not been said before.
    pub first: bool,
}

/// Is told of what takes long.
pub type Say = fn(Compiling<'_>);

/// Waits for a compiler, and says so once that takes long.
async fn said<T>(source: &Source, say: Say, compiles: impl Future<Output = T>) -> T {
    let (began, mut first) = (Instant::now(), true);
    let told = |goes_on, first| {
        let (path, bytes, since) = (source.path.as_path(), source.bytes.len(), began.elapsed());
        say(Compiling { path, bytes, since, goes_on, first });
    };
    let mut compiles = pin!(compiles);
    loop {
        match timeout(SAID_AFTER, &mut compiles).await {
            Err(_) => told(true, first),
            Ok(done) => {
                if !first {
                    told(false, false);
                }
                return done;
            }
        }
        first = false;
    }
}

/// Where code comes from.
#[derive(Debug)]
pub(super) struct Foundry {
    shop: Arc<Shop>,
    cache: Option<CodeCache>,
    compiler: Compiler,
    say: Say,
}

/// What is used on threads.
#[derive(Debug)]
struct Shop {
    engines: Engines,
}

/// A component that has been surveyed.
#[derive(Debug)]
pub(super) struct Blank {
    pub(super) source: Source,
    kind: Kind,
    survey: Survey,
    concurrency: bool,
}

/// Why there is no code of a component.
#[derive(Debug)]
pub(super) enum Unfinished {
    /// No compiler gave any.
    Uncompiled(CompileError),
    /// It was compiled, and cannot be used.
    Rejected(Rejected),
}

impl Unfinished {
    /// The same, of a component in this file: others with the same bytes may wait for it too.
    pub(super) fn of(&self, path: &Path) -> Rejected {
        match self {
            Self::Uncompiled(why) => refused(path, why),
            Self::Rejected(why) => why.clone(),
        }
    }
}

impl From<CompileError> for Unfinished {
    fn from(why: CompileError) -> Self {
        Self::Uncompiled(why)
    }
}

impl From<Rejected> for Unfinished {
    fn from(why: Rejected) -> Self {
        Self::Rejected(why)
    }
}

/// What the cache has of a component.
pub(super) enum Found {
    /// Its code.
    Code(Box<Code>),
    /// Nothing: it would be kept under this key.
    Nothing(ArtefactKey),
}

impl Blank {
    pub(super) fn new(source: Source) -> Result<Self, LoadError> {
        let (kind, survey) = source.check()?;
        let concurrency = survey.needs_concurrency();
        Ok(Self { source, kind, survey, concurrency })
    }
}

impl Foundry {
    /// Opens the cache, and says so in the log if that is not to be used. Blocks for a moment.
    pub(super) fn new(workshop: &Workshop) -> Self {
        let shop = Arc::new(Shop { engines: Engines::new(workshop) });
        let cache = open(&workshop.cache, workshop.bounds.output).map(CodeCache::new);
        Self { shop, cache, compiler: Compiler::new(workshop.bounds), say: workshop.say }
    }

    /// A component of what was read, be that text. Bounded in time.
    pub(super) async fn blank(&self, source: Source) -> Result<Blank, Rejected> {
        Ok(Blank::new(source.parsed(&self.compiler).await?)?)
    }

    /// What it says of itself. Bounded in time.
    pub(super) async fn glance(&self, source: Source) -> Glance {
        let component = source.parsed(&self.compiler).await;
        component.map(|component| component.glance()).unwrap_or_default()
    }

    /// How many components are compiled at once, at most.
    pub(super) fn at_once(&self) -> usize {
        self.compiler.at_once()
    }

    /// Code of this component out of the cache. Bounded in time.
    pub(super) async fn find(&self, blank: &Arc<Blank>, pace: Urgency) -> Result<Found, Rejected> {
        let began = Instant::now();
        let (shop, of) = (self.shop.clone(), blank.clone());
        let key = Self::aside(pace, move || shop.key(&of)).await??;
        let kept = match &self.cache {
            Some(cache) => cache.get(&key, pace).await,
            None => None,
        };
        let Some(artefact) = kept else { return Ok(Found::Nothing(key)) };
        let (shop, of) = (self.shop.clone(), blank.clone());
        let code = Self::aside(pace, move || shop.link(&of, &artefact)).await??;
        say(blank, began, true);
        Ok(Found::Code(Box::new(code)))
    }

    /// Compiles what the cache does not have. Bounded in time.
    pub(super) async fn compile(
        &self,
        blank: &Arc<Blank>,
        key: &ArtefactKey,
        pace: Urgency,
    ) -> Result<Code, Unfinished> {
        let began = Instant::now();
        let code = self.compile_and_keep(blank, key, pace).await?;
        say(blank, began, false);
        Ok(code)
    }

    async fn compile_and_keep(
        &self,
        blank: &Arc<Blank>,
        key: &ArtefactKey,
        pace: Urgency,
    ) -> Result<Code, Unfinished> {
        let compiled = self.compiler.compile(&blank.source.bytes, key, blank.concurrency, pace);
        let artefact = said(&blank.source, self.say, compiled).await?;
        let (shop, blank) = (self.shop.clone(), blank.clone());
        let link = move || Ok::<_, Rejected>((shop.link(&blank, &artefact)?, artefact));
        let (code, artefact) = Self::aside(pace, link).await??;
        if let Some(cache) = &self.cache {
            cache.put(key, artefact, pace).await;
        }
        Ok(code)
    }

    /// Does work that takes a core on a thread of its own. The wait is bounded; a thread that hangs in
    /// a dead file system is left behind.
    async fn aside<T: Send + 'static>(
        pace: Urgency,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Rejected> {
        let refused = |why: String| Rejected::for_now(Step::Compile, why);
        let (send, result) = oneshot::channel();
        let work = move || {
            give_way(pace);
            send.send(work()).ok();
        };
        thread::Builder::new()
            .name("load".into())
            .spawn(work)
            .map_err(|why| refused(format!("there is no thread to load it on: {why}")))?;
        let took_too_long = |_| refused(format!("loading it took longer than {LOAD_PATIENCE:?}"));
        let done = host_clock::timeout(LOAD_PATIENCE, result).await.map_err(took_too_long)?;
        done.map_err(|_| refused("loading it failed".into()))
    }
}

/// Has this thread give way to traffic, if there is any.
pub(super) fn give_way(pace: Urgency) {
    if pace == Urgency::BesideTraffic
        && let Err(why) = setpriority_process(None, NICEST)
    {
        debug!(%why, "loading goes on at the usual priority");
    }
}

/// Compiles a file without serving it. Gives its code, and how long that took.
///
/// # Errors
/// See [`Rejected`].
pub async fn compile_file(
    path: &Path,
    (bounds, largest): (CompileBounds, Largest),
    say: Say,
) -> Result<(Artefact, Duration), Rejected> {
    let compiler = Compiler::new(bounds);
    let source = Source::read(path, largest)?.parsed(&compiler).await?;
    let blank = Blank::new(source)?;
    let ruler = Engine::new(&settings(blank.concurrency));
    let ruler = ruler.map_err(|why| LoadError::Engine(chain(&why)))?;
    let bytes = &blank.source.bytes;
    let key = ArtefactKey::new(&ruler, &component_digest(bytes));
    let began = Instant::now();
    let compiled = compiler.compile(bytes, &key, blank.concurrency, Urgency::Start);
    match said(&blank.source, say, compiled).await {
        Ok(artefact) => Ok((artefact, began.elapsed())),
        Err(why) => Err(refused(path, &why)),
    }
}

pub(super) fn refused(path: &Path, why: &CompileError) -> Rejected {
    let passing = why.is_passing();
    Rejected { passing, ..Rejected::at(Step::Compile, format!("{} {why}", path.display())) }
}

fn say(blank: &Blank, began: Instant, cached: bool) {
    info!(
        component = stem(&blank.source.path),
        took = ?began.elapsed(),
        bytes = blank.source.bytes.len(),
        cached,
        "component compiled, or taken from the cache"
    );
}

impl Shop {
    /// What its code is kept under.
    fn key(&self, blank: &Blank) -> Result<ArtefactKey, Rejected> {
        let ruler = self.engines.ruler(blank.concurrency);
        let ruler = ruler.map_err(|why| LoadError::Engine(chain(&why)))?;
        Ok(ArtefactKey::new(&ruler, &component_digest(&blank.source.bytes)))
    }

    fn link(&self, blank: &Blank, artefact: &Artefact) -> Result<Code, Rejected> {
        let Blank { source, kind, survey, concurrency } = blank;
        let component = fit(source, artefact, *concurrency, &self.engines)?;
        let linked = Code::link(&source.digest, (*kind, survey), &component, *concurrency);
        linked.map_err(|why| {
            LoadError::Unlinkable { path: source.path.clone(), why: chain(&why) }.into()
        })
    }
}

fn open(cache: &Cache, most: u64) -> Option<host_code::ArtefactCache> {
    let directory = match cache {
        Cache::Off => return None,
        Cache::Directory(directory) => directory,
    };
    match host_code::ArtefactCache::open(directory).map(|cache| cache.holding(most)) {
        Ok(cache) => {
            if let Some(why) = cache.read_only() {
                warn!("code cache: {why}; what is not in it is compiled at every start");
            }
            Some(cache)
        }
        Err(why) => {
            warn!("no code cache: {why}; every start compiles");
            None
        }
    }
}

/// Puts code into an engine whose pool fits the component: first the one that was last used for its
/// kind, then, if that does not fit, one made to measure.
fn fit(
    source: &Source,
    artefact: &Artefact,
    concurrency: bool,
    engines: &Engines,
) -> Result<Component, Rejected> {
    let engine =
        |needs| engines.get(needs, concurrency).map_err(|why| LoadError::Engine(chain(&why)));
    let refused = |why: wasmtime::Error| {
        let unloadable = LoadError::Unloadable { path: source.path.clone(), why: chain(&why) };
        Rejected { passing: is_shortage(&why), ..unloadable.into() }
    };
    let load = |engine: &Engine| artefact.load(engine);
    let (guess, first) = match engines.last(concurrency) {
        Some(last) => last,
        None => (Needs::TYPICAL, engine(Needs::TYPICAL)?),
    };
    let (mut component, in_pool) = match load(&first) {
        Ok(component) => (component, true),
        Err(why) if is_shortage(&why) => return Err(refused(why)),
        // A pool refuses what is too large for it before it can be asked how large that is.
        Err(_) => {
            let ruler = engines.ruler(concurrency);
            let ruler = ruler.map_err(|why| LoadError::Engine(chain(&why)))?;
            (load(&ruler).map_err(refused)?, false)
        }
    };
    let needs = Needs::of(&component).unwrap_or(Needs::TYPICAL);
    if !in_pool || !guess.serves(&needs, engines.pools()) {
        info!(?needs, "component needs a pool made to measure");
        drop((component, first));
        component = load(&engine(needs)?).map_err(refused)?;
    }
    // What would otherwise fall to the first request.
    component.initialize_copy_on_write_image().map_err(refused)?;
    Ok(component)
}

/// An error with all its causes in one line.
pub(super) fn chain(why: &wasmtime::Error) -> String {
    why.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
