//! What a store holds beside the instance: the sandbox of one guest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use host_keyvalue::Buckets;
use host_manifest::Stdio;
use host_outgoing::{HttpClient, Lookup};
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::WasiConfig;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::cpu_scheduler::{ComponentShare, CpuSlot};
use super::files::OpenLimit;
use super::grants::{ConfigGrant, Grants, ShutdownGrant};
use super::identity::Identity;
use super::limiter::StoreLimiter;
use super::memory_budget::MemoryBudget;
use super::next_handler::NextHandler;
use super::outgoing::Outgoing;
use super::stdio::{GuestOutput, OutputKind};

/// What one host call may copy out of a guest. A body chunk is at most 1 MiB.
const HOSTCALL_BYTES: usize = 8 << 20;

/// What one call for random bytes may ask for.
const MAX_RANDOM: u64 = 64 << 10;

/// Bytes of one header map in memory, both ways. Twice what arrives in a head, because wasmtime
/// counts the map's own overhead too.
const FIELDS_BYTES: usize = 128 << 10;

/// What all instances of a generation are given, and what each may use.
pub(crate) struct Sandbox {
    pub(crate) identity: Identity,
    /// Bytes of linear memory of one instance.
    pub(crate) memory: usize,
    /// Where that is counted beside.
    pub(crate) budget: MemoryBudget,
    /// Handles of one instance.
    pub(crate) handles: usize,
    /// The component's part of the workers.
    pub(crate) share: ComponentShare,
    pub(crate) grants: Grants,
    /// Sends requests out, with connections of the generation's own.
    pub(crate) client: Option<HttpClient>,
}

impl Sandbox {
    /// A store with all limits set, whose guest has nothing but what is granted. Dropping it ends the guest.
    pub(crate) fn store(&self, engine: &Engine) -> Store<GuestState> {
        let mut store = Store::new(engine, GuestState::new(self));
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_max_component_handles(self.handles);
        store.epoch_deadline_callback(|context| {
            Ok(wasmtime::UpdateDeadline::YieldCustom(1, context.data().cpu_slot.give_way()))
        });
        store.set_epoch_deadline(1);
        store
    }

    /// Stops the process, if that is granted.
    pub(crate) fn shut_down_if_granted(&self) {
        if let Some(grant) = &self.grants.request_shutdown {
            grant.use_it();
        }
    }
}

/// The data of a store. Nothing in it grants anything but what its [`Sandbox`] does.
pub(crate) struct GuestState {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    table: ResourceTable,
    limiter: StoreLimiter,
    cpu_slot: CpuSlot,
    identity: Identity,
    shutdown: Shutdown,
    keyvalue: Buckets,
    lookup: Option<Lookup>,
    config: ConfigGrant,
    open_limit: OpenLimit,
    outputs: [GuestOutput; 2],
}

/// A guest's wish to stop the process. It is passed on when the guest is gone, so that the answer
/// of the request that asked is delivered whole, whatever the drain timeout. Of an instance that is
/// shared, when the first of its exchanges has ended: the others drain.
struct Shutdown {
    grant: Option<ShutdownGrant>,
    asked: bool,
    /// Of a reusable instance: told at once, and passed on by whoever ends the exchange.
    shared: Option<Arc<AtomicBool>>,
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        if let (true, Some(grant)) = (self.asked, &self.grant) {
            grant.use_it();
        }
    }
}

impl GuestState {
    /// A sandbox with nothing in it but what is granted: no environment, arguments, files, network or
    /// outgoing HTTP; stdin closed, stdout and stderr into the log under the component's name.
    fn new(sandbox: &Sandbox) -> Self {
        let Sandbox { identity, grants, .. } = sandbox;
        let mut table = ResourceTable::new();
        table.set_max_capacity(sandbox.handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES);
        let outputs = [OutputKind::Stdout, OutputKind::Stderr]
            .map(|kind| GuestOutput::new(identity.log.clone(), kind));
        let mut builder = WasiCtx::builder();
        builder.max_random_size(MAX_RANDOM);
        if grants.stdio == Stdio::Log {
            let [stdout, stderr] = outputs.clone();
            builder.stdout(stdout).stderr(stderr);
        }
        grants.fill(&mut builder);
        let mut wasi = builder.build();
        grants.furnish(&mut wasi);
        let directories = grants.directories.as_ref();
        Self {
            wasi,
            http,
            outgoing: Outgoing::new(identity, sandbox.client.clone()),
            table,
            limiter: StoreLimiter::new(sandbox.memory, &sandbox.budget),
            cpu_slot: CpuSlot::new(&sandbox.share),
            identity: identity.clone(),
            shutdown: Shutdown {
                grant: grants.request_shutdown.clone(),
                asked: false,
                shared: None,
            },
            keyvalue: grants.buckets.clone(),
            lookup: grants.lookup.clone(),
            config: grants.config.clone(),
            open_limit: directories.map(|it| it.open_limit().clone()).unwrap_or_default(),
            outputs,
        }
    }

    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// Its slot on a worker; whoever polls the guest does so through it.
    pub(crate) fn cpu_slot(&self) -> &CpuSlot {
        &self.cpu_slot
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Takes note that the guest wants the process to stop. False if it may not.
    pub(crate) fn ask_for_shutdown(&mut self) -> bool {
        match &self.shutdown.shared {
            Some(shared) => shared.store(true, Ordering::Relaxed),
            None => self.shutdown.asked = true,
        }
        self.shutdown.grant.is_some()
    }

    /// Takes that right away.
    pub(crate) fn deny_shutdown(&mut self) {
        self.shutdown.grant = None;
    }

    /// Makes the instance one of several exchanges: who ends one looks there for its wish.
    pub(crate) fn share_shutdown(&mut self, shared: Arc<AtomicBool>) {
        self.shutdown.shared = Some(shared);
    }

    /// What the guest may pass its request on to.
    pub(crate) fn lead_to(&mut self, next: Option<Arc<dyn NextHandler>>) {
        self.outgoing.lead_to(next);
    }

    pub(crate) fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    /// What its import `wasi:config` answers.
    pub(crate) fn config(&mut self) -> WasiConfig<'_> {
        WasiConfig::new(&self.config.0)
    }

    /// What bounds how many files it opens at once.
    pub(crate) fn open_limit(&self) -> &OpenLimit {
        &self.open_limit
    }

    /// What looks names up for it, if that is granted.
    pub(crate) fn lookup(&self) -> Option<&Lookup> {
        self.lookup.as_ref()
    }

    /// What its key-value imports use of it.
    pub(crate) fn keyvalue(&mut self) -> (&Buckets, &mut ResourceTable, &Identity) {
        (&self.keyvalue, &mut self.table, &self.identity)
    }

    /// Another exchange begins: what one may print and compute, each may.
    pub(crate) fn renew(&self) {
        self.cpu_slot.renew();
        self.outputs.iter().for_each(GuestOutput::renew);
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outgoing, table: &mut self.table, ctx: &mut self.http }
    }
}
