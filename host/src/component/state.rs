//! What a store holds beside the instance: the sandbox of one guest.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

use super::Limits;
use super::engine::{CORE_INSTANCES_EACH, TABLE_ELEMENTS};
use super::stdio::{GuestOutput, Stream};

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
}

impl GuestState {
    /// A sandbox with nothing in it: no environment, arguments, files, network or outgoing HTTP;
    /// stdin closed, stdout and stderr into the log under the component's name.
    fn new(component: &Arc<str>, limits: &Limits) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES);
        let wasi = WasiCtx::builder()
            .stdout(GuestOutput::new(component.clone(), Stream::Stdout))
            .stderr(GuestOutput::new(component.clone(), Stream::Stderr))
            .max_random_size(MAX_RANDOM)
            .build();
        Self { wasi, http, denied: Denied, table, budget: Budget { left: limits.memory } }
    }

    /// A store with this sandbox, all limits set. Dropping it ends the guest.
    pub(super) fn store(
        engine: &wasmtime::Engine,
        component: &Arc<str>,
        limits: &Limits,
    ) -> Store<Self> {
        let mut store = Store::new(engine, Self::new(component, limits));
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
