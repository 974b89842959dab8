//! The worker of one reusable instance: a task that owns the store and serves the jobs it is given.

use std::any::Any;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tracing::debug;
use wasmtime::Store;
use wasmtime::component::{Accessor, Instance};
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p3::bindings::{Service, ServiceIndices};

use super::generation::{Blueprint, Entry};
use super::hooks::Beside;
use super::hops::Hops;
use super::instance::GuestFailure;
use super::reuse::{Job, Lost, Order, Post, Shared, metered};
use super::state::{GuestState, Identity};
use super::{p2, p3};

/// Everything of a worker but its store.
pub(super) struct Worker {
    pub(super) blueprint: Arc<Blueprint>,
    pub(super) identity: Identity,
    pub(super) idle: Duration,
    pub(super) jobs: mpsc::UnboundedReceiver<Job>,
    pub(super) shared: Arc<Shared>,
    pub(super) post: Post,
    /// Its instance has been made and started.
    pub(super) born: bool,
}

/// Starts the task. It ends when its seat is held by nobody, when it has been idle for too long,
/// when its generation ends, and at once when it is killed or the generation is cut. A stop waits
/// for it.
pub(super) fn spawn(worker: Worker) {
    let what = format!("instance generation={}", worker.identity.number);
    let kept = worker.blueprint.settings.keeper.keep(what);
    tokio::spawn(worker.live(kept));
}

impl Worker {
    async fn live(mut self, kept: Box<dyn Any + Send>) {
        let (shared, identity) = (self.shared.clone(), self.identity.clone());
        let mut store = GuestState::store(&self.blueprint, &identity);
        let (turn, cpu) = (store.data().turn().clone(), self.blueprint.limits().cpu);
        let lived = tokio::select! {
            biased;
            () = shared.kill.cancelled() => Ok(()),
            () = identity.fate.cut() => Ok(()),
            lived = metered(&shared, &turn, cpu, self.serve(&mut store)) => lived,
        };
        drop(store);
        if let Err(why) = lived {
            // Jobs that were dropped with the store look for it there.
            shared.failure.set(GuestFailure::of(&why)).ok();
        }
        // The guest may have asked for a stop when no exchange was there to pass it on.
        shared.pass_on_wish(self.blueprint.grants());
        self.leave();
        debug!(generation = identity.number, "reusable instance ended");
        shared.ended.cancel();
        drop(kept);
    }

    /// Takes no more jobs, and gives those back with which it has not begun.
    fn leave(mut self) {
        self.post.leave();
        self.jobs.close();
        while let Ok(Job { order, done }) = self.jobs.try_recv() {
            let lost = if self.born {
                Lost::Unserved(Box::new(order))
            } else {
                // It would be no better with another.
                let why = self.shared.failure.get().cloned();
                Lost::Failed(why.unwrap_or(GuestFailure::InstanceLost))
            };
            drop(done.send(Err(lost)));
        }
    }

    /// To be metered: its hooks cost time, and compute in turn with the others, as its calls do.
    async fn serve(&mut self, store: &mut Store<GuestState>) -> wasmtime::Result<()> {
        let blueprint = self.blueprint.clone();
        let (code, limits) = (&blueprint.code, blueprint.limits());
        let (hooks, entry) = (&code.hooks, &code.entry);
        store.data_mut().share_shutdown(self.shared.shutdown.clone());
        let gone = store.data_mut().outgoing().gone().on_drop();
        let born_late = self.identity.fate.is_ending();
        if born_late {
            self.post.withdraw();
        }
        self.shared.meter.allow(limits.cpu, true);
        let instance = blueprint.start(store).await?;
        self.born = true;
        match entry {
            Entry::P2(indices) => {
                let told = self.serve_p2(store, &instance, indices, born_late).await?;
                if !told && self.identity.fate.is_ending() {
                    self.shared.meter.allow(limits.cpu, true);
                    hooks.drain(store, &instance, limits.hook).await?;
                }
            }
            Entry::P3(indices) => self.serve_p3(store, &instance, indices, born_late).await?,
        }
        self.shared.meter.allow(limits.cpu, true);
        hooks.shutdown(store, &instance, limits.hook).await;
        gone.defuse();
        Ok(())
    }

    /// One job after the other. Whether the guest has been told of its end.
    async fn serve_p2(
        &mut self,
        store: &mut Store<GuestState>,
        instance: &Instance,
        indices: &ProxyIndices,
        mut told: bool,
    ) -> wasmtime::Result<bool> {
        let limits = *self.blueprint.limits();
        let proxy = indices.load(&mut *store, instance)?;
        loop {
            tokio::select! {
                biased;
                job = self.jobs.recv() => {
                    let Some(Job { order: Order { request, head, .. }, done }) = job else { break };
                    store.data().renew();
                    self.shared.meter.allow(limits.cpu, true);
                    let _deep = store.data_mut().outgoing().share(Hops::of(&request));
                    match p2::call(&mut *store, &proxy, request, head).await {
                        Ok(()) => drop(done.send(Ok(()))),
                        Err(why) => {
                            drop(done.send(Err(Lost::Failed(GuestFailure::of(&why)))));
                            return Err(why);
                        }
                    }
                }
                () = self.identity.fate.ending(), if !told => {
                    told = true;
                    self.post.withdraw();
                    self.shared.meter.allow(limits.cpu, true);
                    self.blueprint.code.hooks.drain(&mut *store, instance, limits.hook).await?;
                }
                () = sleep(self.idle) => if self.post.leave_if_idle() {
                    break;
                },
            }
        }
        Ok(told)
    }

    /// Several jobs at once.
    async fn serve_p3(
        &mut self,
        store: &mut Store<GuestState>,
        instance: &Instance,
        indices: &ServiceIndices,
        told: bool,
    ) -> wasmtime::Result<()> {
        let service = indices.load(&mut *store, instance)?;
        let beside = self.blueprint.code.hooks.beside(store, instance)?;
        let serve = async |accessor: &Accessor<GuestState>| {
            self.loop_p3(accessor, &service, beside.as_ref(), told).await
        };
        store.run_concurrent(serve).await?
    }

    async fn loop_p3(
        &mut self,
        accessor: &Accessor<GuestState>,
        service: &Service,
        beside: Option<&Beside>,
        told: bool,
    ) -> wasmtime::Result<()> {
        let limits = *self.blueprint.limits();
        let mut bench = Bench::default();
        let mut telling = std::pin::pin!(async {
            match beside {
                Some(beside) if !told => beside.tell(accessor, limits.hook).await,
                // Born after it was decided, or with no wish to know.
                _ => pending().await,
            }
        });
        let mut is_leaving = false;
        let mut is_told = told || beside.is_none();
        let mut open = true;
        // An end that is decided is told even if nothing else is left to do.
        while open || !bench.is_empty() || (!is_told && self.identity.fate.is_ending()) {
            tokio::select! {
                biased;
                job = self.jobs.recv(), if open => match job {
                    Some(Job { order: Order { request, head, released }, done }) => {
                        accessor.with(|mut access| access.get().renew());
                        self.shared.meter.allow(limits.cpu, bench.calls.is_empty());
                        let hops = Hops::of(&request);
                        let deep = accessor.with(|mut access| access.get().outgoing().share(hops));
                        let call = async move {
                            let _deep = deep;
                            let answer = p3::call(accessor, service, request).await?;
                            // Nobody waits any more when the exchange has ended.
                            drop(head.send(answer));
                            poll_fn(|cx| released.poll(cx)).await;
                            Ok(())
                        };
                        bench.calls.push((Box::pin(call), done));
                    }
                    None => open = false,
                },
                turned = poll_fn(|cx| bench.turn(accessor, cx)), if !bench.is_empty() => {
                    turned?;
                    self.shared.meter.bound(limits.cpu, bench.calls.len());
                }
                () = self.identity.fate.ending(), if !is_leaving && !told => {
                    is_leaving = true;
                    self.post.withdraw();
                }
                told = &mut telling, if !is_told => {
                    told?;
                    is_told = true;
                }
                () = sleep(self.idle), if open && bench.is_empty() => {
                    open = !self.post.leave_if_idle();
                }
            }
        }
        Ok(())
    }
}

type Done = oneshot::Sender<Result<(), Lost>>;
type Call<'a> = Pin<Box<dyn Future<Output = wasmtime::Result<()>> + Send + 'a>>;

/// What an instance of 0.3 is busy with.
#[derive(Default)]
struct Bench<'a> {
    calls: Vec<(Call<'a>, Done)>,
    /// Calls whose answer has been delivered. Whose task of the guest still runs cannot be said, so
    /// the last one here waits until none does: then a stop and a retirement wait for it.
    resting: Vec<Done>,
}

impl Bench<'_> {
    fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.resting.is_empty()
    }

    /// Ready when something has ended.
    fn turn(
        &mut self,
        accessor: &Accessor<GuestState>,
        cx: &mut Context<'_>,
    ) -> Poll<wasmtime::Result<()>> {
        let before = self.calls.len();
        let mut index = 0;
        while let Some((call, _)) = self.calls.get_mut(index) {
            match call.as_mut().poll(cx) {
                Poll::Pending => index += 1,
                Poll::Ready(Ok(())) => {
                    let (_, done) = self.calls.swap_remove(index);
                    self.resting.push(done);
                }
                Poll::Ready(Err(why)) => {
                    let (_, done) = self.calls.swap_remove(index);
                    drop(done.send(Err(Lost::Failed(GuestFailure::of(&why)))));
                    return Poll::Ready(Err(why));
                }
            }
        }
        let others = !self.calls.is_empty();
        let rest = !self.resting.is_empty()
            && (others || accessor.poll_no_interesting_tasks(cx).is_ready());
        if rest {
            for done in self.resting.drain(..) {
                drop(done.send(Ok(())));
            }
        }
        if rest || self.calls.len() < before { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}
