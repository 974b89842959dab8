//! Calling a guest of wasi:http 0.3 (`wasi:http/handler`).

use host_manifest::escape::quote;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::ready;
use std::time::Duration;

use http::Request;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::Request as GuestRequest;
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{Error as HttpError, WasiBody, WasiHttpView as _};

use super::hooks::Beside;
use super::instance::{Head, Release};
use crate::component::sandbox::guest_failure::GuestFailure;
use crate::component::sandbox::state::GuestState;

/// Calls the handler, and drives the guest until its tasks have ended and the response has been released.
/// Meanwhile calls `on-drain` when the end is decided, if there is such a hook to `tell`, with its limit.
pub(crate) async fn serve(
    store: &mut Store<GuestState>,
    service: &Service,
    tell: Option<(&Beside, Duration)>,
    request: Request<WasiBody>,
    send: oneshot::Sender<Head>,
    released: &Release,
) -> wasmtime::Result<()> {
    store
        .run_concurrent(async |accessor| -> wasmtime::Result<()> {
            let serve = async {
                let head = call(accessor, service, request).await?;
                // The receiver is gone when the exchange has ended.
                drop(send.send(head));
                poll_fn(|cx| {
                    ready!(accessor.poll_no_interesting_tasks(cx));
                    released.poll()
                })
                .await;
                Ok(())
            };
            match tell {
                None => serve.await,
                Some((beside, limit)) => tell_beside(serve, beside.tell(accessor, limit)).await,
            }
        })
        .await?
}

/// Serves a request, and meanwhile calls `on-drain` when the end is decided.
async fn tell_beside(
    serve: impl Future<Output = wasmtime::Result<()>>,
    tell: impl Future<Output = wasmtime::Result<()>>,
) -> wasmtime::Result<()> {
    let mut serve = std::pin::pin!(serve);
    tokio::select! {
        biased;
        served = &mut serve => return served,
        called = tell => called?,
    }
    serve.await
}

/// Calls the handler and waits for the head of its response.
pub(crate) async fn call(
    accessor: &Accessor<GuestState>,
    service: &Service,
    request: Request<WasiBody>,
) -> wasmtime::Result<Head> {
    let (request, processed) = accessor.with(|mut access| {
        let (request, processed) = guest_request(access.get(), request);
        access.get().table().push(request).map(|request| (request, processed))
    })?;
    let answer = service.wasi_http_handler().call_handle(accessor, request).await?;
    match answer {
        Ok(response) => accessor.with(|mut access| {
            let response = access.get().table().delete(response)?;
            Ok(Ok(response.into_http(access, processed)?))
        }),
        Err(code) => Ok(Err(GuestFailure::Refused(quote(&format!("{code:?}"))))),
    }
}

/// The outcome of a request that the host sends for a guest.
type Processed = Pin<Box<dyn Future<Output = Result<(), HttpError>> + Send>>;

fn guest_request(state: &mut GuestState, request: Request<WasiBody>) -> (GuestRequest, Processed) {
    let (request, processed) = GuestRequest::from_http(state.http().hooks, request);
    (request, Box::pin(processed))
}
