//! What each component uses: since the start of the process, and over the last minute.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::traffic::Traffic;
use super::usage::CallCounts;

/// How often the sums are read.
const EVERY: Duration = Duration::from_secs(5);

/// Readings that are kept: those of a minute, and the one before.
const KEPT: usize = 13;

/// What one component has used. All fields are sums.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// CPU time of its guests.
    pub cpu: Duration,
    /// Linear memory of its instances, in byte-seconds: the area below the curve of their memory, read every five
    /// seconds.
    pub memory: f64,
    /// Parts in exchanges that it came to the end of.
    pub requests: u64,
    /// Bytes of requests' bodies, of exchanges that are routed to it.
    pub received: u64,
    /// Bytes of answers' bodies, of exchanges that are routed to it.
    pub sent: u64,
    /// Requests that its guests sent.
    pub outgoing: u64,
    /// Key-value operations.
    pub keyvalue: u64,
}

/// What one component has used in two times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UsedLately {
    /// Since the start of the process.
    pub since_start: Used,
    /// In the last minute, or since the start.
    pub last_minute: Used,
}

/// Says how many bytes of linear memory each component has at this moment.
type ReadMemory = Box<dyn Fn() -> Vec<(Arc<str>, u64)> + Send + Sync>;

/// Reads the sums every five seconds, as long as its future is polled. Cloning gives another handle.
#[derive(Clone)]
pub struct UsageMeter(Arc<Inner>);

struct Inner {
    traffic: Arc<Traffic>,
    memory: ReadMemory,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The time of the last reading.
    at: Option<Instant>,
    byte_seconds: BTreeMap<Arc<str>, f64>,
    readings: VecDeque<BTreeMap<&'static str, Used>>,
}

impl UsageMeter {
    /// Of what is counted in `traffic`, with the memory that `memory` tells.
    #[must_use]
    pub fn new(
        traffic: Arc<Traffic>,
        memory: impl Fn() -> Vec<(Arc<str>, u64)> + Send + Sync + 'static,
    ) -> Self {
        let memory = Box::new(memory) as ReadMemory;
        Self(Arc::new(Inner { traffic, memory, state: Mutex::default() }))
    }

    /// Reads the sums every five seconds, for ever. Dropping the future leaves what was read.
    pub async fn run(self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.read();
        }
    }

    fn read(&self) {
        let now = Instant::now();
        let memory = (self.0.memory)();
        let mut state = self.state();
        let since = state.at.replace(now).map_or(Duration::ZERO, |at| now - at);
        for (component, bytes) in memory {
            #[expect(clippy::cast_precision_loss, reason = "a sum over readings is no exact one")]
            let area = bytes as f64 * since.as_secs_f64();
            *state.byte_seconds.entry(component).or_default() += area;
        }
        let reading = self.sums(&state);
        state.readings.push_back(reading);
        if state.readings.len() > KEPT {
            state.readings.pop_front();
        }
    }

    /// What each component has used, by name.
    #[must_use]
    pub fn components(&self) -> Vec<(&'static str, UsedLately)> {
        let state = self.state();
        let before = state.readings.front();
        let lately = |(name, since_start): (&'static str, Used)| {
            let before = before.and_then(|reading| reading.get(name)).copied().unwrap_or_default();
            (name, UsedLately { since_start, last_minute: since_start.since(before) })
        };
        self.sums(&state).into_iter().map(lately).collect()
    }

    fn sums(&self, state: &State) -> BTreeMap<&'static str, Used> {
        let done = |calls: &CallCounts| calls.done;
        let mut sums: BTreeMap<&'static str, Used> = BTreeMap::new();
        for component in self.0.traffic.components() {
            let used = Used {
                cpu: component.usage.cpu,
                memory: state.byte_seconds.get(component.name).copied().unwrap_or_default(),
                requests: component.stages.ended,
                received: 0,
                sent: 0,
                outgoing: component.usage.outgoing.values().map(done).sum(),
                keyvalue: component.usage.keyvalue.values().map(done).sum(),
            };
            sums.insert(component.name, used);
        }
        let routes = self.0.traffic.routes();
        for (key, series) in self.0.traffic.totals().series {
            let route = key.route.and_then(|id| routes.get(id as usize));
            if let Some(used) = route.and_then(|route| sums.get_mut(route.component)) {
                used.received += series.received;
                used.sent += series.sent;
            }
        }
        sums
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            memory: self.memory - before.memory,
            requests: self.requests.saturating_sub(before.requests),
            received: self.received.saturating_sub(before.received),
            sent: self.sent.saturating_sub(before.sent),
            outgoing: self.outgoing.saturating_sub(before.outgoing),
            keyvalue: self.keyvalue.saturating_sub(before.keyvalue),
        }
    }
}

impl std::fmt::Debug for UsageMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UsageMeter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_used_is_told_of_all_time_and_of_the_last_minute() {
        let traffic = Arc::new(Traffic::default());
        let shop = traffic.component("shop");
        let meter = UsageMeter::new(traffic, || vec![("shop".into(), 1_000)]);
        for _ in 0..24 {
            meter.read();
            advance(EVERY).await;
            shop.usage().spend(Duration::from_millis(10));
            shop.usage().keyvalue("get", false);
        }
        let [("shop", UsedLately { since_start, last_minute })] = meter.components()[..] else {
            panic!("one component")
        };
        assert_eq!((since_start.cpu, since_start.keyvalue), (Duration::from_millis(240), 24));
        assert_eq!((last_minute.cpu, last_minute.keyvalue), (Duration::from_millis(130), 13));
        assert_eq!((since_start.memory, last_minute.memory), (115_000.0, 60_000.0));
    }
}
