//! Calling a guest of wasi:http 0.3 (`wasi:http/handler`).

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use http::Request;
use tokio::sync::oneshot;
use tokio::time::timeout;
use wasmtime::Store;
use wasmtime::component::{Accessor, InstancePre};
use wasmtime_wasi_http::p3::Request as GuestRequest;
use wasmtime_wasi_http::p3::bindings::{Service, ServiceIndices};
use wasmtime_wasi_http::{Error as HttpError, WasiBody, WasiHttpView as _};

use super::Limits;
use super::instance::{GuestFailure, Head, Release, Running};
use super::state::GuestState;

/// Makes the future that instantiates the component, calls its handler, and goes on until all of
/// its tasks have ended and the answer has been released.
pub(super) fn start(
    mut store: Store<GuestState>,
    pre: InstancePre<GuestState>,
    indices: Arc<ServiceIndices>,
    request: Request<WasiBody>,
    limits: &Limits,
) -> Running {
    let (send, head) = oneshot::channel();
    let start = limits.start;
    let release = Release::default();
    let released = release.clone();
    let guest = async move {
        let instance = timeout(start, pre.instantiate_async(&mut store))
            .await
            .map_err(wasmtime::Error::from)??;
        let service = indices.load(&mut store, &instance)?;
        store
            .run_concurrent(async |accessor| -> wasmtime::Result<()> {
                let head = call(accessor, &service, request).await?;
                // Nobody waits any more when the exchange has ended.
                drop(send.send(head));
                poll_fn(|cx| {
                    let quiet = accessor.poll_no_interesting_tasks(cx);
                    if released.poll(cx).is_ready() { quiet } else { Poll::Pending }
                })
                .await;
                Ok(())
            })
            .await??;
        Ok(Box::new(store) as _)
    };
    Running::new(Box::pin(guest), head, limits.cpu, release)
}

async fn call(
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
        Err(code) => Ok(Err(GuestFailure::Refused(format!("{code:?}")))),
    }
}

/// Tells how the host got on with a request that it made for a guest.
type Processed = Pin<Box<dyn Future<Output = Result<(), HttpError>> + Send>>;

fn guest_request(state: &mut GuestState, request: Request<WasiBody>) -> (GuestRequest, Processed) {
    let (request, processed) = GuestRequest::from_http(state.http().hooks, request);
    (request, Box::pin(processed))
}
