//! What a store holds beside the instance: the sandbox of one guest.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

use super::engine::{CORE_INSTANCES_EACH, TABLE_ELEMENTS};
use super::fate::FateWatch;
use super::generation::Blueprint;
use super::stdio::{GuestOutput, Stream};
use super::{ShutdownGrant, keyvalue};

/// Handles of one instance to host resources; streams and headers of a few requests fit.
const MAX_HANDLES: usize = 10_000;

/// What one host call may copy out of a guest. A body chunk is at most 1 MiB.
const HOSTCALL_BYTES: usize = 8 << 20;

/// What one call for random bytes may ask for.
const MAX_RANDOM: u64 = 64 << 10;

/// Bytes of one header map in memory, both ways. Twice what arrives in a head, because wasmtime
/// counts the map's own overhead too.
const FIELDS_BYTES: usize = 128 << 10;

/// Core instances, memories and tables of one component: what the pool has for one.
const MAX_PARTS: usize = CORE_INSTANCES_EACH as usize;

/// The data of a store. Nothing in it grants anything.
pub(super) struct GuestState {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    denied: Denied,
    table: ResourceTable,
    budget: Budget,
    identity: Identity,
    shutdown: Shutdown,
    keyvalue: keyvalue::Granted,
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
        let label = format!("{number}-{:.DIGITS$}", blueprint.digest);
        Self(Arc::new(Inner { number, label, component: blueprint.name.clone(), fate }))
    }
}

/// A guest's wish to stop the process. It is passed on when the guest is gone, so that the answer
/// of the request that asked is delivered whole, whatever the drain timeout. Of an instance that is
/// shared, when the first of its exchanges has ended: the others drain.
struct Shutdown {
    grant: Option<ShutdownGrant>,
    /// Asked at all, granted or not: one line of the log is enough.
    said: bool,
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
    /// A sandbox with nothing in it: no environment, arguments, files, network or outgoing HTTP;
    /// stdin closed, stdout and stderr into the log under the component's name.
    fn new(blueprint: &Blueprint, identity: &Identity) -> Self {
        let component = &blueprint.name;
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES);
        let outputs = [Stream::Stdout, Stream::Stderr]
            .map(|stream| GuestOutput::new(component.clone(), stream));
        let [stdout, stderr] = outputs.clone();
        let wasi =
            WasiCtx::builder().stdout(stdout).stderr(stderr).max_random_size(MAX_RANDOM).build();
        Self {
            wasi,
            http,
            denied: Denied,
            table,
            budget: Budget { left: blueprint.limits.memory },
            identity: identity.clone(),
            shutdown: Shutdown {
                grant: blueprint.grants.request_shutdown.clone(),
                said: false,
                asked: false,
                shared: None,
            },
            keyvalue: keyvalue::Granted::default(),
            outputs,
        }
    }

    /// A store with this sandbox, all limits set. Dropping it ends the guest.
    pub(super) fn store(blueprint: &Blueprint, identity: &Identity) -> Store<Self> {
        let mut store = Store::new(blueprint.pre.engine(), Self::new(blueprint, identity));
        store.limiter(|state| &mut state.budget);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_max_component_handles(MAX_HANDLES);
        // tokio's yield lets the reactor be polled, so that a spinning guest delays nobody's bytes.
        store.epoch_deadline_callback(|_| {
            Ok(wasmtime::UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        store.set_epoch_deadline(1);
        store
    }

    pub(super) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the guest asks for that the first time.
    pub(super) fn asks_first(&mut self) -> bool {
        !std::mem::replace(&mut self.shutdown.said, true)
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

    /// What its key-value imports see of it.
    pub(super) fn keyvalue(&mut self) -> keyvalue::View<'_> {
        keyvalue::View {
            granted: &mut self.keyvalue,
            table: &mut self.table,
            component: &self.identity.component,
            generation: self.identity.number,
        }
    }

    /// Another exchange begins: what one may print, each may.
    pub(super) fn renew(&self) {
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
        WasiHttpCtxView { hooks: &mut self.denied, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Linear memory of one instance, all its memories together.
struct Budget {
    left: usize,
}

impl ResourceLimiter for Budget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let granted = more <= self.left;
        if granted {
            self.left -= more;
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        MAX_PARTS
    }

    fn tables(&self) -> usize {
        MAX_PARTS
    }

    fn memories(&self) -> usize {
        MAX_PARTS
    }
}

/// Outgoing HTTP without a grant.
struct Denied;

/// What wasmtime's hook for outgoing requests gives back.
type Outgoing = Box<
    dyn Future<
            Output = Result<
                (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), HttpError>> + Send>),
                HttpError,
            >,
        > + Send,
>;

impl WasiHttpHooks for Denied {
    fn send_request(
        &mut self,
        _request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Outgoing {
        Box::new(std::future::ready(Err(HttpError::HttpRequestDenied)))
    }
}
