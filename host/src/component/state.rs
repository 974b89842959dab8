//! What a store holds beside the instance: the sandbox of one guest.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use host_keyvalue::Buckets;
use host_manifest::Stdio;
use host_outgoing::Lookup;
use wasmtime::Store;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::WasiConfig;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::budget::Budget;
use super::fate::FateWatch;
use super::files::Share;
use super::generation::Blueprint;
use super::log_room::LogRoom;
use super::outgoing::Outgoing;
use super::said::Topics;
use super::stdio::{GuestOutput, Stream};
use super::turns::Turn;
use super::{ConfigGrant, Next, ShutdownGrant, keyvalue};

/// What one host call may copy out of a guest. A body chunk is at most 1 MiB.
const HOSTCALL_BYTES: usize = 8 << 20;

/// What one call for random bytes may ask for.
const MAX_RANDOM: u64 = 64 << 10;

/// Bytes of one header map in memory, both ways. Twice what arrives in a head, because wasmtime
/// counts the map's own overhead too.
const FIELDS_BYTES: usize = 128 << 10;

/// The data of a store. Nothing in it grants anything but what its blueprint does.
pub(super) struct GuestState {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    table: ResourceTable,
    budget: Budget,
    turn: Turn,
    identity: Identity,
    shutdown: Shutdown,
    keyvalue: Buckets,
    lookup: Option<Lookup>,
    config: ConfigGrant,
    files: Share,
    outputs: [GuestOutput; 2],
}

/// Who a guest is. Cheap to clone: every instance has one.
#[derive(Clone, Debug)]
pub(super) struct Identity(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) number: u64,
    /// What a guest sees of it: `3-1f2e3d4c`.
    pub(super) label: String,
    pub(super) component: Arc<str>,
    pub(super) fate: FateWatch,
    /// What the log has heard of all its instances.
    pub(super) topics: Topics,
    /// What they may print.
    log: Arc<LogRoom>,
}

impl Deref for Identity {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Hexadecimal digits of the digest that a guest sees.
const DIGITS: usize = 8;

impl Identity {
    pub(super) fn new(number: u64, blueprint: &Blueprint, fate: FateWatch) -> Self {
        let label = format!("{number}-{:.DIGITS$}", blueprint.code.digest);
        let component = blueprint.name.clone();
        let log = Arc::new(LogRoom::new(component.clone(), blueprint.limits().log_rate));
        Self(Arc::new(Inner { number, label, component, fate, topics: Topics::default(), log }))
    }
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
    fn new(blueprint: &Blueprint, identity: &Identity) -> Self {
        let grants = blueprint.grants();
        let mut table = ResourceTable::new();
        table.set_max_capacity(blueprint.limits().handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES);
        let outputs = [Stream::Stdout, Stream::Stderr]
            .map(|stream| GuestOutput::new(identity.log.clone(), stream));
        let mut builder = WasiCtx::builder();
        builder.max_random_size(MAX_RANDOM);
        if grants.stdio == Stdio::Log {
            let [stdout, stderr] = outputs.clone();
            builder.stdout(stdout).stderr(stderr);
        }
        grants.fill(&mut builder);
        let mut wasi = builder.build();
        grants.furnish(&mut wasi);
        Self {
            wasi,
            http,
            outgoing: Outgoing::new(identity, blueprint.client.clone()),
            table,
            budget: Budget::new(blueprint.limits().memory, &blueprint.settings.memory),
            turn: Turn::new(&blueprint.settings.share),
            identity: identity.clone(),
            shutdown: Shutdown {
                grant: grants.request_shutdown.clone(),
                asked: false,
                shared: None,
            },
            keyvalue: grants.buckets.clone(),
            lookup: grants.lookup.clone(),
            config: grants.config.clone(),
            files: grants.directories.as_ref().map(|it| it.share().clone()).unwrap_or_default(),
            outputs,
        }
    }

    /// A store with this sandbox, all limits set. Dropping it ends the guest.
    pub(super) fn store(blueprint: &Blueprint, identity: &Identity) -> Store<Self> {
        let mut store = Store::new(blueprint.code.pre.engine(), Self::new(blueprint, identity));
        store.limiter(|state| &mut state.budget);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_max_component_handles(blueprint.limits().handles);
        store.epoch_deadline_callback(|context| {
            Ok(wasmtime::UpdateDeadline::YieldCustom(1, context.data().turn.give_way()))
        });
        store.set_epoch_deadline(1);
        store
    }

    pub(super) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// Its turn on a worker; whoever polls the guest does so through it.
    pub(super) fn turn(&self) -> &Turn {
        &self.turn
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Takes note that the guest wants the process to stop. False if it may not.
    pub(super) fn ask_for_shutdown(&mut self) -> bool {
        match &self.shutdown.shared {
            Some(shared) => shared.store(true, Ordering::Relaxed),
            None => self.shutdown.asked = true,
        }
        self.shutdown.grant.is_some()
    }

    /// Takes that right away.
    pub(super) fn deny_shutdown(&mut self) {
        self.shutdown.grant = None;
    }

    /// Makes the instance one of several exchanges: who ends one looks there for its wish.
    pub(super) fn share_shutdown(&mut self, shared: Arc<AtomicBool>) {
        self.shutdown.shared = Some(shared);
    }

    /// What the guest may pass its request on to.
    pub(super) fn lead_to(&mut self, next: Option<Arc<dyn Next>>) {
        self.outgoing.lead_to(next);
    }

    pub(super) fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    /// What its import `wasi:config` answers.
    pub(super) fn config(&mut self) -> WasiConfig<'_> {
        WasiConfig::new(&self.config.0)
    }

    /// What bounds how many files it opens at once.
    pub(super) fn files(&self) -> &Share {
        &self.files
    }

    /// What looks names up for it, if that is granted.
    pub(super) fn lookup(&self) -> Option<&Lookup> {
        self.lookup.as_ref()
    }

    /// What its key-value imports see of it.
    pub(super) fn keyvalue(&mut self) -> keyvalue::View<'_> {
        keyvalue::View {
            buckets: &self.keyvalue,
            table: &mut self.table,
            component: &self.identity.component,
            number: self.identity.number,
            topics: &self.identity.topics,
        }
    }

    /// Another exchange begins: what one may print and compute, each may.
    pub(super) fn renew(&self) {
        self.turn.renew();
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
