//! Guards: something is in flight because a guard exists, and for no other reason.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_shards::{OwnLines, SHARDS, Sharded, my_index};
use slab::Slab;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// What something in flight is called: text for people, and for whoever knows the type behind it
/// the thing itself.
///
/// Everything that can be printed is one. Upcast a `&dyn Named` to `&dyn Any` to ask for its type.
pub trait Named: Any + fmt::Display + Send + Sync {}

impl<T: Any + fmt::Display + Send + Sync> Named for T {}

/// A name that its tracker and whoever lists the tracker share. It may outlive the thing.
pub type Name = Arc<dyn Named>;

/// One thing in flight, as it stood at the moment of looking: see [`Tracker::list`]. Holds nothing in
/// flight: it may end meanwhile.
#[derive(Clone)]
pub struct InFlight {
    /// The number of its guard.
    pub id: u64,
    /// What it is called.
    pub name: Name,
    /// When it began.
    pub since: Instant,
}

/// Counts and names what is in flight. Cloning gives another handle to the same tracker.
#[derive(Clone)]
pub struct Tracker {
    shared: Arc<Shared>,
}

struct Shared {
    /// What begins and ends on one thread writes nothing that another thread writes.
    shards: Sharded<Arc<Shard>>,
    /// What a wait for the last guard rests on; its counter is shared by all threads.
    tokens: Option<TaskTracker>,
}

/// What begins on a thread. Its guards hold it, so that they count up no handles of all threads either.
#[derive(Default)]
struct Shard(OwnLines<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    here: Slab<Entry>,
    sequence: u64,
    finished: u64,
    cut: u64,
}

struct Entry {
    what: Name,
    id: u64,
    since: Instant,
}

/// One thing in flight. Made by [`Tracker::guard`]; dropping it ends the thing and counts it as
/// finished, unless it was marked as cut.
#[must_use = "a guard that is dropped at once guards nothing"]
pub struct Guard {
    shard: Arc<Shard>,
    _token: Option<TaskTrackerToken>,
    key: usize,
    id: u64,
    cut: bool,
}

/// How many things ended in which way since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Came to their own end.
    pub finished: u64,
    /// Were ended by force.
    pub cut: u64,
}

impl Tracker {
    /// A tracker whose last guard can be waited for.
    #[must_use]
    pub fn awaited() -> Self {
        Self::with_tokens(Some(TaskTracker::new()))
    }

    /// A tracker that only counts and names: nothing in it is shared by all threads.
    #[must_use]
    pub fn named() -> Self {
        Self::with_tokens(None)
    }

    fn with_tokens(tokens: Option<TaskTracker>) -> Self {
        Self { shared: Arc::new(Shared { shards: Sharded::default(), tokens }) }
    }

    /// Takes note of something that begins now.
    pub fn guard(&self, what: Name) -> Guard {
        self.guard_since(what, Instant::now())
    }

    /// Takes note of something that has begun at `since`: for who knows the time already.
    pub fn guard_since(&self, what: Name, since: Instant) -> Guard {
        let shard = self.shared.shards.mine().clone();
        let (key, id) = {
            let mut entries = shard.entries();
            entries.sequence += 1;
            let id = entries.sequence * SHARDS as u64 + my_index() as u64;
            (entries.here.insert(Entry { what, id, since }), id)
        };
        let _token = self.shared.tokens.as_ref().map(TaskTracker::token);
        Guard { shard, _token, key, id, cut: false }
    }

    /// How many are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.shards.iter().map(|shard| shard.entries().here.len()).sum()
    }

    /// Waits until none is in flight; not at all for a tracker that only names. Cancel-safe;
    /// bounded by whoever calls.
    pub(super) async fn idle(&self) {
        if let Some(tokens) = &self.shared.tokens {
            tokens.close();
            tokens.wait().await;
        }
    }

    /// What is in flight, oldest first. No lock is held when it returns, so looking at many takes
    /// nothing from who begins or ends.
    #[must_use]
    pub fn list(&self) -> Vec<InFlight> {
        let mut all = Vec::new();
        for shard in self.shared.shards.iter() {
            let entries = shard.entries();
            all.extend(entries.here.iter().map(|(_, entry)| InFlight {
                id: entry.id,
                name: entry.what.clone(),
                since: entry.since,
            }));
        }
        all.sort_by_key(|one| one.since);
        all
    }

    /// Names of what is in flight, oldest first, with their ages.
    pub(super) fn survivors(&self) -> Vec<String> {
        let now = Instant::now();
        let line =
            |one: InFlight| format!("{} age={:.3}s", one.name, (now - one.since).as_secs_f64());
        self.list().into_iter().map(line).collect()
    }

    /// How many have ended in which way.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for shard in self.shared.shards.iter() {
            let entries = shard.entries();
            sum.finished += entries.finished;
            sum.cut += entries.cut;
        }
        sum
    }
}

impl Guard {
    /// Number of the thing, unique in its tracker: what the log and an operator name it by.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Ends the thing as cut by force.
    #[cfg(test)]
    pub(crate) fn cut(mut self) {
        self.cut = true;
    }

    /// Marks the thing as cut by force; it ends when the guard drops.
    pub fn mark_cut(&mut self) {
        self.cut = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut entries = self.shard.entries();
        entries.here.remove(self.key);
        // A panic has lost what it was about.
        if self.cut || std::thread::panicking() {
            entries.cut += 1;
        } else {
            entries.finished += 1;
        }
    }
}

impl Shard {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracker").field("in_flight", &self.in_flight()).finish()
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, since } = self;
        let name = format_args!("{name}");
        f.debug_struct("InFlight")
            .field("id", id)
            .field("name", &name)
            .field("since", since)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tracker_is_idle_when_the_last_guard_drops_on_whatever_thread() {
        let tracker = Tracker::awaited();
        let first = tracker.guard(Arc::new("first"));
        let second = tracker.guard(Arc::new("second"));
        assert_eq!(tracker.in_flight(), 2);
        drop(first);
        let waiting = tracker.clone();
        let idle = tokio::spawn(async move { waiting.idle().await });
        std::thread::spawn(move || second.cut()).join().unwrap();
        idle.await.unwrap();
        assert_eq!(tracker.counts(), Counts { finished: 1, cut: 1 });
    }

    #[tokio::test(start_paused = true)]
    async fn survivors_are_named_oldest_first() {
        let tracker = Tracker::awaited();
        let _old = tracker.guard(Arc::new("GET /old"));
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        let _new = tracker.guard(Arc::new("GET /new"));
        let names = tracker.survivors();
        assert_eq!(names, ["GET /old age=2.000s", "GET /new age=0.000s"]);
    }

    #[tokio::test]
    async fn a_listed_name_is_known_by_its_type_and_its_guard_by_its_number() {
        let tracker = Tracker::named();
        let guard = tracker.guard(Arc::new(String::from("here")));
        let listed = tracker.list();
        let name: &dyn Any = &*listed[0].name;
        assert_eq!(name.downcast_ref::<String>().unwrap(), "here");
        assert_eq!(listed[0].id, guard.id());
        drop(guard);
        assert_eq!(tracker.in_flight(), 0, "a list keeps nothing in flight");
    }

    #[test]
    fn ids_are_unique() {
        let tracker = Tracker::awaited();
        let guards: Vec<_> = (0..100).map(|_| tracker.guard(Arc::new("x"))).collect();
        let mut ids: Vec<_> = guards.iter().map(Guard::id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 100);
    }
}
