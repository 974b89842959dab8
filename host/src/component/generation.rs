//! One loaded, linked, immutable version of a component with its grants and limits.

use std::fmt;
use std::sync::Arc;

use http::Request;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p3::bindings::ServiceIndices;

use super::instance::{GuestFailure, Running};
use super::state::GuestState;
use super::survey::Kind;
use super::{Limits, p2, p3};

/// A version of a component, ready to serve. Immutable; dropped with the last exchange that runs
/// on it, and its compiled code with it.
pub struct Generation {
    number: u64,
    name: Arc<str>,
    entry: Entry,
    pre: InstancePre<GuestState>,
    limits: Limits,
}

/// How a request enters an instance.
enum Entry {
    P2(Arc<ProxyIndices>),
    P3(Arc<ServiceIndices>),
}

impl Generation {
    /// Links a compiled component. Everything of WASI is there, nothing is granted.
    pub(super) fn link(
        number: u64,
        name: &str,
        kind: Kind,
        component: &Component,
        limits: Limits,
        concurrency: bool,
    ) -> wasmtime::Result<Self> {
        let linker = linker(component.engine(), concurrency)?;
        let pre = linker.instantiate_pre(component)?;
        let entry = match kind {
            Kind::P2 => Entry::P2(Arc::new(ProxyIndices::new(&pre)?)),
            Kind::P3 => Entry::P3(Arc::new(ServiceIndices::new(&pre)?)),
        };
        Ok(Self { number, name: name.into(), entry, pre, limits })
    }

    /// Counts up from 1 in the life of the process.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The component's name in logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface that requests go through.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.entry {
            Entry::P2(_) => Kind::P2,
            Entry::P3(_) => Kind::P3,
        }
    }

    /// Starts an instance for one request. Nothing runs until the result is polled, and dropping
    /// that ends the guest.
    #[must_use]
    pub fn start(&self, request: Request<WasiBody>) -> Running {
        let (store, pre) = (self.store(), self.pre.clone());
        match &self.entry {
            Entry::P2(indices) => p2::start(store, pre, indices.clone(), request, &self.limits),
            Entry::P3(indices) => p3::start(store, pre, indices.clone(), request, &self.limits),
        }
    }

    /// Makes one instance and drops it, so that a component which cannot start is refused before
    /// it serves a request.
    ///
    /// # Errors
    /// When the instance traps or takes longer than it may.
    pub async fn prove(&self) -> Result<(), GuestFailure> {
        let mut store = self.store();
        let made = self.pre.instantiate_async(&mut store);
        let instance = tokio::time::timeout(self.limits.start, made)
            .await
            .map_err(|_| GuestFailure::StartTooSlow)?
            .map_err(|why| GuestFailure::of(&why))?;
        match &self.entry {
            Entry::P2(indices) => indices.load(&mut store, &instance).map(drop),
            Entry::P3(indices) => indices.load(&mut store, &instance).map(drop),
        }
        .map_err(|why| GuestFailure::of(&why))
    }

    fn store(&self) -> Store<GuestState> {
        GuestState::store(self.pre.engine(), &self.name, &self.limits)
    }
}

fn linker(engine: &Engine, concurrency: bool) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    if concurrency {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    }
    Ok(linker)
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("number", &self.number)
            .field("name", &self.name)
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}
