//! The code of a component: mapped for good, or mapped when it is needed and given back when it is not.
//!
//! An instance and what is found in it by an index belong to the code that it was made from: who has both holds the code
//! until the instance has ended.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use host_code::EntryInUse;
use host_symbols::SymbolTable;
use wasmtime::Engine;
use wasmtime::component::Linker;

use super::linked_code::LinkedCode;
use crate::component::code::code_memory::{CodeMemory, GiveBack, MappedCode};
use crate::component::code::single_flight::Flights;
use crate::component::code::survey::{Kind, Survey};
use crate::component::code::surveyed::{Beginning, SurveyedSource};
use crate::component::sandbox::backtrace::Symbols;
use crate::component::sandbox::guest_failure::GuestFailure;
use crate::component::sandbox::state::GuestState;

/// The code of a component, and what is known of it without the code. Shared by all blueprints of the same bytes.
pub(crate) struct ComponentCode {
    pub(crate) digest: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) beginning: Beginning,
    /// An instance has an `on-shutdown`.
    pub(crate) has_shutdown: bool,
    pub(crate) survey: Survey,
    /// What instances of it are made in.
    pub(crate) engine: Engine,
    /// Bytes that its engine keeps of each slot. None where it resets without a scan.
    pub(crate) kept: Option<usize>,
    /// For the next code in this engine.
    _linker: Arc<Linker<GuestState>>,
    mapping: Mapping,
}

enum Mapping {
    Always(Arc<LinkedCode>),
    WhenNeeded(Arc<CodeOnDemand>),
}

/// Code that is mapped now, and stays for as long as this is held.
pub(crate) enum HeldCode<'a> {
    /// It is not counted who holds it.
    Always(&'a Arc<LinkedCode>),
    /// By this handle.
    Held(Arc<LinkedCode>),
}

/// Why code is not mapped again, or the code.
pub(crate) type MappedAgain = Result<Arc<LinkedCode>, GuestFailure>;

/// Maps code again, of a component that was in these files. Bounded in time.
pub(crate) type MapAgain =
    Box<dyn Fn(Vec<PathBuf>) -> Pin<Box<dyn Future<Output = MappedAgain> + Send>> + Send + Sync>;

/// How code is mapped when it is needed.
pub(crate) struct OnDemand {
    pub(crate) memory: Arc<CodeMemory>,
    /// Those of the process that are being mapped.
    pub(crate) flights: Arc<Flights<MappedAgain>>,
    pub(crate) again: MapAgain,
    /// Keeps the code in the cache.
    pub(crate) _entry: EntryInUse,
}

impl ComponentCode {
    /// Of a component that has just been linked; given back when it is not needed, if it is known how to map it again.
    pub(crate) fn new(
        surveyed: &SurveyedSource,
        code: LinkedCode,
        on_demand: Option<OnDemand>,
    ) -> Self {
        let SurveyedSource { source, kind, survey, beginning, .. } = surveyed;
        let (digest, survey, beginning) =
            (source.digest.clone(), survey.clone(), beginning.clone());
        let (engine, kept, _linker) = (code.pre.engine().clone(), code.kept, code.linker.clone());
        let (kind, has_shutdown, code) = (*kind, code.hooks.has_shutdown(), Arc::new(code));
        let mapping = match on_demand {
            None => Mapping::Always(code),
            Some(how) => Mapping::WhenNeeded(CodeOnDemand::new(&digest, how, code)),
        };
        Self { digest, kind, beginning, has_shutdown, survey, engine, kept, _linker, mapping }
    }

    /// The code. If it has been given back, waits for at most `patience` until it is mapped again, which goes on without
    /// the caller. Cancel-safe.
    ///
    /// # Errors
    /// When it cannot be mapped again, or not in time.
    pub(crate) async fn get(&self, patience: Duration) -> Result<HeldCode<'_>, GuestFailure> {
        match &self.mapping {
            Mapping::Always(code) => Ok(HeldCode::Always(code)),
            Mapping::WhenNeeded(code) => match code.mapped() {
                Some(code) => Ok(HeldCode::Held(code)),
                // On the heap: hardly any request waits for it.
                None => Box::pin(code.mapped_within(patience)).await.map(HeldCode::Held),
            },
        }
    }

    /// It is what stands in this file too.
    pub(crate) fn found_at(&self, path: &Path) {
        if let Mapping::WhenNeeded(code) = &self.mapping {
            code.files().insert(path.to_owned());
        }
    }

    /// Bytes that are mapped now.
    pub(crate) fn mapped_bytes(&self) -> u64 {
        match &self.mapping {
            Mapping::Always(code) => code.bytes,
            Mapping::WhenNeeded(code) => code.lock().as_ref().map_or(0, |code| code.bytes),
        }
    }

    /// The functions, files and lines of the code; of code that has been given back since, none.
    pub(crate) fn symbols(&self) -> Symbols {
        match &self.mapping {
            Mapping::Always(code) => {
                let symbols = code.symbols.clone();
                Symbols::new(move || symbols.clone())
            }
            Mapping::WhenNeeded(code) => {
                let code = code.clone();
                let none = Arc::<SymbolTable>::default();
                Symbols::new(move || {
                    let mapped = code.lock();
                    mapped.as_ref().map_or_else(|| none.clone(), |code| code.symbols.clone())
                })
            }
        }
    }
}

impl HeldCode<'_> {
    /// The handle, where it is counted who holds the code.
    pub(crate) fn counted(self) -> Option<Arc<LinkedCode>> {
        match self {
            Self::Always(_) => None,
            Self::Held(code) => Some(code),
        }
    }

    /// The same, for as long as the result is held.
    pub(crate) fn hold(&self) -> Arc<LinkedCode> {
        match self {
            Self::Always(code) => Arc::clone(code),
            Self::Held(code) => code.clone(),
        }
    }
}

impl Deref for HeldCode<'_> {
    type Target = LinkedCode;

    fn deref(&self) -> &LinkedCode {
        match self {
            Self::Always(code) => code,
            Self::Held(code) => code,
        }
    }
}

/// Code that is given back when it has not run for long.
struct CodeOnDemand {
    digest: Arc<str>,
    how: OnDemand,
    mapped: Mutex<Option<Arc<LinkedCode>>>,
    /// Files that had it when they were read: it may be in one of them still.
    files: Mutex<BTreeSet<PathBuf>>,
    /// Since [`MappedCode::give_back`] was asked last.
    has_run: AtomicBool,
}

impl CodeOnDemand {
    fn new(digest: &Arc<str>, how: OnDemand, code: Arc<LinkedCode>) -> Arc<Self> {
        let (digest, mapped, files) = (digest.clone(), Mutex::default(), Mutex::default());
        let has_run = AtomicBool::new(true);
        let demand = Arc::new(Self { digest, how, mapped, files, has_run });
        demand.put(code);
        demand
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<LinkedCode>>> {
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mapped(&self) -> Option<Arc<LinkedCode>> {
        let code = self.lock().clone()?;
        // Read first: most requests find it marked, and write nothing.
        if !self.has_run.load(Ordering::Relaxed) {
            self.has_run.store(true, Ordering::Relaxed);
        }
        Some(code)
    }

    fn files(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Maps it, or waits for who does. What takes too long goes on, and is there for the next one who asks.
    async fn mapped_within(self: &Arc<Self>, patience: Duration) -> MappedAgain {
        let demand = self.clone();
        let mapping = tokio::spawn(async move { demand.map_again().await });
        let late = || {
            let why = format!("it takes longer than {patience:?}; later requests find it");
            Err(GuestFailure::NoCode(why.into()))
        };
        match host_clock::timeout(patience, mapping).await {
            Ok(mapped) => mapped.unwrap_or_else(|_| lost()),
            Err(_) => late(),
        }
    }

    async fn map_again(self: &Arc<Self>) -> MappedAgain {
        let demand = self.clone();
        let flight = self.how.flights.join(&self.digest, || async move {
            match demand.mapped() {
                Some(code) => Ok(code),
                None => {
                    let files = demand.files().iter().cloned().collect();
                    (demand.how.again)(files).await.map(|code| demand.put(code))
                }
            }
        });
        flight.outcome().await.unwrap_or_else(lost)
    }

    fn put(self: &Arc<Self>, code: Arc<LinkedCode>) -> Arc<LinkedCode> {
        *self.lock() = Some(code.clone());
        let me: Arc<dyn MappedCode> = self.clone();
        self.how.memory.add(&me, code.bytes);
        code
    }
}

fn lost() -> MappedAgain {
    Err(GuestFailure::NoCode("the task that loads it has failed".into()))
}

impl MappedCode for CodeOnDemand {
    fn give_back(&self) -> GiveBack {
        let mut mapped = self.lock();
        let runs = mapped.as_ref().is_some_and(|code| Arc::strong_count(code) > 1);
        if runs || self.has_run.swap(false, Ordering::Relaxed) {
            return GiveBack::Stays;
        }
        GiveBack::Gone(mapped.take().map(|code| code as Arc<dyn Any + Send + Sync>))
    }
}

impl fmt::Debug for ComponentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentCode").field("digest", &self.digest).finish_non_exhaustive()
    }
}
