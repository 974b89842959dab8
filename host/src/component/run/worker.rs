//! The worker of one reusable instance: a task that owns the store and serves the jobs it is given.

use std::any::Any;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tracing::debug;
use wasmtime::Store;
use wasmtime::component::{Accessor, Instance};
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p3::bindings::{Service, ServiceIndices};

use super::blueprint::{Blueprint, Entry};
use super::hooks::Beside;
use super::pooled_instance::{GuestCall, InstanceState, Job, Lost, PoolMembership};
use super::{p2, p3};
use crate::component::imports::request_shutdown;
use crate::component::sandbox::cpu_scheduler::CpuSlot;
use crate::component::sandbox::guest_failure::GuestFailure;
use crate::component::sandbox::hops::Hops;
use crate::component::sandbox::state::{GuestState, Sandbox};

/// All parts of a worker except its store.
pub(crate) struct Worker {
    pub(crate) blueprint: Arc<Blueprint>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) idle: Duration,
    pub(crate) jobs: mpsc::UnboundedReceiver<Job>,
    pub(crate) shared: Arc<InstanceState>,
    pub(crate) membership: PoolMembership,
    /// Its instance has been made and started.
    pub(crate) born: bool,
}

/// Starts the task. It ends when nothing holds its instance any more, when it has been idle for too long,
/// when its generation ends, and at once when it is killed or the generation is cut. A stop waits for it.
pub(crate) fn spawn(worker: Worker) {
    let what = format!("instance generation={}", worker.sandbox.identity.number);
    let kept = worker.blueprint.settings.keeper.keep(what);
    tokio::spawn(worker.live(kept));
}

impl Worker {
    async fn live(mut self, kept: Box<dyn Any + Send>) {
        let (shared, identity) = (self.shared.clone(), self.sandbox.identity.clone());
        let mut store = self.sandbox.store(self.blueprint.code.pre.engine());
        let (slot, cpu) = (store.data().cpu_slot().clone(), self.blueprint.limits().cpu);
        let lived = tokio::select! {
            biased;
            () = shared.kill.cancelled() => Ok(()),
            _ = identity.retirement.cut() => Ok(()),
            lived = metered(&shared, &slot, cpu, self.serve(&mut store)) => lived,
        };
        drop(store);
        if let Err(why) = lived {
            // The jobs that are dropped with the store read the failure there.
            shared.failure.set(GuestFailure::from_error(&why)).ok();
        }
        // The guest may have asked for a stop when no exchange was there to pass it on.
        if shared.takes_shutdown_wish() {
            request_shutdown::stop_process(&self.sandbox.grants);
        }
        self.leave();
        debug!(generation = identity.number, "reusable instance ended");
        shared.ended.cancel();
        drop(kept);
    }

    /// Takes no more jobs, and gives back those that it has not begun.
    fn leave(mut self) {
        self.membership.leave();
        self.jobs.close();
        while let Ok(Job { call, done }) = self.jobs.try_recv() {
            let lost = if self.born {
                Lost::Unserved(Box::new(call))
            } else {
                // Another instance would fail the same way.
                let why = self.shared.failure.get().cloned();
                Lost::Failed(why.unwrap_or(GuestFailure::InstanceLost))
            };
            drop(done.send(Err(lost)));
        }
    }

    /// Serves until the instance ends. Run it metered: its hooks cost CPU time and take CPU slots, as its calls
    /// do.
    async fn serve(&mut self, store: &mut Store<GuestState>) -> wasmtime::Result<()> {
        let blueprint = self.blueprint.clone();
        let (code, limits) = (&blueprint.code, blueprint.limits());
        let (hooks, entry) = (&code.hooks, &code.entry);
        request_shutdown::share(store.data_mut(), self.shared.shutdown.clone());
        let gone = store.data_mut().hooks().gone().on_drop();
        let born_late = self.sandbox.identity.retirement.is_ending();
        if born_late {
            self.membership.withdraw();
        }
        self.shared.meter.allow(limits.cpu, true);
        let instance = blueprint.start(store).await?;
        self.born = true;
        match entry {
            Entry::P2(indices) => {
                let notified = self.serve_p2(store, &instance, indices, born_late).await?;
                if !notified && self.sandbox.identity.retirement.is_ending() {
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

    /// Serves one job after the other. Returns whether the guest has had its `on-drain`.
    async fn serve_p2(
        &mut self,
        store: &mut Store<GuestState>,
        instance: &Instance,
        indices: &ProxyIndices,
        mut notified: bool,
    ) -> wasmtime::Result<bool> {
        let limits = *self.blueprint.limits();
        let proxy = indices.load(&mut *store, instance)?;
        loop {
            tokio::select! {
                biased;
                job = self.jobs.recv() => {
                    let Some(Job { call: GuestCall { request, head, .. }, done }) = job else { break };
                    store.data().renew();
                    self.shared.meter.allow(limits.cpu, true);
                    let _deep = store.data_mut().hooks().share(Hops::in_request(&request));
                    match p2::call(&mut *store, &proxy, request, head).await {
                        Ok(()) => drop(done.send(Ok(()))),
                        Err(why) => {
                            drop(done.send(Err(Lost::Failed(GuestFailure::from_error(&why)))));
                            return Err(why);
                        }
                    }
                }
                () = self.sandbox.identity.retirement.ending(), if !notified => {
                    notified = true;
                    self.membership.withdraw();
                    self.shared.meter.allow(limits.cpu, true);
                    self.blueprint.code.hooks.drain(&mut *store, instance, limits.hook).await?;
                }
                () = sleep(self.idle) => if self.membership.leave_if_idle() {
                    break;
                },
            }
        }
        Ok(notified)
    }

    /// Serves several jobs at once.
    async fn serve_p3(
        &mut self,
        store: &mut Store<GuestState>,
        instance: &Instance,
        indices: &ServiceIndices,
        notified: bool,
    ) -> wasmtime::Result<()> {
        let service = indices.load(&mut *store, instance)?;
        let beside = self.blueprint.code.hooks.beside(store, instance)?;
        let serve = async |accessor: &Accessor<GuestState>| {
            self.loop_p3(accessor, &service, beside.as_ref(), notified).await
        };
        store.run_concurrent(serve).await?
    }

    async fn loop_p3(
        &mut self,
        accessor: &Accessor<GuestState>,
        service: &Service,
        beside: Option<&Beside>,
        notified: bool,
    ) -> wasmtime::Result<()> {
        let limits = *self.blueprint.limits();
        let mut calls = Calls::default();
        let mut telling = std::pin::pin!(async {
            match beside {
                Some(beside) if !notified => beside.tell(accessor, limits.hook).await,
                // The instance was made after the end had been decided, or has no `on-drain`.
                _ => pending().await,
            }
        });
        let mut is_leaving = false;
        let mut is_notified = notified || beside.is_none();
        let mut open = true;
        // If the end is decided, call `on-drain` even if no other work is left.
        while open
            || !calls.is_empty()
            || (!is_notified && self.sandbox.identity.retirement.is_ending())
        {
            tokio::select! {
                biased;
                job = self.jobs.recv(), if open => match job {
                    Some(Job { call, done }) => {
                        self.shared.meter.allow(limits.cpu, calls.running.is_empty());
                        calls.running.push((serve_call(accessor, service, call), done));
                    }
                    None => open = false,
                },
                ended = poll_fn(|cx| calls.poll_ended(accessor, cx)), if !calls.is_empty() => {
                    ended?;
                    self.shared.meter.bound(limits.cpu, calls.running.len());
                }
                () = self.sandbox.identity.retirement.ending(), if !is_leaving && !notified => {
                    is_leaving = true;
                    self.membership.withdraw();
                }
                called = &mut telling, if !is_notified => {
                    called?;
                    is_notified = true;
                }
                () = sleep(self.idle), if open && calls.is_empty() => {
                    open = !self.membership.leave_if_idle();
                }
            }
        }
        Ok(())
    }
}

/// Measures the CPU time of polling `future`, and ends it when that exceeds the limit.
async fn metered<T>(
    shared: &InstanceState,
    slot: &CpuSlot,
    limit: Duration,
    future: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    let (mut future, mut wait) = (pin!(future), None);
    poll_fn(|cx| {
        ready!(slot.poll_slot(&mut wait, cx));
        let (polled, took) = slot.poll(|| future.as_mut().poll(cx));
        let within = shared.meter.spend(took);
        if polled.is_pending() && !within {
            // Before its jobs are dropped with it.
            shared.failure.set(GuestFailure::CpuTime(limit)).ok();
            return Poll::Ready(Err(GuestFailure::CpuTime(limit).into()));
        }
        polled
    })
    .await
}

/// Serves one of several exchanges, until its response is released.
fn serve_call<'a>(
    accessor: &'a Accessor<GuestState>,
    service: &'a Service,
    GuestCall { request, head, released }: GuestCall,
) -> Call<'a> {
    let hops = Hops::in_request(&request);
    let deep = accessor.with(|mut access| {
        access.get().renew();
        access.get().hooks().share(hops)
    });
    Box::pin(async move {
        let _deep = deep;
        let answer = p3::call(accessor, service, request).await?;
        // The receiver is gone when the exchange has ended.
        drop(head.send(answer));
        poll_fn(|cx| released.poll(cx)).await;
        Ok(())
    })
}

type Done = oneshot::Sender<Result<(), Lost>>;
type Call<'a> = Pin<Box<dyn Future<Output = wasmtime::Result<()>> + Send + 'a>>;

/// The calls of a 0.3 instance.
#[derive(Default)]
struct Calls<'a> {
    running: Vec<(Call<'a>, Done)>,
    /// Calls whose response has been delivered. The host cannot tell to which of them a running task of the
    /// guest belongs, so they rest here until no task runs. A stop and a retirement wait for them.
    resting: Vec<Done>,
}

impl Calls<'_> {
    fn is_empty(&self) -> bool {
        self.running.is_empty() && self.resting.is_empty()
    }

    /// Ready when a call has ended.
    fn poll_ended(
        &mut self,
        accessor: &Accessor<GuestState>,
        cx: &mut Context<'_>,
    ) -> Poll<wasmtime::Result<()>> {
        let before = self.running.len();
        let mut index = 0;
        while let Some((call, _)) = self.running.get_mut(index) {
            match call.as_mut().poll(cx) {
                Poll::Pending => index += 1,
                Poll::Ready(Ok(())) => {
                    let (_, done) = self.running.swap_remove(index);
                    self.resting.push(done);
                }
                Poll::Ready(Err(why)) => {
                    let (_, done) = self.running.swap_remove(index);
                    drop(done.send(Err(Lost::Failed(GuestFailure::from_error(&why)))));
                    return Poll::Ready(Err(why));
                }
            }
        }
        let others = !self.running.is_empty();
        let rest = !self.resting.is_empty()
            && (others || accessor.poll_no_interesting_tasks(cx).is_ready());
        if rest {
            for done in self.resting.drain(..) {
                drop(done.send(Ok(())));
            }
        }
        if rest || self.running.len() < before { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}
