//! Links every import for guests. Linking grants nothing.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use wasmtime::Engine;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::p2::bindings::io::{error, poll, streams};

use super::{abilities, field_limits, lifecycle, middleware, prefault};
use crate::component::sandbox::state::GuestState;

/// The linkers in use, one for each engine: to make one takes as long as to load a small component.
#[derive(Default)]
pub(crate) struct Linkers(Mutex<Vec<Weak<Linker<GuestState>>>>);

impl Linkers {
    /// All imports for an engine. It is shared for as long as somebody holds it. `concurrency` says that the engine has
    /// component-model async.
    ///
    /// # Errors
    /// See [`linker`].
    pub(crate) fn get(
        &self,
        engine: &Engine,
        concurrency: bool,
    ) -> wasmtime::Result<Arc<Linker<GuestState>>> {
        let mut linkers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        linkers.retain(|linker| linker.strong_count() > 0);
        let mut known = linkers.iter().filter_map(Weak::upgrade);
        if let Some(linker) = known.find(|linker| Engine::same(linker.engine(), engine)) {
            return Ok(linker);
        }
        drop(known);
        let linker = Arc::new(linker(engine, concurrency)?);
        linkers.push(Arc::downgrade(&linker));
        Ok(linker)
    }
}

/// Links all imports for an engine. `concurrency` says that it has component-model async.
///
/// # Errors
/// When wasmtime already has an import of the same name, which is a mistake in this host.
fn linker(engine: &Engine, concurrency: bool) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    lifecycle::add_p2(&mut linker)?;
    prefault::add(&mut linker)?;
    if concurrency {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        lifecycle::add_p3(&mut linker)?;
        middleware::add(&mut linker)?;
    }
    // From here on some functions replace or wrap wasmtime's.
    linker.allow_shadowing(true);
    add_io(&mut linker)?;
    abilities::link(&mut linker, concurrency)?;
    field_limits::add_p2(&mut linker)?;
    if concurrency {
        field_limits::add_p3(&mut linker)?;
    }
    Ok(linker)
}

/// Streams and pollables need only the table of resources. wasmtime takes it from all of WASI, which the host would
/// have to make for each guest that writes a body.
fn add_io(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    error::add_to_linker::<_, WasiIo>(linker, GuestState::table)?;
    poll::add_to_linker::<_, WasiIo>(linker, GuestState::table)?;
    streams::add_to_linker::<_, WasiIo>(linker, GuestState::table)
}

struct WasiIo;

impl HasData for WasiIo {
    type Data<'a> = &'a mut ResourceTable;
}
