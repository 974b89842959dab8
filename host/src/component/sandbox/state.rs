//! The data of a store beside the instance: one guest's part of the sandbox.

use std::any::Any;
use std::sync::Arc;

use host_manifest::{LimitKey, Stdio};
use host_telemetry::SpanTimer;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::backtrace::Backtrace;
use super::cpu_scheduler::CpuSlot;
use super::egress::EgressHandler;
use super::grants::Grants;
use super::guest_failure::{GuestFailure, KnownOfTrap};
use super::http_hooks::HttpHooks;
use super::identity::Identity;
use super::limiter::StoreLimiter;
use super::next_handler::NextHandler;
use super::prefault::{GuestMemory, PrefaultProgress};
use super::served::Served;
use super::stdio::{GuestOutput, OutputKind};
use super::terms::Sandbox;

/// Bytes that one host call may copy out of a guest. A body chunk is at most 1 MiB.
const HOSTCALL_BYTES: usize = 8 << 20;

/// Room for the resources of a small guest, so that the table does not grow step by step.
const RESOURCES: usize = 16;

/// Random bytes that one call may ask for.
const MAX_RANDOM: u64 = 64 << 10;

/// Bytes of one header map in memory, both ways. Twice the limit of a head on the wire, because wasmtime
/// counts the map's own overhead too.
const FIELDS_BYTES: usize = 128 << 10;

impl Sandbox {
    /// A store with all limits, whose guest has only its grants. Dropping it ends the guest.
    pub(crate) fn store(self: &Arc<Self>, engine: &Engine) -> Store<GuestState> {
        let mut store = Store::new(engine, GuestState::new(self));
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_max_component_handles(self.handles);
        store.epoch_deadline_callback(|context| {
            let slot = &context.data().cpu_slot;
            Ok(if slot.is_met_by_a_tick() {
                UpdateDeadline::YieldCustom(1, slot.give_way())
            } else {
                UpdateDeadline::Continue(1)
            })
        });
        store.set_epoch_deadline(1);
        store
    }
}

/// The data of a store. It grants only what its [`Sandbox`] grants.
pub(crate) struct GuestState {
    /// Made when the guest first asks for something of it. Many never do, and its random numbers and clocks cost
    /// more than all the rest.
    wasi: Option<GuestWasi>,
    http: WasiHttpCtx,
    hooks: HttpHooks,
    table: ResourceTable,
    limiter: StoreLimiter,
    cpu_slot: CpuSlot,
    prefault: PrefaultProgress,
    /// State of grants that have their own in each instance.
    states: Vec<Box<dyn Any + Send>>,
}

/// WASI without HTTP, of one instance.
struct GuestWasi {
    ctx: WasiCtx,
    outputs: [GuestOutput; 2],
}

impl GuestWasi {
    /// No environment, arguments, files or network without a grant; stdin closed; stdout and stderr into the
    /// log under the component's name.
    fn new(Sandbox { identity, grants, .. }: &Sandbox, served: &Served) -> Self {
        let outputs = [OutputKind::Stdout, OutputKind::Stderr]
            .map(|kind| GuestOutput::new(identity.clone(), served.clone(), kind));
        let mut builder = WasiCtx::builder();
        builder.max_random_size(MAX_RANDOM);
        if grants.stdio == Stdio::Log {
            let [stdout, stderr] = outputs.clone();
            builder.stdout(stdout).stderr(stderr);
        }
        grants.iter().for_each(|grant| grant.build(&mut builder));
        let mut ctx = builder.build();
        grants.iter().for_each(|grant| grant.furnish(&mut ctx));
        Self { ctx, outputs }
    }

    fn stderr(&self) -> &GuestOutput {
        let [_, stderr] = &self.outputs;
        stderr
    }
}

impl GuestState {
    /// The data of a new store: nothing without a grant.
    fn new(sandbox: &Arc<Sandbox>) -> Self {
        let mut table = ResourceTable::with_capacity(RESOURCES);
        table.set_max_capacity(sandbox.handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES);
        Self {
            wasi: None,
            http,
            hooks: HttpHooks::new(sandbox.clone()),
            table,
            limiter: StoreLimiter::new(sandbox.memory, &sandbox.pocket),
            cpu_slot: CpuSlot::new(&sandbox.share),
            prefault: PrefaultProgress::default(),
            states: sandbox.grants.iter().filter_map(|grant| grant.instance_state()).collect(),
        }
    }

    fn sandbox(&self) -> &Sandbox {
        self.hooks.sandbox()
    }

    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// Its slot on a worker. The guest's poller polls through it.
    pub(crate) fn cpu_slot(&self) -> &CpuSlot {
        &self.cpu_slot
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.sandbox().identity
    }

    /// Its grants.
    pub(crate) fn grants(&self) -> &Grants {
        &self.sandbox().grants
    }

    /// Its grants, its handles and its identity.
    pub(crate) fn parts(&mut self) -> (&Grants, &mut ResourceTable, &Identity) {
        let Sandbox { grants, identity, .. } = self.hooks.sandbox();
        (grants, &mut self.table, identity)
    }

    /// The state of this type that a grant has in this instance.
    pub(crate) fn instance_state<S: Any>(&mut self) -> Option<&mut S> {
        self.states.iter_mut().find_map(|state| state.downcast_mut())
    }

    /// The same, to be looked at.
    pub(crate) fn own<S: Any>(&self) -> Option<&S> {
        self.states.iter().find_map(|state| state.downcast_ref())
    }

    /// Gives this instance a state of its own beside those of its grants.
    pub(crate) fn keep(&mut self, state: impl Any + Send) {
        self.states.push(Box::new(state));
    }

    /// Drops that state, and so takes the grant from the instance.
    pub(crate) fn drop_instance_state<S: Any>(&mut self) {
        self.states.retain(|state| !state.is::<S>());
    }

    /// The next pages of this memory to write to, in the form of `host_prefault`.
    pub(crate) fn next_prefault(&mut self, memory: GuestMemory) -> u64 {
        self.prefault.next(&self.hooks.sandbox().prefault, memory)
    }

    /// Sets the handler that the guest may pass its request on to.
    pub(crate) fn lead_to(&mut self, next: Option<Arc<dyn NextHandler>>) {
        self.hooks.lead_to(next);
    }

    /// Sets the plugin that the guest's outgoing requests go through.
    pub(crate) fn go_out_through(&mut self, egress: Option<Arc<dyn EgressHandler>>) {
        self.hooks.go_out_through(egress);
    }

    /// The hooks for the guest's outgoing requests.
    pub(crate) fn hooks(&mut self) -> &mut HttpHooks {
        &mut self.hooks
    }

    /// A span of what it does for its exchange, if there is one whose spans are wanted.
    pub(crate) fn span_timer(&self) -> Option<SpanTimer> {
        self.hooks.served().exchange()?.trace.timer()
    }

    /// The error with what is known of a trap besides: where the guest was, and what it said. Ask before the store is
    /// dropped.
    pub(crate) fn explain(&self, why: wasmtime::Error) -> wasmtime::Error {
        let Sandbox { identity, symbols, handles, .. } = self.sandbox();
        let backtrace = Backtrace::of(&why, symbols, identity);
        let panic = self.wasi.as_ref().and_then(|wasi| wasi.stderr().panic());
        let (refused, handles) = (self.limiter.refused(), LimitKey::Handles.count(*handles));
        let limits = [
            ("store handle limit exceeded", handles),
            ("resource table has no free keys", handles),
            ("total size of fields exceeds limit", LimitKey::Fields.bytes(FIELDS_BYTES as u64)),
            ("fuel allocated for hostcalls", LimitKey::Hostcall.bytes(HOSTCALL_BYTES as u64)),
        ];
        match GuestFailure::trap_of(&why, KnownOfTrap { panic, limits, refused, backtrace }) {
            Some(trap) => why.context(trap),
            None => why,
        }
    }

    /// Another exchange begins. Each may print and compute as much as one.
    pub(crate) fn renew(&self) {
        self.cpu_slot.renew();
        if let Some(wasi) = &self.wasi {
            wasi.outputs.iter().for_each(GuestOutput::renew);
        }
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (sandbox, served) = (self.hooks.sandbox(), self.hooks.served());
        let wasi = self.wasi.get_or_insert_with(|| GuestWasi::new(sandbox, served));
        WasiCtxView { ctx: &mut wasi.ctx, table: &mut self.table }
    }
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::sandbox::backtrace::Symbols;
    use crate::component::sandbox::cpu_scheduler::CpuScheduler;
    use crate::component::sandbox::guest_log::GuestLog;
    use crate::component::sandbox::memory_budget::MemoryBudget;
    use crate::component::sandbox::prefault::Prefault;
    use crate::component::sandbox::retirement::Retirement;
    use crate::component::tick::TickCounter;

    /// Each request made two contexts with random numbers, clocks and outputs, for guests that asked for none of
    /// it.
    #[test]
    fn wasi_is_made_when_a_guest_first_asks_for_it() {
        let retirement = Retirement::default();
        let sandbox = Arc::new(Sandbox {
            identity: Identity::new(
                (1, "1f2e3d4c"),
                "shop".into(),
                GuestLog::unbounded(),
                retirement.watch(),
                Arc::default(),
            ),
            memory: 0,
            pocket: MemoryBudget::new(None, None).pocket(),
            handles: 10,
            outgoing_per_exchange: 10,
            share: CpuScheduler::new(1, &TickCounter::default()).share(Arc::default()),
            grants: Grants::default(),
            has_egress: false,
            prefault: Prefault::new(None),
            symbols: Symbols::new(Arc::default),
        });
        let mut state = GuestState::new(&sandbox);
        state.table().push(()).unwrap();
        state.http().table.push(()).unwrap();
        state.renew();
        assert!(state.wasi.is_none());
        assert_eq!(state.ctx().table.max_capacity(), 10);
        assert!(state.wasi.is_some());
    }
}
