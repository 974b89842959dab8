//! An instance of its own for each request.

use std::sync::Arc;

use host_telemetry::SpanKind;
use http::Request;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime_wasi_http::WasiBody;

use super::blueprint::Blueprint;
use super::instance::{Head, Kept, Release, Running};
use super::linked_code::{Entry, LinkedCode};
use super::{p2, p3};
use crate::component::code::survey::Kind;
use crate::component::sandbox::state::GuestState;
use crate::component::sandbox::terms::Sandbox;

/// Makes instances of a generation for one worker. Each request holds it by one handle. It is alone in its cache
/// lines, because that writes it: two workers that share a count of references wait for each other.
#[repr(align(128))]
pub(crate) struct InstanceMaker {
    blueprint: Arc<Blueprint>,
    sandbox: Arc<Sandbox>,
}

impl InstanceMaker {
    /// A maker for the worker that asks, of instances on these terms.
    pub(crate) fn new(blueprint: Arc<Blueprint>, sandbox: &Sandbox) -> Arc<Self> {
        Arc::new(Self { blueprint, sandbox: Arc::new(sandbox.for_worker()) })
    }

    /// A store for an instance. Dropping it ends the guest.
    pub(crate) fn store(&self) -> Store<GuestState> {
        self.sandbox.store(&self.blueprint.code.engine)
    }
}

/// Makes the future that instantiates the component, calls its handler, drives the guest until its tasks have
/// ended and the response has been released, and then calls its hooks.
pub(crate) fn start(
    maker: Arc<InstanceMaker>,
    mut store: Store<GuestState>,
    request: Request<WasiBody>,
) -> Running {
    let (send, head) = oneshot::channel();
    let wakes_itself = maker.blueprint.code.kind == Kind::P3;
    let (cpu, slot) = (maker.blueprint.limits().cpu, store.data().cpu_slot().clone());
    let release = Release::default();
    let released = release.clone();
    let guest = async move {
        let gone = store.data_mut().hooks().gone().on_drop();
        let code = serve(&maker.blueprint, &mut store, request, send, &released)
            .await
            .map_err(|why| store.data().explain(why))?;
        gone.defuse();
        // The store outlives the call, so that a body which the guest leaked does not look finished.
        Ok(Kept::Store { _store: store, _code: code })
    };
    let running = Running::new(Box::pin(guest), head, cpu, release, Some(slot));
    if wakes_itself { running.with_noted_wakes() } else { running }
}

/// The life of the instance. Gives what it ran on, where it is counted who holds that.
async fn serve(
    blueprint: &Blueprint,
    store: &mut Store<GuestState>,
    request: Request<WasiBody>,
    send: oneshot::Sender<Head>,
    released: &Release,
) -> wasmtime::Result<Option<Arc<LinkedCode>>> {
    let (code, limit) = (blueprint.code().await?, blueprint.limits().hook);
    let notified = store.data().identity().retirement.is_ending();
    let starts = store.data().span_timer();
    let started = blueprint.start(store, &code).await;
    if let Some(starts) = starts {
        starts.end((SpanKind::Internal, "instantiate"), Vec::new(), started.is_err());
    }
    let instance = started?;
    match &code.entry {
        Entry::P2(indices) => {
            let proxy = indices.load(&mut *store, &instance)?;
            p2::call(&mut *store, &proxy, request, send).await?;
            if code.hooks.has_end() {
                // The client gets its whole response before the guest runs its `on-shutdown`.
                released.mark_returned();
                released.wait().await;
            }
        }
        Entry::P3(indices) => {
            let service = indices.load(&mut *store, &instance)?;
            let beside = if notified { None } else { code.hooks.beside(store, &instance)? };
            let tell = beside.as_ref().map(|beside| (beside, limit));
            p3::serve(store, &service, tell, request, send, released).await?;
        }
    }
    code.hooks.end(store, &instance, limit, notified).await;
    Ok(code.counted())
}
