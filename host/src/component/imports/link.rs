//! Links every import for guests. Linking grants nothing.

use wasmtime::Engine;
use wasmtime::component::Linker;

use super::{abilities, field_limits, lifecycle, middleware};
use crate::component::sandbox::state::GuestState;

/// Links all imports for an engine. `concurrency` says that it has component-model async.
///
/// # Errors
/// When wasmtime already has an import of the same name, which is a mistake in this host.
pub(crate) fn linker(engine: &Engine, concurrency: bool) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    lifecycle::add_p2(&mut linker)?;
    if concurrency {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        lifecycle::add_p3(&mut linker)?;
        middleware::add(&mut linker)?;
    }
    // From here on some functions replace or wrap wasmtime's.
    linker.allow_shadowing(true);
    abilities::link(&mut linker, concurrency)?;
    field_limits::add_p2(&mut linker)?;
    if concurrency {
        field_limits::add_p3(&mut linker)?;
    }
    Ok(linker)
}
