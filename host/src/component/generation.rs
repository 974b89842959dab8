//! One loaded, linked, immutable version of a component with its grants and limits.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use host_shards::Sharded;
use host_telemetry::TRACESTATE;
use http::Request;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use wasmtime::Store;
use wasmtime_wasi_http::WasiBody;

use super::code::survey::Kind;
use super::code::surveyed::Beginning;
use super::imports::request_shutdown;
use super::imports::wasi_config::RouteConfig;
use super::run::blueprint::Blueprint;
use super::run::fresh::{self, InstanceMaker};
use super::run::instance::Running;
use super::run::instance_pool::InstancePool;
use super::run::linked_code::Entry;
use super::run::trial::Trial;
use super::sandbox::egress::EgressHandler;
use super::sandbox::guest_failure::GuestFailure;
use super::sandbox::hops::Hops;
use super::sandbox::next_handler::NextHandler;
use super::sandbox::retirement::{CutReason, Retirement};
use super::sandbox::served::{Served, ServedExchange};
use super::sandbox::state::GuestState;
use super::sandbox::terms::Sandbox;

/// A version of a component, ready to serve. Only its retirement changes. It is dropped with the last
/// exchange that runs on it, and so is its compiled code, unless the blueprint is held elsewhere.
pub struct Generation {
    blueprint: Arc<Blueprint>,
    sandbox: Arc<Sandbox>,
    /// Made when a worker first serves with it.
    makers: Sharded<OnceLock<Arc<InstanceMaker>>>,
    /// Its instances, where they are reused.
    pool: Option<Arc<InstancePool>>,
    retirement: Retirement,
    since: Instant,
    gone: CancellationToken,
    _gone: DropGuard,
}

impl Generation {
    pub(crate) fn new(number: u64, blueprint: Arc<Blueprint>) -> Self {
        let retirement = Retirement::default();
        let sandbox = Arc::new(blueprint.sandbox(number, retirement.watch()));
        let gone = CancellationToken::new();
        let _gone = gone.clone().drop_guard();
        let reuse = blueprint.settings.reuse;
        let pool = reuse.map(|reuse| InstancePool::new(blueprint.clone(), sandbox.clone(), reuse));
        let (makers, since) = (Sharded::default(), Instant::now());
        Self { blueprint, sandbox, makers, pool, retirement, since, gone, _gone }
    }

    /// Counts up from 1 over the life of the process.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.sandbox.identity.number
    }

    /// The component's name in logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.blueprint.name
    }

    /// The same, shared.
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

    /// Whether its instances run other code than those of `other`: of another file, or of a snapshot of its own.
    #[must_use]
    pub fn runs_other_code(&self, other: &Self) -> bool {
        let (mine, others) = (&self.blueprint.code, &other.blueprint.code);
        let is_warm = matches!(mine.beginning, Beginning::Warm);
        mine.digest != others.digest || is_warm && !Arc::ptr_eq(mine, others)
    }

    /// Bytes of its code that are mapped now: none if it has been given back.
    #[must_use]
    pub fn mapped_code(&self) -> u64 {
        self.blueprint.code.mapped_bytes()
    }

    /// When it was made.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The interface that requests go through.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.blueprint.code.kind
    }

    /// Why its exchanges end at once, if they do.
    #[must_use]
    pub fn cut_reason(&self) -> Option<CutReason> {
        self.sandbox.identity.retirement.cut_reason()
    }

    /// Waits for the cut. Cancel-safe, and holds nothing of the generation.
    pub fn cut(&self) -> impl Future<Output = CutReason> + Send + 'static {
        let identity = self.sandbox.identity.clone();
        async move { identity.retirement.cut().await }
    }

    /// When its exchanges are cut, if its end has been decided.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.sandbox.identity.retirement.deadline()
    }

    /// Serves one request, of this exchange, on an instance of its own or a reused one. One with anything `around` it
    /// is never reused, because an instance has one `next`, and one configuration of its route. Nothing runs until the result is polled, and
    /// dropping the result ends the guest.
    #[must_use]
    pub fn start(
        &self,
        request: Request<WasiBody>,
        exchange: Option<ServedExchange>,
        around: Surroundings,
    ) -> Running {
        let Surroundings { next, config, egress } = around;
        match &self.pool {
            Some(pool) if next.is_none() && egress.is_none() => pool.start(request, exchange),
            _ => {
                let mut store = self.maker().store();
                let state = store.data_mut();
                let request = match &next {
                    Some(_) => request.map(|body| state.hooks().gone().give(body)),
                    None => request,
                };
                state.lead_to(next);
                state.go_out_through(egress);
                config.into_iter().for_each(|config| state.keep(config));
                self.start_in(store, request, exchange)
            }
        }
    }

    /// Serves one request on an instance that serves no other, so that it leaves no state for a client.
    pub(crate) fn start_alone(&self, request: Request<WasiBody>) -> Running {
        self.start_in(self.trial_store(), request, None)
    }

    fn start_in(
        &self,
        mut store: Store<GuestState>,
        request: Request<WasiBody>,
        exchange: Option<ServedExchange>,
    ) -> Running {
        let hops = Hops::in_request(&request);
        store.data_mut().hooks().serve(Served::one(exchange, hops));
        // Where its sender names no trace, there is no state of one.
        if exchange.is_some_and(|exchange| exchange.trace.parent.is_some()) {
            let state = request.headers().get(TRACESTATE).cloned();
            store.data_mut().hooks().keep_trace_state(state);
        }
        fresh::start(self.maker().clone(), store, request)
    }

    fn maker(&self) -> &Arc<InstanceMaker> {
        let make = || InstanceMaker::new(self.blueprint.clone(), &self.sandbox);
        self.makers.mine().get_or_init(make)
    }

    /// Makes one instance, with the configuration of a route or its own, that serves no request, so that a component which cannot start is rejected
    /// before it serves.
    ///
    /// # Errors
    /// When the instance traps or takes longer than it may.
    pub(crate) async fn instantiate(&self, config: Option<RouteConfig>) -> wasmtime::Result<Trial> {
        let mut store = self.trial_store();
        config.into_iter().for_each(|config| store.data_mut().keep(config));
        let code = self.blueprint.code().await?.hold();
        // No exchange waits for it, so it has a deadline of its own.
        let limit = self.blueprint.limits().response_head;
        let instance = host_clock::timeout(limit, code.pre.instantiate_async(&mut store)).await;
        let instance = instance.map_err(|_| GuestFailure::StartTooSlow(limit))?;
        let instance = instance.map_err(|why| store.data().explain(why))?;
        match &code.entry {
            Entry::P2(indices) => indices.load(&mut store, &instance).map(drop),
            Entry::P3(indices) => indices.load(&mut store, &instance).map(drop),
        }?;
        Ok(Trial { store, instance, code, blueprint: self.blueprint.clone() })
    }

    /// The code, limits and grants that it was made of.
    #[must_use]
    pub fn blueprint(&self) -> &Arc<Blueprint> {
        &self.blueprint
    }

    /// Decides when its instances end.
    #[must_use]
    pub fn retirement(&self) -> &Retirement {
        &self.retirement
    }

    /// Cancelled when the generation is dropped, with the last exchange on it.
    #[must_use]
    pub fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// A store for an instance that runs before the generation serves: it may not stop the process.
    fn trial_store(&self) -> Store<GuestState> {
        let mut store = self.maker().store();
        request_shutdown::deny(store.data_mut());
        store
    }
}

/// What stands beside an instance for one exchange. Nothing, for a component at the end of its route.
#[derive(Default)]
pub struct Surroundings {
    /// What it passes its request on to, as a plugin.
    pub next: Option<Arc<dyn NextHandler>>,
    /// What it is configured with on its route, in place of what it is everywhere.
    pub config: Option<RouteConfig>,
    /// What its outgoing requests go through.
    pub egress: Option<Arc<dyn EgressHandler>>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
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
