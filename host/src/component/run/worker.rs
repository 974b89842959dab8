//! The worker of one reusable instance: the future that owns the store and serves the jobs it is given. The
//! instance's exchanges and its task poll it ([`SharedGuest`](super::shared_guest::SharedGuest)).

use std::future::poll_fn;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::{Accessor, Instance};
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p3::bindings::{Service, ServiceIndices};

use super::blueprint::Blueprint;
use super::hooks::Beside;
use super::linked_code::{Entry, LinkedCode};
use super::pooled_instance::{GuestCall, InstanceState, Job, Lost, Order};
use super::{p2, p3};
use crate::component::imports::request_shutdown;
use crate::component::sandbox::cpu_scheduler::CpuSlot;
use crate::component::sandbox::guest_failure::GuestFailure;
use crate::component::sandbox::hops::Hops;
use crate::component::sandbox::served::Served;
use crate::component::sandbox::state::GuestState;
use crate::component::sandbox::terms::Sandbox;

/// All parts of a worker except its store.
pub(crate) struct Worker {
    pub(crate) blueprint: Arc<Blueprint>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) state: Arc<InstanceState>,
}

impl Worker {
    /// Makes the instance, and serves until it ends.
    pub(crate) async fn live(self) {
        let mut store = self.sandbox.store(&self.blueprint.code.engine);
        store.data_mut().hooks().serve(Served::shared());
        let (slot, cpu) = (store.data().cpu_slot().clone(), self.blueprint.limits().cpu);
        if let Err(why) = metered(&self.state, &slot, cpu, self.serve(&mut store)).await {
            let why = store.data().explain(why);
            // The jobs that are dropped with the store read the failure there.
            self.state.failure.set(GuestFailure::from_error(&why)).ok();
        }
    }

    /// Serves until the instance ends. Run it metered: its hooks cost CPU time and take CPU slots, as its calls
    /// do.
    async fn serve(&self, store: &mut Store<GuestState>) -> wasmtime::Result<()> {
        let limits = self.blueprint.limits();
        request_shutdown::share(store.data_mut(), self.state.shutdown.clone());
        let gone = store.data_mut().hooks().gone().on_drop();
        let born_late = self.sandbox.identity.retirement.is_ending();
        // To wait for code costs no time, but is metered.
        self.state.meter.allow(limits.cpu, true);
        let code = self.blueprint.code().await?;
        let (hooks, entry) = (&code.hooks, &code.entry);
        let instance = self.blueprint.start(store, &code).await?;
        self.state.set_born();
        match entry {
            Entry::P2(indices) => {
                let notified = self.serve_p2((store, &instance), &code, indices, born_late).await?;
                if !notified && self.sandbox.identity.retirement.is_ending() {
                    self.state.meter.allow(limits.cpu, true);
                    hooks.drain(store, &instance, limits.hook).await?;
                }
            }
            Entry::P3(indices) => {
                self.serve_p3((store, &instance), &code, indices, born_late).await?;
            }
        }
        self.state.meter.allow(limits.cpu, true);
        hooks.shutdown(store, &instance, limits.hook).await;
        gone.defuse();
        Ok(())
    }

    /// Serves one job after the other. Returns whether the guest has had its `on-drain`.
    async fn serve_p2(
        &self,
        (store, instance): (&mut Store<GuestState>, &Instance),
        code: &LinkedCode,
        indices: &ProxyIndices,
        mut notified: bool,
    ) -> wasmtime::Result<bool> {
        let limits = *self.blueprint.limits();
        let proxy = indices.load(&mut *store, instance)?;
        loop {
            // Polled for each order.
            let order = poll_fn(|_| self.state.next(notified).map_or(Poll::Pending, Poll::Ready));
            match order.await {
                Order::Serve(job) => {
                    let Job { call: GuestCall { request, exchange, head, .. }, done } = *job;
                    store.data().renew();
                    self.state.meter.allow(limits.cpu, true);
                    let hops = Hops::in_request(&request);
                    let _served = store.data_mut().hooks().served().add(exchange, hops);
                    match p2::call(&mut *store, &proxy, request, head).await {
                        Ok(()) => drop(done.send(Ok(()))),
                        Err(why) => {
                            let why = store.data().explain(why);
                            drop(done.send(Err(Lost::Failed(GuestFailure::from_error(&why)))));
                            return Err(why);
                        }
                    }
                }
                Order::Notify => {
                    notified = true;
                    self.state.meter.allow(limits.cpu, true);
                    code.hooks.drain(&mut *store, instance, limits.hook).await?;
                }
                Order::End => break,
            }
        }
        Ok(notified)
    }

    /// Serves several jobs at once.
    async fn serve_p3(
        &self,
        (store, instance): (&mut Store<GuestState>, &Instance),
        code: &LinkedCode,
        indices: &ServiceIndices,
        notified: bool,
    ) -> wasmtime::Result<()> {
        let service = indices.load(&mut *store, instance)?;
        let beside = code.hooks.beside(store, instance)?;
        let serve = async |accessor: &Accessor<GuestState>| {
            self.loop_p3(accessor, &service, beside.as_ref(), notified).await
        };
        store.run_concurrent(serve).await?
    }

    async fn loop_p3(
        &self,
        accessor: &Accessor<GuestState>,
        service: &Service,
        beside: Option<&Beside>,
        notified: bool,
    ) -> wasmtime::Result<()> {
        let limits = *self.blueprint.limits();
        let mut calls = Calls::default();
        let mut telling = pin!(async {
            match beside {
                Some(beside) => beside.tell(accessor, limits.hook).await,
                None => Ok(()),
            }
        });
        // An instance that was made after the end had been decided needs no `on-drain`.
        let (mut is_told, mut is_notified) = (notified, notified);
        poll_fn(|cx| {
            loop {
                let order = self.state.next(is_told);
                if let Some(Order::Serve(job)) = order {
                    let Job { call, done } = *job;
                    self.state.meter.allow(limits.cpu, calls.running.is_empty());
                    calls.running.push((serve_call(accessor, service, call), done));
                    continue;
                }
                if !calls.is_empty()
                    && let Poll::Ready(ended) = calls.poll_ended(accessor, cx)
                {
                    ended?;
                    self.state.meter.bound(limits.cpu, calls.running.len());
                    continue;
                }
                let is_over = matches!(order, Some(Order::End)) && calls.is_empty();
                // Once the end is decided, `on-drain` is called even if no other work is left.
                is_told |= matches!(order, Some(Order::Notify))
                    || (is_over && self.sandbox.identity.retirement.is_ending());
                if is_told && !is_notified {
                    ready!(telling.as_mut().poll(cx))?;
                    is_notified = true;
                    continue;
                }
                return if is_over { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
        })
        .await
    }
}

/// Measures the CPU time of polling `future`, and ends it when that exceeds the limit.
async fn metered<T>(
    state: &InstanceState,
    slot: &CpuSlot,
    limit: Duration,
    future: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    let (mut future, mut wait) = (pin!(future), None);
    poll_fn(|cx| {
        ready!(slot.poll_slot(&mut wait, cx));
        let (polled, took) = slot.poll(|| future.as_mut().poll(cx));
        let within = state.meter.spend(took);
        if polled.is_pending() && !within {
            // Before its jobs are dropped with it.
            state.failure.set(GuestFailure::CpuTime(limit)).ok();
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
    GuestCall { request, exchange, head, released }: GuestCall,
) -> Call<'a> {
    let hops = Hops::in_request(&request);
    let served = accessor.with(|mut access| {
        access.get().renew();
        access.get().hooks().served().add(exchange, hops)
    });
    Box::pin(async move {
        let _served = served;
        let answer = p3::call(accessor, service, request).await?;
        // The receiver is gone when the exchange has ended.
        drop(head.send(answer));
        poll_fn(|_| released.poll()).await;
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
                    let why = accessor.with(|mut access| access.get().explain(why));
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
