//! Calling a guest of wasi:http 0.2 (`wasi:http/incoming-handler`).

use host_manifest::escape::quote;
use http::Request;
use tokio::sync::oneshot;
use wasmtime::AsContextMut;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView as _};

use super::instance::Head;
use crate::component::sandbox::guest_failure::GuestFailure;
use crate::component::sandbox::state::GuestState;

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
