//! What all exchanges add up to.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use host_shards::{OwnLines, Sharded};
use rustc_hash::FxHashMap;

use super::end::End;
use super::generation_traffic::{ComponentTraffic, StageTotals};
use super::histogram::Histogram;
use super::label::{MethodLabel, ProtocolLabel, StatusLabel};
use super::lock::lock;
use super::observer::Observer;
use super::record::ExchangeRecord;
use super::route_label::{RouteId, RouteLabel};
use super::usage::UsageTotals;

/// What a series counts apart. Clients choose the method and the protocol out of fixed sets, guests the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// The route, if one was taken.
    pub route: Option<RouteId>,
    /// The method.
    pub method: MethodLabel,
    /// The version of HTTP.
    pub protocol: ProtocolLabel,
    /// What the client was told.
    pub status: StatusLabel,
    /// How it ended.
    pub end: End,
}

impl SeriesKey {
    /// Whether the host or the component is to blame for how it ended: the guest failed or took too long, a stop cut
    /// it, or the client was told 5xx.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.end.is_guest_failure() || self.end == End::Cut || self.status.is_server_error()
    }
}

/// Sums over exchanges with one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// From the request's head to the end.
    pub took: Histogram,
    /// From the request's head to that of the answer, where one went out.
    pub head: Histogram,
    /// Bytes of requests' bodies.
    pub received: u64,
    /// Bytes of answers' bodies.
    pub sent: u64,
    /// CPU time of guests.
    pub cpu: Duration,
}

impl Series {
    fn count(&mut self, record: &ExchangeRecord<'_>) {
        self.took.observe(record.took);
        if let Some(head) = record.head {
            self.head.observe(head);
        }
        self.received += record.received;
        self.sent += record.sent;
        self.cpu += record.cpu();
    }

    /// Adds other sums.
    pub fn add(&mut self, other: &Self) {
        self.took.add(&other.took);
        self.head.add(&other.head);
        self.received += other.received;
        self.sent += other.sent;
        self.cpu += other.cpu;
    }
}

/// All exchanges of the process. It counts those that begin, and observes those that end.
#[derive(Debug, Default)]
pub struct Traffic {
    shards: Sharded<OwnLines<Shard>>,
    names: Mutex<Names>,
}

/// Series that are looked at in one go: 10 µs.
const LOOKED_AT: usize = 32;

#[derive(Debug, Default)]
struct Shard {
    accepted: AtomicU64,
    /// Nobody outside chooses a key freely, so its hash need not withstand one who does.
    series: Mutex<FxHashMap<SeriesKey, Box<Series>>>,
}

#[derive(Debug, Default)]
struct Names {
    routes: Vec<&'static RouteLabel>,
    /// The same, by pattern and component.
    known_routes: HashMap<(&'static str, &'static str), &'static RouteLabel>,
    components: BTreeMap<&'static str, Arc<ComponentTraffic>>,
}

impl Names {
    fn known(&self, pattern: &str, component: &str) -> Option<&'static RouteLabel> {
        self.known_routes.get(&(pattern, component)).copied()
    }
}

/// The sums at one moment. `accepted` = those in `series` + those in flight.
#[derive(Clone, Debug, Default)]
pub struct TrafficTotals {
    /// Requests that came, with those that the host itself answered.
    pub accepted: u64,
    /// Those that have ended.
    pub series: BTreeMap<SeriesKey, Series>,
}

/// The sums of one component at one moment.
#[derive(Clone, Debug)]
pub struct ComponentTotals {
    /// Its name.
    pub name: &'static str,
    /// Its stages.
    pub stages: StageTotals,
    /// What it has used beside them.
    pub usage: UsageTotals,
}

impl TrafficTotals {
    /// How many have ended, in which way.
    #[must_use]
    pub fn ended(&self, which: impl Fn(End) -> bool) -> u64 {
        let ended = self.series.iter().filter(|(key, _)| which(key.end));
        ended.map(|(_, series)| series.took.count()).sum()
    }

    /// Those that have not ended.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.accepted.saturating_sub(self.ended(|_| true))
    }
}

impl Traffic {
    /// The label of the route with this pattern to this component: the same one again for the same two.
    #[must_use]
    pub fn route(&self, pattern: &str, component: &str) -> &'static RouteLabel {
        let component = self.component(component).name();
        let mut names = self.names();
        if let Some(known) = names.known(pattern, component) {
            return known;
        }
        let id = RouteId::try_from(names.routes.len()).unwrap_or(RouteId::MAX);
        let label: &'static RouteLabel =
            Box::leak(Box::new(RouteLabel { id, pattern: pattern.into(), component }));
        names.routes.push(label);
        names.known_routes.insert((&label.pattern, component), label);
        label
    }

    /// The stages of a component of this name: the same again for the same name.
    #[must_use]
    pub fn component(&self, name: &str) -> Arc<ComponentTraffic> {
        let mut names = self.names();
        if let Some(known) = names.components.get(name) {
            return known.clone();
        }
        let component = Arc::new(ComponentTraffic::new(name));
        names.components.insert(component.name(), component.clone());
        component
    }

    /// A request has come.
    pub fn accepted(&self) {
        self.shards.mine().accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// The sums over exchanges at this moment.
    #[must_use]
    pub fn totals(&self) -> TrafficTotals {
        let mut all = TrafficTotals::default();
        self.for_each_series(|key, series| all.series.entry(*key).or_default().add(series));
        // Last, so that none has ended that has not come.
        all.accepted = self.shards.iter().map(|shard| shard.accepted.load(Ordering::Relaxed)).sum();
        all
    }

    /// Looks at the series of each thread: at one key as often as threads have counted it. A thread that counts waits
    /// for a look at [`LOOKED_AT`] series at most.
    pub(crate) fn for_each_series(&self, mut look: impl FnMut(&SeriesKey, &Series)) {
        for shard in self.shards.iter() {
            let keys: Vec<SeriesKey> = lock(&shard.series).keys().copied().collect();
            for some in keys.chunks(LOOKED_AT) {
                let series = lock(&shard.series);
                some.iter()
                    .filter_map(|key| Some((key, series.get(key)?)))
                    .for_each(|(key, series)| look(key, series));
            }
        }
    }

    /// The stages of each component that there ever was, by name.
    pub(crate) fn component_traffic(&self) -> Vec<Arc<ComponentTraffic>> {
        self.names().components.values().cloned().collect()
    }

    /// The sums at this moment of each component that there ever was, by name.
    #[must_use]
    pub fn components(&self) -> Vec<ComponentTotals> {
        let known = self.component_traffic();
        let totals = |it: Arc<ComponentTraffic>| ComponentTotals {
            name: it.name(),
            stages: it.totals(),
            usage: it.usage().totals(),
        };
        known.into_iter().map(totals).collect()
    }

    /// The label of each route that there ever was, by its number.
    #[must_use]
    pub fn routes(&self) -> Vec<&'static RouteLabel> {
        self.names().routes.clone()
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        lock(&self.names)
    }
}

impl Observer for Traffic {
    fn observe(&self, record: &ExchangeRecord<'_>) {
        let request = record.request;
        let key = SeriesKey {
            route: record.route.map(|route| route.id),
            method: request.map(|request| &request.method).into(),
            protocol: request.map(|request| request.version).into(),
            status: record.status.into(),
            end: record.end,
        };
        lock(&self.shards.mine().series).entry(key).or_default().count(record);
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode, Uri, Version};
    use tokio::time::Instant;

    use super::super::record::{RequestLine, Stages};
    use super::super::{RequestId, TraceContext};
    use super::*;

    fn observe(traffic: &Traffic, method: &str, status: u16, end: End) {
        traffic.observe(&ExchangeRecord {
            number: Some(1),
            request_id: &RequestId::made(1),
            trace: TraceContext::new(),
            client: None,
            peer: None,
            request: Some(&RequestLine {
                method: Method::from_bytes(method.as_bytes()).unwrap(),
                uri: Uri::from_static("/"),
                version: Version::HTTP_11,
            }),
            agent: None,
            began: Instant::now(),
            took: Duration::from_millis(2),
            head: Some(Duration::from_millis(1)),
            status: StatusCode::from_u16(status).ok(),
            received: 3,
            sent: 5,
            route: None,
            stages: Stages::new(),
            end,
        });
    }

    #[test]
    fn all_that_came_has_ended_or_is_in_flight() {
        let traffic = Traffic::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        traffic.accepted();
                        observe(&traffic, "GET", 200, End::Finished);
                    }
                    traffic.accepted();
                });
            }
        });
        let totals = traffic.totals();
        assert_eq!((totals.accepted, totals.ended(|end| end == End::Finished)), (404, 400));
        assert_eq!(totals.in_flight(), 4);
    }

    #[test]
    fn clients_cannot_make_a_series() {
        let traffic = Traffic::default();
        for number in 0..100 {
            observe(&traffic, &format!("X{number}"), 405, End::Refused("method"));
        }
        let totals = traffic.totals();
        assert_eq!(totals.series.len(), 1);
        let series = totals.series.values().next().unwrap();
        assert_eq!((series.received, series.sent, series.head.count()), (300, 500, 100));
    }

    #[test]
    fn a_route_keeps_its_number_over_reloads() {
        let traffic = Traffic::default();
        let (shop, cart) = (traffic.route("/shop", "shop"), traffic.route("/cart", "shop"));
        assert_eq!(traffic.route("/shop", "shop"), shop);
        assert_eq!((shop.id, cart.id), (0, 1));
    }
}
