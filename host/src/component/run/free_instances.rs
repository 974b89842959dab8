//! The instances of a pool that can take another exchange.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use host_manifest::ReuseConfig;
use host_shards::{OwnLines, Sharded};

use super::idle_room::IdleRoom;
use super::pooled_instance::{PooledInstance, Seats};

/// The instances of a pool that can take another exchange.
pub(crate) struct FreeInstances {
    reuse: ReuseConfig,
    idle: IdleRoom,
    /// Locked for a few instructions, and, but for a thread that finds its own list empty, by one thread.
    lists: Sharded<OwnLines<List>>,
}

#[derive(Default)]
struct List(Mutex<Vec<Arc<PooledInstance>>>);

impl List {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<PooledInstance>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out what was put in last, because its memory is warm.
    fn pop(&self) -> Option<Arc<PooledInstance>> {
        self.lock().pop()
    }

    /// The same, but leaves those on which others are served right now.
    fn steal(&self) -> Option<Arc<PooledInstance>> {
        let mut list = self.lock();
        let last = list.iter().rposition(|instance| !instance.is_busy())?;
        Some(list.remove(last))
    }
}

impl FreeInstances {
    pub(crate) fn new(reuse: ReuseConfig, idle: IdleRoom) -> Arc<Self> {
        Arc::new(Self { reuse, idle, lists: Sharded::default() })
    }

    /// Begins an exchange on an instance that has room for it: one that this thread has used, else one of another
    /// thread. None if there is none but those on which other threads are at work: a new one is better than to
    /// wait for these.
    pub(crate) fn take(&self) -> Option<Arc<PooledInstance>> {
        let warm = std::iter::from_fn(|| self.lists.mine().pop());
        let others = self.lists.iter().flat_map(|list| std::iter::from_fn(|| list.steal()));
        warm.chain(others).find(|instance| {
            let mut seats = instance.seats();
            seats.listed = false;
            let begun = instance.begin(&mut seats, &self.reuse);
            self.list(instance, &mut seats);
            begun
        })
    }

    /// Begins an exchange on a new instance, and offers it to others if it can take more.
    pub(crate) fn add(&self, instance: &Arc<PooledInstance>) {
        let mut seats = instance.seats();
        instance.begin(&mut seats, &self.reuse);
        self.list(instance, &mut seats);
    }

    /// Offers an instance, if it can take more and is not on offer.
    fn list(&self, instance: &Arc<PooledInstance>, seats: &mut Seats) {
        if !seats.listed && instance.has_room(seats, &self.reuse) {
            seats.listed = true;
            self.lists.mine().lock().push(instance.clone());
        }
    }

    /// Takes an instance out of the lists. Something keeps it from being offered again.
    fn unlist(&self, instance: &Arc<PooledInstance>) {
        for list in self.lists.iter() {
            list.lock().retain(|other| !Arc::ptr_eq(other, instance));
        }
    }

    /// Whether an instance ends with the exchange that it is serving. `ending` says that its generation ends.
    pub(crate) fn is_last_exchange(&self, instance: &Arc<PooledInstance>, ending: bool) -> bool {
        let mut seats = instance.seats();
        if instance.is_alone() {
            instance.rest(&mut seats, &self.reuse, &self.idle);
        }
        let is_last = instance.is_at_last(&seats, &self.reuse, ending);
        drop(seats);
        if is_last {
            self.unlist(instance);
        }
        is_last
    }

    /// Ends an exchange. An instance that did not serve it to the end (`whole` is false) serves no other.
    pub(crate) fn give_back(&self, instance: &Arc<PooledInstance>, whole: bool, ending: bool) {
        let mut seats = instance.seats();
        let is_over = instance.finish(&mut seats, whole);
        let is_killed = is_over && seats.is_broken();
        if is_over && !is_killed {
            instance.rest(&mut seats, &self.reuse, &self.idle);
        }
        if !ending {
            self.list(instance, &mut seats);
        }
        let is_offered = seats.listed && !instance.has_room(&seats, &self.reuse);
        drop(seats);
        if is_offered {
            self.unlist(instance);
        }
        if is_killed {
            instance.kill();
        }
    }
}

/// The means to take an instance out of its pool. It keeps neither alive.
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
        self.go(Seats::break_off);
    }

    /// Stops offering the instance. From then on only leases hold it, so it ends with the last of them.
    pub(crate) fn withdraw(&self) {
        self.go(Seats::withdraw);
    }

    fn go(&self, how: impl FnOnce(&mut Seats)) {
        let Some(instance) = self.instance.upgrade() else { return };
        how(&mut instance.seats());
        if let Some(free) = self.free.upgrade() {
            free.unlist(&instance);
        }
    }

    /// Leaves for good if it has waited for an exchange for as long as `idle`; after that none can come. Else says
    /// how long to wait before the next look.
    pub(crate) fn leave_if_idle(&self, idle: Duration) -> Option<Duration> {
        let instance = self.instance.upgrade()?;
        let mut seats = instance.seats();
        let left = instance.idle_left(&seats, idle);
        if !left.is_zero() {
            return Some(left);
        }
        seats.withdraw();
        drop(seats);
        self.withdraw();
        None
    }
}

#[cfg(test)]
#[path = "free_instances_tests.rs"]
mod tests;
