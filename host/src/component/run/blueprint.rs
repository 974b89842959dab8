//! The blueprint: the code, limits and grants that generations of one component are made of.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host_code::Urgency;
use host_manifest::ComponentLimits;
use host_symbols::SymbolTable;
use tokio::time::Instant;
use wasmtime::Store;
use wasmtime::component::{Component, Instance, InstancePre, Linker};
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p3::bindings::ServiceIndices;

use super::component_code::ComponentCode;
use super::hooks::Hooks;
use super::settings::Settings;
use crate::component::code::survey::{Kind, Survey};
use crate::component::code::surveyed::{Beginning, SurveyedSource};
use crate::component::imports::link::Linkers;
use crate::component::sandbox::grants::Grants;
use crate::component::sandbox::identity::Identity;
use crate::component::sandbox::prefault::Prefault;
use crate::component::sandbox::retirement::RetirementWatch;
use crate::component::sandbox::state::GuestState;
use crate::component::sandbox::terms::Sandbox;

/// Compiled, linked code.
pub(crate) struct LinkedCode {
    pub(crate) entry: Entry,
    pub(crate) hooks: Hooks,
    pub(crate) pre: InstancePre<GuestState>,
    /// Bytes that its engine keeps of each slot. None where it resets without a scan.
    pub(crate) kept: Option<usize>,
    /// Of the code as it is compiled.
    pub(crate) symbols: Arc<SymbolTable>,
    /// Bytes of code and symbols.
    pub(crate) bytes: u64,
    /// For the next code in this engine.
    _linker: Arc<Linker<GuestState>>,
}

/// The code, limits and grants that generations of one component are made of. Held by those generations, and
/// by a load that may make another.
pub struct Blueprint {
    pub(crate) name: Arc<str>,
    pub(crate) path: PathBuf,
    pub(crate) code: Arc<ComponentCode>,
    pub(crate) settings: Arc<Settings>,
    /// Its own, where blueprints may not share a grant: no connection outlives the code that opened it.
    pub(crate) grants: Grants,
    /// How urgent its load is.
    pub(crate) pace: Urgency,
}

/// How a request enters an instance.
pub(crate) enum Entry {
    P2(ProxyIndices),
    P3(ServiceIndices),
}

impl LinkedCode {
    /// Links a compiled component: all of WASI, and no grants. Its engine keeps so many bytes of each slot.
    pub(crate) fn link(
        linkers: &Linkers,
        surveyed: &SurveyedSource,
        component: &Component,
        kept: Option<usize>,
        symbols: SymbolTable,
    ) -> wasmtime::Result<Self> {
        let SurveyedSource { kind, concurrency, beginning, .. } = surveyed;
        let linker = linkers.get(component.engine(), *concurrency)?;
        let pre = linker.instantiate_pre(component)?;
        let entry = match *kind {
            Kind::P2 => Entry::P2(ProxyIndices::new(&pre)?),
            Kind::P3 => Entry::P3(ServiceIndices::new(&pre)?),
        };
        let hooks = Hooks::find(&pre, *kind)?;
        let is_warm = matches!(beginning, Beginning::Warm);
        let hooks = if is_warm { hooks.without_start() } else { hooks };
        let code = component.image_range();
        let bytes = (code.end.addr() - code.start.addr()).saturating_add(symbols.bytes()) as u64;
        let symbols = Arc::new(symbols);
        Ok(Self { entry, hooks, pre, kept, symbols, bytes, _linker: linker })
    }
}

/// Code to roll back to, without limits or grants, so that it keeps nothing of those open.
#[derive(Clone)]
pub struct KeptCode {
    pub(crate) path: PathBuf,
    pub(crate) code: Arc<ComponentCode>,
}

impl Blueprint {
    /// The part that is kept to make the blueprint again.
    #[must_use]
    pub fn kept(&self) -> KeptCode {
        KeptCode { path: self.path.clone(), code: self.code.clone() }
    }

    pub(crate) fn new(
        path: &Path,
        code: Arc<ComponentCode>,
        settings: &Arc<Settings>,
        pace: Urgency,
    ) -> Self {
        let (name, grants) = (settings.name.clone(), settings.grants.for_blueprint());
        Self { name, path: path.to_owned(), code, settings: settings.clone(), grants, pace }
    }

    /// The file that it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its imports and exports.
    #[must_use]
    pub fn survey(&self) -> &Survey {
        &self.code.survey
    }

    /// SHA-256 of that file, in hex.
    #[must_use]
    pub fn digest(&self) -> &Arc<str> {
        &self.code.digest
    }

    /// The sandbox for instances of the generation with this number.
    pub(crate) fn sandbox(&self, number: u64, retirement: RetirementWatch) -> Sandbox {
        let (limits, settings) = (self.limits(), &self.settings);
        let (identity, usage) = ((number, &*self.code.digest), settings.usage.clone());
        Sandbox {
            identity: Identity::new(
                identity,
                self.name.clone(),
                settings.log.clone(),
                retirement,
                usage,
            ),
            memory: limits.memory,
            pocket: settings.memory.pocket(),
            handles: limits.handles,
            outgoing_per_exchange: limits.outgoing_per_exchange,
            share: settings.share.clone(),
            grants: self.grants.clone(),
            has_egress: settings.has_egress,
            prefault: Prefault::new(self.code.kept),
            symbols: self.code.symbols(),
        }
    }

    pub(crate) fn limits(&self) -> &ComponentLimits {
        &self.settings.limits
    }

    /// Makes an instance of the component's code that may serve: its start functions and its hook `on-start` have run. The exchange that
    /// waits for it has a deadline for its head, and a limit of CPU time; only the hook has a deadline of its own.
    ///
    /// # Errors
    /// When the instance traps, and when the hook fails.
    pub(crate) async fn start(
        &self,
        store: &mut Store<GuestState>,
        code: &LinkedCode,
    ) -> wasmtime::Result<Instance> {
        let usage = &self.settings.usage;
        let began = usage.starts().then(Instant::now);
        let instance = code.pre.instantiate_async(&mut *store).await?;
        if let Some(began) = began {
            usage.started_in(began.elapsed());
        }
        code.hooks.start(store, &instance, self.limits().hook).await?;
        Ok(instance)
    }
}

impl fmt::Debug for KeptCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptCode").field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blueprint")
            .field("path", &self.path)
            .field("digest", &self.code.digest)
            .finish_non_exhaustive()
    }
}
