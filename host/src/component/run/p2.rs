//! Calling a guest of wasi:http 0.2 (`wasi:http/incoming-handler`).

use host_manifest::escape::quote;
use std::future::poll_fn;
use std::sync::Arc;

use http::Request;
use tokio::sync::oneshot;
use wasmtime::{AsContextMut, Store};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyIndices};
use wasmtime_wasi_http::{WasiBody, WasiHttpView as _};

use super::blueprint::Blueprint;
use super::instance::{Head, Release, Running};
use crate::component::sandbox::guest_failure::GuestFailure;
use crate::component::sandbox::state::GuestState;

/// Makes the future that instantiates the component, calls its handler and then its hooks.
pub(crate) fn start(
    mut store: Store<GuestState>,
    shared: Arc<Blueprint>,
    indices: Arc<ProxyIndices>,
    request: Request<WasiBody>,
) -> Running {
    let (send, head) = oneshot::channel();
    let (cpu, slot) = (shared.limits().cpu, store.data().cpu_slot().clone());
    let release = Release::default();
    let released = release.clone();
    let guest = async move {
        let (hooks, limits) = (&shared.code.hooks, shared.limits());
        let gone = store.data_mut().hooks().gone().on_drop();
        let notified = store.data().identity().retirement.is_ending();
        let instance = shared.start(&mut store).await?;
        let proxy = indices.load(&mut store, &instance)?;
        call(&mut store, &proxy, request, send).await?;
        if hooks.has_end() {
            released.mark_returned();
            // The client gets its whole response before the guest runs its `on-shutdown`.
            poll_fn(|_| released.poll()).await;
            hooks.end(&mut store, &instance, limits.hook, notified).await;
        }
        gone.defuse();
        // The store outlives the call, so that a body which the guest leaked does not look finished.
        Ok(Box::new(store) as _)
    };
    Running::new(Box::pin(guest), head, cpu, release, Some(slot))
}

/// Calls the handler and waits for its return. The head goes to `send` when the guest sets it.
pub(crate) async fn call(
    mut store: impl AsContextMut<Data = GuestState>,
    proxy: &Proxy,
    request: Request<WasiBody>,
    send: oneshot::Sender<Head>,
) -> wasmtime::Result<()> {
    let scheme = match request.uri().scheme_str() {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    let mut context = store.as_context_mut();
    let mut view = context.data_mut().http();
    let request = view.new_incoming_request(scheme, request)?;
    let out = view.new_response_outparam_from_callback(move |answer| {
        let head = answer.map_err(|code| GuestFailure::Refused(quote(&format!("{code:?}"))));
        // The receiver is gone when the exchange has ended, by its limits or by its peer.
        drop(send.send(head));
    })?;
    proxy.wasi_http_incoming_handler().call_handle(context, request, out).await
}
