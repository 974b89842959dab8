//! An instance of its own for each request.

use std::sync::Arc;

use http::Request;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime_wasi_http::WasiBody;

use super::blueprint::{Blueprint, Entry};
use super::instance::{Kept, Release, Running};
use super::{p2, p3};
use crate::component::sandbox::state::GuestState;

/// Makes the future that instantiates the component, calls its handler, drives the guest until its tasks have
/// ended and the response has been released, and then calls its hooks.
pub(crate) fn start(
    mut store: Store<GuestState>,
    blueprint: Arc<Blueprint>,
    request: Request<WasiBody>,
) -> Running {
    let (send, head) = oneshot::channel();
    let (cpu, slot) = (blueprint.limits().cpu, store.data().cpu_slot().clone());
    let release = Release::default();
    let released = release.clone();
    let guest = async move {
        let (code, limit) = (&blueprint.code, blueprint.limits().hook);
        let gone = store.data_mut().hooks().gone().on_drop();
        let notified = store.data().identity().retirement.is_ending();
        let instance = blueprint.start(&mut store).await?;
        match &code.entry {
            Entry::P2(indices) => {
                let proxy = indices.load(&mut store, &instance)?;
                p2::call(&mut store, &proxy, request, send).await?;
                if code.hooks.has_end() {
                    // The client gets its whole response before the guest runs its `on-shutdown`.
                    released.mark_returned();
                    released.wait().await;
                }
            }
            Entry::P3(indices) => {
                let service = indices.load(&mut store, &instance)?;
                let beside =
                    if notified { None } else { code.hooks.beside(&mut store, &instance)? };
                let tell = beside.as_ref().map(|beside| (beside, limit));
                p3::serve(&mut store, &service, tell, request, send, &released).await?;
            }
        }
        code.hooks.end(&mut store, &instance, limit, notified).await;
        gone.defuse();
        // The store outlives the call, so that a body which the guest leaked does not look finished.
        Ok(Kept::Store { _store: store })
    };
    Running::new(Box::pin(guest), head, cpu, release, Some(slot))
}
