//! One loaded, linked, immutable version of a component with its grants and limits.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host_outgoing::HttpClient;
use http::Request;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use wasmtime::component::{Component, Instance, InstancePre, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p3::bindings::ServiceIndices;

use super::fate::Fate;
use super::hooks::Hooks;
use super::hops::Hops;
use super::instance::Running;
use super::reuse::Crew;
use super::source::stem;
use super::state::{GuestState, Identity};
use super::survey::{Kind, Survey};
use super::trial::Trial;
use super::{
    ComponentLimits, Grants, Next, Settings, imports, keyvalue, names, next, opens, p2, p3,
    refusals, texts,
};

/// Compiled, linked code. Shared by all blueprints of the same bytes.
pub(super) struct Code {
    pub(super) digest: Arc<str>,
    survey: Survey,
    pub(super) entry: Entry,
    pub(super) hooks: Hooks,
    pub(super) pre: InstancePre<GuestState>,
}

/// What generations of one component are made of: code, limits and grants. Kept by the generations
/// made of it, and by whoever may want to make another.
pub struct Blueprint {
    pub(super) name: Arc<str>,
    pub(super) path: PathBuf,
    pub(super) code: Arc<Code>,
    pub(super) settings: Arc<Settings>,
    /// Its own, so that no connection outlives the code that opened it.
    pub(super) client: Option<HttpClient>,
}

/// How a request enters an instance.
pub(super) enum Entry {
    P2(Arc<ProxyIndices>),
    P3(Arc<ServiceIndices>),
}

impl Code {
    /// Links a compiled component. Everything of WASI is there, nothing is granted.
    pub(super) fn link(
        digest: &Arc<str>,
        (kind, survey): (Kind, &Survey),
        component: &Component,
        concurrency: bool,
    ) -> wasmtime::Result<Self> {
        let linker = linker(component.engine(), concurrency)?;
        let pre = linker.instantiate_pre(component)?;
        let entry = match kind {
            Kind::P2 => Entry::P2(Arc::new(ProxyIndices::new(&pre)?)),
            Kind::P3 => Entry::P3(Arc::new(ServiceIndices::new(&pre)?)),
        };
        let hooks = Hooks::find(&pre, kind)?;
        Ok(Self { digest: digest.clone(), survey: survey.clone(), entry, hooks, pre })
    }
}

/// Code to go back to, without limits or grants: nothing of those is kept open for it.
#[derive(Clone)]
pub struct Kept {
    pub(super) path: PathBuf,
    pub(super) code: Arc<Code>,
}

impl Blueprint {
    /// What is needed to make it again.
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept { path: self.path.clone(), code: self.code.clone() }
    }

    pub(super) fn new(path: &Path, code: Arc<Code>, settings: &Arc<Settings>) -> Self {
        let name = settings.name.clone().unwrap_or_else(|| stem(path).into());
        let client = settings.grants.outgoing.as_ref().map(HttpClient::anew);
        Self { name, path: path.to_owned(), code, settings: settings.clone(), client }
    }

    /// The file that it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it imports and exports.
    #[must_use]
    pub fn survey(&self) -> &Survey {
        &self.code.survey
    }

    /// SHA-256 of that file, in hex.
    #[must_use]
    pub fn digest(&self) -> &Arc<str> {
        &self.code.digest
    }

    pub(super) fn limits(&self) -> &ComponentLimits {
        &self.settings.limits
    }

    pub(super) fn grants(&self) -> &Grants {
        &self.settings.grants
    }

    /// Makes an instance, start functions and all.
    ///
    /// # Errors
    /// When it traps, or takes longer than it may.
    pub(super) async fn instantiate(
        &self,
        store: &mut Store<GuestState>,
    ) -> wasmtime::Result<Instance> {
        host_clock::timeout(self.limits().response_head, self.code.pre.instantiate_async(store))
            .await?
    }

    /// Makes an instance that may serve: its hook `on-start` has run.
    ///
    /// # Errors
    /// As [`Self::instantiate`], and when the hook fails.
    pub(super) async fn start(&self, store: &mut Store<GuestState>) -> wasmtime::Result<Instance> {
        let instance = self.instantiate(store).await?;
        self.code.hooks.start(store, &instance, self.limits().hook).await?;
        Ok(instance)
    }
}

/// A version of a component, ready to serve. Immutable but for its fate; dropped with the last
/// exchange that runs on it, and its compiled code with it unless somebody keeps the blueprint.
pub struct Generation {
    blueprint: Arc<Blueprint>,
    identity: Identity,
    /// Where instances are reused.
    crew: Option<Arc<Crew>>,
    fate: Fate,
    since: Instant,
    gone: CancellationToken,
    _gone: DropGuard,
}

impl Generation {
    pub(super) fn new(number: u64, blueprint: Arc<Blueprint>) -> Self {
        let fate = Fate::new();
        let identity = Identity::new(number, &blueprint, fate.watch());
        let gone = CancellationToken::new();
        let _gone = gone.clone().drop_guard();
        let reuse = blueprint.settings.reuse;
        let crew = reuse.map(|reuse| Crew::new(blueprint.clone(), identity.clone(), reuse));
        Self { blueprint, identity, crew, fate, since: Instant::now(), gone, _gone }
    }

    /// Counts up from 1 in the life of the process.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.identity.number
    }

    /// The component's name in logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.blueprint.name
    }

    /// The same, to be kept.
    #[must_use]
    pub fn component(&self) -> Arc<str> {
        self.blueprint.name.clone()
    }

    /// The file that it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.blueprint.path
    }

    /// SHA-256 of that file, in hex.
    #[must_use]
    pub fn digest(&self) -> &Arc<str> {
        &self.blueprint.code.digest
    }

    /// When it was made.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The interface that requests go through.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.blueprint.code.entry {
            Entry::P2(_) => Kind::P2,
            Entry::P3(_) => Kind::P3,
        }
    }

    /// Whether what runs on it is to end at once.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.identity.fate.is_cut()
    }

    /// Waits for that. Cancel-safe, and holds nothing of the generation.
    pub fn cut(&self) -> impl Future<Output = ()> + Send + 'static {
        let identity = self.identity.clone();
        async move { identity.fate.cut().await }
    }

    /// When what still runs on it is cut, if its end has been decided.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.identity.fate.deadline()
    }

    /// Serves one request, on an instance of its own unless they are reused; a plugin passes it on to
    /// `next`, and is never reused: an instance knows one next only. Nothing runs until the
    /// result is polled, and dropping that ends the guest.
    #[must_use]
    pub fn start(&self, request: Request<WasiBody>, next: Option<Arc<dyn Next>>) -> Running {
        match &self.crew {
            Some(crew) if next.is_none() => crew.start(request),
            _ => {
                let mut store = self.store();
                let request = match &next {
                    Some(_) => request.map(|body| store.data_mut().outgoing().gone().give(body)),
                    None => request,
                };
                store.data_mut().lead_to(next);
                self.start_in(store, request)
            }
        }
    }

    /// Serves one request on an instance that serves no other: nothing of it stays for a client.
    pub(super) fn start_alone(&self, request: Request<WasiBody>) -> Running {
        self.start_in(self.trial_store(), request)
    }

    fn start_in(&self, mut store: Store<GuestState>, request: Request<WasiBody>) -> Running {
        store.data_mut().outgoing().serve(Hops::of(&request));
        let shared = self.blueprint.clone();
        match &self.blueprint.code.entry {
            Entry::P2(indices) => p2::start(store, shared, indices.clone(), request),
            Entry::P3(indices) => p3::start(store, shared, indices.clone(), request),
        }
    }

    /// Makes one instance that serves no request, so that a component which cannot start is refused
    /// before it serves one.
    ///
    /// # Errors
    /// When the instance traps or takes longer than it may.
    pub(super) async fn instantiate(&self) -> wasmtime::Result<Trial> {
        let mut store = self.trial_store();
        let instance = self.blueprint.instantiate(&mut store).await?;
        match &self.blueprint.code.entry {
            Entry::P2(indices) => indices.load(&mut store, &instance).map(drop),
            Entry::P3(indices) => indices.load(&mut store, &instance).map(drop),
        }?;
        Ok(Trial { store, instance, blueprint: self.blueprint.clone() })
    }

    /// What it was made of.
    #[must_use]
    pub fn blueprint(&self) -> &Arc<Blueprint> {
        &self.blueprint
    }

    /// When its instances end.
    #[must_use]
    pub fn fate(&self) -> &Fate {
        &self.fate
    }

    /// Resolves when the generation is gone: with the last exchange on it.
    #[must_use]
    pub fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// A store for what comes before a generation serves: it may not stop the process.
    fn trial_store(&self) -> Store<GuestState> {
        let mut store = self.store();
        store.data_mut().deny_shutdown();
        store
    }

    fn store(&self) -> Store<GuestState> {
        GuestState::store(&self.blueprint, &self.identity)
    }
}

fn linker(engine: &Engine, concurrency: bool) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_config::add_to_linker(&mut linker, GuestState::config)?;
    imports::add_p2(&mut linker)?;
    keyvalue::add(&mut linker)?;
    if concurrency {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        imports::add_p3(&mut linker)?;
        next::add(&mut linker)?;
    }
    // From here on some functions are linked once more, around those or in their place.
    linker.allow_shadowing(true);
    names::add_p2(&mut linker)?;
    refusals::add_p2(&mut linker)?;
    opens::add_p2(&mut linker)?;
    opens::add_p2(&mut linker)?;
    texts::add_p2(&mut linker)?;
    if concurrency {
        names::add_p3(&mut linker)?;
        refusals::add_p3(&mut linker)?;
        opens::add_p3(&mut linker)?;
        opens::add_p3(&mut linker)?;
        texts::add_p3(&mut linker)?;
    }
    Ok(linker)
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("number", &self.number())
            .field("name", &self.name())
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("path", &self.path).finish_non_exhaustive()
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
