//! Compiled code with its imports, ready to be instantiated.

use std::sync::Arc;

use host_symbols::SymbolTable;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p3::bindings::ServiceIndices;

use super::hooks::Hooks;
use crate::component::code::survey::Kind;
use crate::component::code::surveyed::{Beginning, SurveyedSource};
use crate::component::imports::link::Linkers;
use crate::component::sandbox::state::GuestState;

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
    /// What it was linked with, to link the next code of its engine.
    pub(crate) linker: Arc<Linker<GuestState>>,
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
        Ok(Self { entry, hooks, pre, kept, symbols, bytes, linker })
    }
}
