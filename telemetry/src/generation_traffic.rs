//! What the stages of one version of a component add up to, and of all of them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use host_shards::{OwnLines, Sharded};

use super::end::End;
use super::histogram::Histogram;
use super::lock::lock;
use super::record::StageRecord;
use super::usage::ComponentUsage;

/// Sums over stages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageTotals {
    /// Stages that came to an end.
    pub ended: u64,
    /// Those that a guest failed or took too long for, or answered with 5xx: see [`StageRecord::is_error`].
    pub errors: u64,
    /// By how they ended: the word of [`End::name`], and how many.
    ends: Vec<(End, u64)>,
    /// From having the request to the end, of stages that ended well.
    pub took: Histogram,
    /// Waits for an instance.
    pub queue: Histogram,
    /// CPU time of the guests.
    pub cpu: Duration,
}

impl StageTotals {
    fn count(&mut self, stage: &StageRecord) {
        self.ended += 1;
        self.errors += u64::from(stage.is_error());
        self.add_end(stage.end, 1);
        if stage.end == End::Finished {
            self.took.observe(stage.took);
        }
        self.queue.observe(stage.queue);
        self.cpu += stage.cpu;
    }

    fn add_end(&mut self, end: End, more: u64) {
        match self.ends.iter_mut().find(|(known, _)| *known == end) {
            Some((_, count)) => *count += more,
            None => self.ends.push((end, more)),
        }
    }

    /// How they ended, and how many each.
    pub fn ends(&self) -> impl Iterator<Item = (End, u64)> + '_ {
        self.ends.iter().copied()
    }

    /// Adds other sums.
    pub fn add(&mut self, other: &Self) {
        self.ended += other.ended;
        self.errors += other.errors;
        other.ends().for_each(|(end, count)| self.add_end(end, count));
        self.took.add(&other.took);
        self.queue.add(&other.queue);
        self.cpu += other.cpu;
    }

    /// What came since they were as `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let count_before =
            |end| before.ends().find(|(known, _)| *known == end).map_or(0, |(_, count)| count);
        let ends = self.ends().map(|(end, count)| (end, count.saturating_sub(count_before(end))));
        Self {
            ended: self.ended.saturating_sub(before.ended),
            errors: self.errors.saturating_sub(before.errors),
            ends: ends.filter(|(_, count)| *count > 0).collect(),
            took: self.took.since(&before.took),
            queue: self.queue.since(&before.queue),
            cpu: self.cpu.saturating_sub(before.cpu),
        }
    }
}

/// The stages of one generation. Dropping it leaves its sums with its component.
pub struct GenerationTraffic {
    sums: Arc<Sums>,
    component: Arc<ComponentTraffic>,
}

/// Made for a thread when a stage first ends there.
#[derive(Default)]
struct Sums(Sharded<OwnLines<Mutex<Option<Box<StageTotals>>>>>);

impl Sums {
    fn totals(&self) -> StageTotals {
        let mut all = StageTotals::default();
        for shard in self.0.iter() {
            if let Some(totals) = &*lock(shard) {
                all.add(totals);
            }
        }
        all
    }
}

impl GenerationTraffic {
    /// Of a new generation of `component`.
    #[must_use]
    pub fn new(component: &Arc<ComponentTraffic>) -> Self {
        let sums = Arc::<Sums>::default();
        component.lock().current.push(sums.clone());
        Self { sums, component: component.clone() }
    }

    /// Of another generation of the same component.
    #[must_use]
    pub fn of_another(&self) -> Self {
        Self::new(&self.component)
    }

    /// The component's name.
    #[must_use]
    pub fn component(&self) -> &'static str {
        self.component.name
    }

    /// Counts a stage that has ended.
    pub fn count(&self, stage: &StageRecord) {
        lock(self.sums.0.mine()).get_or_insert_default().count(stage);
    }

    /// The sums at this moment.
    #[must_use]
    pub fn totals(&self) -> StageTotals {
        self.sums.totals()
    }
}

impl Drop for GenerationTraffic {
    fn drop(&mut self) {
        let mut component = self.component.lock();
        component.past.add(&self.sums.totals());
        component.current.retain(|sums| !Arc::ptr_eq(sums, &self.sums));
    }
}

impl fmt::Debug for GenerationTraffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenerationTraffic").finish_non_exhaustive()
    }
}

/// The stages of one component, over all its generations.
pub struct ComponentTraffic {
    /// Kept for the life of the process, because stages are named by it without counting handles.
    name: &'static str,
    usage: Arc<ComponentUsage>,
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    /// Of generations that are gone.
    past: StageTotals,
    current: Vec<Arc<Sums>>,
}

impl ComponentTraffic {
    /// Of a component that has not served yet. Its name is kept for ever, so make it once for each name.
    pub(crate) fn new(name: &str) -> Self {
        let name = Box::leak(name.into());
        Self { name, usage: Arc::default(), generations: Mutex::default() }
    }

    /// The component's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it uses beside its exchanges.
    #[must_use]
    pub fn usage(&self) -> &Arc<ComponentUsage> {
        &self.usage
    }

    /// The sums at this moment, over all generations.
    #[must_use]
    pub fn totals(&self) -> StageTotals {
        let generations = self.lock();
        let mut all = generations.past.clone();
        generations.current.iter().for_each(|sums| all.add(&sums.totals()));
        all
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        lock(&self.generations)
    }
}

impl fmt::Debug for ComponentTraffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentTraffic").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn stage(end: End, status: u16) -> StageRecord {
        StageRecord {
            component: "shop",
            generation: Some(1),
            is_plugin: false,
            after: Duration::ZERO,
            queue: Duration::ZERO,
            head: None,
            took: Duration::from_millis(3),
            cpu: Duration::from_millis(1),
            status: StatusCode::from_u16(status).ok(),
            end,
        }
    }

    #[test]
    fn a_generation_leaves_its_sums_with_its_component() {
        let component = Arc::new(ComponentTraffic::new("shop"));
        let old = GenerationTraffic::new(&component);
        let new = GenerationTraffic::new(&component);
        old.count(&stage(End::Finished, 200));
        old.count(&stage(End::Finished, 503));
        new.count(&stage(End::Trapped, 500));
        new.count(&stage(End::PeerGone, 500));
        assert_eq!((old.totals().errors, new.totals().errors), (1, 1));
        let before = component.totals();
        assert_eq!((before.ended, before.errors, before.took.count()), (4, 2, 2));
        drop(old);
        assert_eq!(component.totals(), before);
        new.count(&stage(End::Trapped, 500));
        let since = component.totals().since(&before);
        assert_eq!(since.ends().collect::<Vec<_>>(), [(End::Trapped, 1)]);
        assert_eq!(since.cpu, Duration::from_millis(1));
    }
}
