//! A reusable instance as its pool and its exchanges see it, and the messages between them and its worker.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use host_manifest::ReuseConfig;
use http::Request;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::WasiBody;

use super::cpu_meter::CpuMeter;
use super::instance::{Head, Release};
use crate::component::sandbox::guest_failure::GuestFailure;

/// Room for idle instances of all components. The engine's pool has as much room for them as for those that
/// serve, so idle instances take no room from those. Cheap to clone.
#[derive(Clone, Debug)]
pub struct IdleRoom(Arc<Semaphore>);

impl IdleRoom {
    /// Room for this many instances.
    #[must_use]
    pub fn new(instances: usize) -> Self {
        Self(Arc::new(Semaphore::new(instances)))
    }
}

/// One exchange, on its way to a worker.
pub(crate) struct Job {
    pub(crate) call: GuestCall,
    /// Sent when the guest has no more work for this exchange. Dropped before the store if the instance is
    /// lost, so the reader of an ended body can tell whether the guest ended it.
    pub(crate) done: oneshot::Sender<Result<(), Lost>>,
}

/// The parts of an exchange that an instance needs.
pub(crate) struct GuestCall {
    pub(crate) request: Request<WasiBody>,
    pub(crate) head: oneshot::Sender<Head>,
    pub(crate) released: Release,
}

/// Why an instance did not serve an exchange to its end.
pub(crate) enum Lost {
    Failed(GuestFailure),
    /// The instance ended before it began with the exchange. Another instance may serve it.
    Unserved(Box<GuestCall>),
}

/// One instance, seen from outside. Its worker ends when the last reference is dropped.
pub(crate) struct PooledInstance {
    jobs: mpsc::UnboundedSender<Job>,
    /// Exchanges that it serves now. Changes only under the lock of [`FreeInstances`].
    active: AtomicU32,
    /// Exchanges that it has begun in its life.
    begun: AtomicU32,
    broken: AtomicBool,
    pub(crate) shared: Arc<InstanceState>,
}

/// The state that a worker and its pool share.
#[derive(Default)]
pub(crate) struct InstanceState {
    /// Ends the worker at once.
    pub(crate) kill: CancellationToken,
    /// The worker has ended.
    pub(crate) ended: CancellationToken,
    /// The failure that ended it, if there was one.
    pub(crate) failure: OnceLock<GuestFailure>,
    /// The guest wants the process to stop.
    pub(crate) shutdown: Arc<AtomicBool>,
    pub(crate) meter: CpuMeter,
    /// Held from the end of an exchange to the next one, or to the end of the instance. Changes only under the
    /// lock of [`FreeInstances`].
    room: Mutex<Option<OwnedSemaphorePermit>>,
}

impl InstanceState {
    /// Whether the instance may wait for its next exchange.
    fn finds_room(&self, idle: &IdleRoom) -> bool {
        let mut room = self.room();
        if room.is_none() {
            *room = idle.0.clone().try_acquire_owned().ok();
        }
        room.is_some()
    }

    fn room(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the guest has asked for a stop since the last call.
    pub(crate) fn takes_shutdown_wish(&self) -> bool {
        self.shutdown.swap(false, Ordering::Relaxed)
    }
}

impl PooledInstance {
    /// An instance whose worker is about to start, and the worker's end of the channel.
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Job>) {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let instance = Arc::new(Self {
            jobs,
            active: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            broken: AtomicBool::new(false),
            shared: Arc::default(),
        });
        (instance, inbox)
    }

    /// Sends it an exchange.
    ///
    /// # Errors
    /// Gives the call back if the worker has ended.
    pub(crate) fn send(&self, job: Job) -> Result<(), Box<GuestCall>> {
        self.jobs.send(job).map_err(|mpsc::error::SendError(Job { call, .. })| Box::new(call))
    }

    fn begin_exchange(&self) {
        *self.shared.room() = None;
        self.active.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    fn has_room(&self, reuse: &ReuseConfig) -> bool {
        self.active.load(Ordering::Relaxed) < reuse.concurrency
            && self.begun.load(Ordering::Relaxed) < reuse.exchanges
            && !self.broken.load(Ordering::Relaxed)
    }
}

/// The instances of a pool that can take another exchange.
pub(crate) struct FreeInstances {
    reuse: ReuseConfig,
    idle: IdleRoom,
    /// Locked for a few instructions.
    free: Mutex<Vec<Arc<PooledInstance>>>,
}

impl FreeInstances {
    pub(crate) fn new(reuse: ReuseConfig, idle: IdleRoom) -> Arc<Self> {
        Arc::new(Self { reuse, idle, free: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<PooledInstance>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the instance that was given back last, because its memory is warm, and begins an exchange on it.
    pub(crate) fn take(&self) -> Option<Arc<PooledInstance>> {
        let mut free = self.lock();
        let instance = free.last()?.clone();
        instance.begin_exchange();
        if !instance.has_room(&self.reuse) {
            free.pop();
        }
        Some(instance)
    }

    /// Begins an exchange on a new instance, and offers it to others if it can take more.
    pub(crate) fn add(&self, instance: &Arc<PooledInstance>) {
        instance.begin_exchange();
        if instance.has_room(&self.reuse) {
            self.lock().push(instance.clone());
        }
    }

    /// Whether an instance ends with the exchange that it is serving. `ending` says that its generation ends.
    pub(crate) fn is_last_exchange(&self, instance: &Arc<PooledInstance>, ending: bool) -> bool {
        let mut free = self.lock();
        let alone = instance.active.load(Ordering::Relaxed) == 1;
        if alone {
            self.find_room(&mut free, instance);
        }
        let used_up = instance.begun.load(Ordering::Relaxed) >= self.reuse.exchanges;
        drop(free);
        alone && (used_up || ending)
    }

    /// Ends an exchange. An instance that did not serve it to the end (`whole` is false) serves no other.
    pub(crate) fn give_back(&self, instance: &Arc<PooledInstance>, whole: bool, ending: bool) {
        let mut free = self.lock();
        let had_room = instance.has_room(&self.reuse);
        let left = instance.active.fetch_sub(1, Ordering::Relaxed) - 1;
        if !whole {
            instance.broken.store(true, Ordering::Relaxed);
            free.retain(|other| !Arc::ptr_eq(other, instance));
        }
        if instance.broken.load(Ordering::Relaxed) {
            if left == 0 {
                instance.shared.kill.cancel();
            }
            return;
        }
        if left == 0 {
            self.find_room(&mut free, instance);
        }
        let is_new_room = !had_room && instance.has_room(&self.reuse);
        if is_new_room && !ending {
            free.push(instance.clone());
        }
    }

    /// Finds room for an instance to wait in. Without room the instance is used up: it ends in order, and a
    /// later exchange makes another.
    fn find_room(&self, free: &mut Vec<Arc<PooledInstance>>, instance: &Arc<PooledInstance>) {
        if !instance.shared.finds_room(&self.idle) {
            instance.begun.store(self.reuse.exchanges, Ordering::Relaxed);
            free.retain(|other| !Arc::ptr_eq(other, instance));
        }
    }
}

/// A worker's means to take its instance out of the pool. It keeps neither alive.
pub(crate) struct PoolMembership {
    free: Weak<FreeInstances>,
    instance: Weak<PooledInstance>,
}

impl PoolMembership {
    pub(crate) fn new(free: &Arc<FreeInstances>, instance: &Arc<PooledInstance>) -> Self {
        Self { free: Arc::downgrade(free), instance: Arc::downgrade(instance) }
    }

    /// Leaves the pool for good, with or without exchanges under way.
    pub(crate) fn leave(&self) {
        if let Some(instance) = self.instance.upgrade() {
            instance.broken.store(true, Ordering::Relaxed);
        }
        self.withdraw();
    }

    /// Stops offering the instance. From then on only leases hold it, so it ends with the last of them.
    pub(crate) fn withdraw(&self) {
        let (Some(free), Some(instance)) = (self.free.upgrade(), self.instance.upgrade()) else {
            return;
        };
        free.lock().retain(|other| !Arc::ptr_eq(other, &instance));
    }

    /// Leaves for good if no exchange is being served; after that none can come.
    pub(crate) fn leave_if_idle(&self) -> bool {
        let (Some(free), Some(instance)) = (self.free.upgrade(), self.instance.upgrade()) else {
            return true;
        };
        let mut free = free.lock();
        let idle = instance.active.load(Ordering::Relaxed) == 0;
        if idle {
            free.retain(|other| !Arc::ptr_eq(other, &instance));
        }
        idle
    }
}
