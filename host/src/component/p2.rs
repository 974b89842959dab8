//! Calling a guest of wasi:http 0.2 (`wasi:http/incoming-handler`).

use std::sync::Arc;

use http::Request;
use tokio::sync::oneshot;
use tokio::time::timeout;
use wasmtime::Store;
use wasmtime::component::InstancePre;
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView as _};

use super::Limits;
use super::instance::{GuestFailure, Release, Running};
use super::state::GuestState;

/// Makes the future that instantiates the component and calls its handler.
pub(super) fn start(
    mut store: Store<GuestState>,
    pre: InstancePre<GuestState>,
    indices: Arc<ProxyIndices>,
    request: Request<WasiBody>,
    limits: &Limits,
) -> Running {
    let (send, head) = oneshot::channel();
    let start = limits.start;
    let guest = async move {
        let instance = timeout(start, pre.instantiate_async(&mut store))
            .await
            .map_err(wasmtime::Error::from)??;
        let proxy = indices.load(&mut store, &instance)?;
        let scheme = match request.uri().scheme_str() {
            Some("https") => Scheme::Https,
            _ => Scheme::Http,
        };
        let mut view = store.data_mut().http();
        let request = view.new_incoming_request(scheme, request)?;
        let out = view.new_response_outparam_from_callback(move |answer| {
            let head = answer.map_err(|code| GuestFailure::Refused(format!("{code:?}")));
            // Nobody waits any more when the exchange has ended: its limits or its peer did that.
            drop(send.send(head));
        })?;
        proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await?;
        // The store outlives the call: a body that the guest leaked must not look finished.
        Ok(Box::new(store) as _)
    };
    Running::new(Box::pin(guest), head, limits.cpu, Release::default())
}
