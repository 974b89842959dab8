//! Instances that serve more than one exchange: an operator's choice, off by default.
//!
//! ```text
//! exchange ─→ InstancePool::lend ─→ Lease ─→ Job ─→ worker (one store)
//!     │               ▲                              ▲   │
//!     └───────────────│────────── polls ─────────────┘   │
//!                     └──────── instance given back ◄────┘
//! ```
//!
//! An instance may serve several exchanges at once (0.3) and outlives each of them, so its worker belongs to a
//! task of its own ([`InstanceTask`]). The exchanges poll it all the same, so most requests need no switch of
//! tasks. Dropping a lease halfway ends the guest, as for any exchange, unless the same instance serves others.
//! Then the instance takes no new ones and ends with the last of them. A pool belongs to one generation, so no
//! state crosses from one to another.

use std::any::Any;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use host_manifest::ReuseConfig;
use http::Request;
use tokio::sync::oneshot;
use tokio::task::coop::unconstrained;
use wasmtime_wasi_http::WasiBody;

use super::blueprint::Blueprint;
use super::free_instances::{FreeInstances, PoolMembership};
use super::instance::{Kept, Release, Running};
use super::instance_task::InstanceTask;
use super::pooled_instance::{GuestCall, InstanceState, Job, Lost, PooledInstance};
use super::shared_guest::SharedGuest;
use super::worker::Worker;
use crate::component::code::survey::Kind;
use crate::component::imports::request_shutdown;
use crate::component::sandbox::served::ServedExchange;
use crate::component::sandbox::terms::Sandbox;

/// The reusable instances of one generation. Dropping it ends the idle ones.
pub(crate) struct InstancePool {
    blueprint: Arc<Blueprint>,
    sandbox: Arc<Sandbox>,
    free: Arc<FreeInstances>,
    /// How long an instance waits for its next exchange.
    idle: Duration,
}

/// The right to one exchange on an instance. Dropping it gives the instance back, or ends the instance if
/// the guest was not done.
struct Lease {
    pool: Arc<InstancePool>,
    instance: Arc<PooledInstance>,
    done: bool,
}

impl InstancePool {
    pub(crate) fn new(
        blueprint: Arc<Blueprint>,
        sandbox: Arc<Sandbox>,
        reuse: ReuseConfig,
    ) -> Arc<Self> {
        let concurrency = match blueprint.code.kind {
            // A 0.2 instance runs one call at a time.
            Kind::P2 => 1,
            Kind::P3 => reuse.concurrency.max(1),
        };
        let reuse = ReuseConfig { concurrency, ..reuse };
        let free = FreeInstances::new(reuse, blueprint.settings.idle.clone());
        Arc::new(Self { blueprint, sandbox, free, idle: reuse.idle })
    }

    /// Serves one request on an instance that has served before, or on a new one.
    pub(crate) fn start(
        self: &Arc<Self>,
        request: Request<WasiBody>,
        exchange: Option<ServedExchange>,
    ) -> Running {
        let (send, head) = oneshot::channel();
        let release = Release::default();
        let released = release.clone();
        let mut call = GuestCall { request, exchange, head: send, released: release.clone() };
        let pool = self.clone();
        let guest = async move {
            loop {
                let mut lease = pool.clone().lend();
                match lease.serve(call).await {
                    Ok(()) => {
                        lease.done = true;
                        return Ok(Kept::Share { _share: lease.end(&released).await });
                    }
                    Err(Lost::Failed(why)) => return Err(why.into()),
                    // Each time an instance has ended for good, and a new one that fails before it begins gives
                    // another error. So the loop ends.
                    Err(Lost::Unserved(again)) => call = *again,
                }
            }
        };
        // The worker meters the guest itself.
        Running::new(Box::pin(guest), head, Duration::MAX, release, None)
    }

    fn lend(self: Arc<Self>) -> Lease {
        let free = if self.is_ending() { None } else { self.free.take() };
        let instance = free.unwrap_or_else(|| self.spawn_instance());
        Lease { pool: self, instance, done: false }
    }

    fn is_ending(&self) -> bool {
        self.sandbox.identity.retirement.is_ending()
    }

    /// Makes a new instance, on which an exchange has begun.
    fn spawn_instance(&self) -> Arc<PooledInstance> {
        let state = Arc::<InstanceState>::default();
        let (blueprint, sandbox) = (self.blueprint.clone(), self.sandbox.clone());
        let worker = Worker { blueprint, sandbox, state: state.clone() };
        let guest = Arc::new(SharedGuest::new(Box::pin(worker.live())));
        let instance = Arc::new(PooledInstance::new(guest.clone(), state.clone()));
        // Before its task starts, because that withdraws the instance when its generation ends.
        self.free.add(&instance);
        let membership = PoolMembership::new(&self.free, &instance);
        InstanceTask::spawn(&self.blueprint, &self.sandbox, (guest, state), membership, self.idle);
        instance
    }
}

impl Lease {
    /// Returns what must live until the response has been delivered. The last exchange of an instance also
    /// waits for its `on-shutdown`, so that the hook still counts as one of the instances.
    async fn end(self, released: &Release) -> Box<dyn Any + Send> {
        let pool = &self.pool;
        if !pool.blueprint.code.has_shutdown
            || !pool.free.is_last_exchange(&self.instance, pool.is_ending())
        {
            return Box::new(self);
        }
        released.mark_returned();
        poll_fn(|_| released.poll()).await;
        let state = self.instance.state().clone();
        drop(self);
        state.ended.cancelled().await;
        Box::new(())
    }

    async fn serve(&self, call: GuestCall) -> Result<(), Lost> {
        let released = call.released.clone();
        let (done, outcome) = oneshot::channel();
        self.instance.push(Job { call, done }).map_err(Lost::Unserved)?;
        // The outcome decides whether a message is whole, so tokio may not put it off to the task's next
        // poll.
        let mut outcome = pin!(unconstrained(outcome));
        let outcome = poll_fn(|cx| {
            if released.poll().is_ready() {
                self.instance.mark();
            }
            if self.instance.is_woken() {
                // An outcome that this very poll brings wakes nothing.
                let seen_below = outcome.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                if seen_below.is_ready() {
                    return seen_below;
                }
            }
            let meter = &self.instance.state().meter;
            let before = meter.spent();
            self.instance.poll(cx);
            released.spend(meter.spent().saturating_sub(before));
            outcome.as_mut().poll(cx)
        });
        outcome.await.unwrap_or_else(|_| Err(Lost::Failed(self.instance.state().why_lost())))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.free.give_back(&self.instance, self.done, self.pool.is_ending());
        // The response of the exchange that asked has been delivered.
        if self.instance.state().takes_shutdown_wish() {
            request_shutdown::stop_process(&self.pool.sandbox.grants);
        }
    }
}
