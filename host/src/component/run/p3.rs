//! Calling a guest of wasi:http 0.3 (`wasi:http/handler`).

use host_manifest::escape::quote;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use http::Request;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::Request as GuestRequest;
use wasmtime_wasi_http::p3::bindings::{Service, ServiceIndices};
use wasmtime_wasi_http::{Error as HttpError, WasiBody, WasiHttpView as _};

use super::blueprint::Blueprint;
use super::instance::{Head, Release, Running};
use crate::component::sandbox::guest_failure::GuestFailure;
use crate::component::sandbox::state::GuestState;

/// Makes the future that instantiates the component and calls its handler, drives the guest until its tasks
/// have ended and the response has been released, and then calls its hooks.
pub(crate) fn start(
    mut store: Store<GuestState>,
    shared: Arc<Blueprint>,
    indices: Arc<ServiceIndices>,
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
        let service = indices.load(&mut store, &instance)?;
        let beside = if notified { None } else { hooks.beside(&mut store, &instance)? };
        store
            .run_concurrent(async |accessor| -> wasmtime::Result<()> {
                let serve = async {
                    let head = call(accessor, &service, request).await?;
                    // The receiver is gone when the exchange has ended.
                    drop(send.send(head));
                    poll_fn(|cx| {
                        let quiet = accessor.poll_no_interesting_tasks(cx);
                        if released.poll().is_ready() { quiet } else { Poll::Pending }
                    })
                    .await;
                    Ok(())
                };
                match beside {
                    None => serve.await,
                    Some(beside) => tell_beside(serve, beside.tell(accessor, limits.hook)).await,
                }
            })
            .await??;
        hooks.end(&mut store, &instance, limits.hook, notified).await;
        gone.defuse();
        Ok(Box::new(store) as _)
    };
    Running::new(Box::pin(guest), head, cpu, release, Some(slot))
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
