//! The exchanges that an instance serves now: its output, its failures and its requests are theirs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_telemetry::TraceContext;

use super::hops::Hops;

/// An exchange, as its guest's instance knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedExchange {
    /// What the log calls it.
    pub number: u64,
    /// Its trace, with the span that the guest's requests come from.
    pub trace: TraceContext,
}

/// The exchanges that one instance serves. Cloning gives another handle.
#[derive(Clone, Debug)]
pub(crate) enum Served {
    /// An instance of its own serves this one, or none.
    One(ServedEntry),
    /// An instance that is reused serves those that have begun on it.
    Shared(Arc<Mutex<ServedEntries>>),
}

/// The exchanges of an instance that is reused.
#[derive(Debug, Default)]
pub(crate) struct ServedEntries {
    now: Vec<ServedEntry>,
    /// Outgoing requests of the last one that has ended, or of none yet: what the guest does beside exchanges counts
    /// with them.
    sent_before: usize,
}

/// One exchange, and what it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ServedEntry {
    exchange: Option<ServedExchange>,
    hops: Hops,
    /// Outgoing requests that it has begun.
    sent: usize,
}

impl ServedEntry {
    fn new(exchange: Option<ServedExchange>, hops: Hops) -> Self {
        Self { exchange, hops, sent: 0 }
    }

    /// Whether both are of one exchange, however far that is.
    fn is_same(&self, other: &Self) -> bool {
        (self.exchange, self.hops) == (other.exchange, other.hops)
    }
}

impl Served {
    /// For an instance of its own.
    pub(crate) fn one(exchange: Option<ServedExchange>, hops: Hops) -> Self {
        Self::One(ServedEntry::new(exchange, hops))
    }

    /// For an instance that is reused.
    pub(crate) fn shared() -> Self {
        Self::Shared(Arc::default())
    }

    /// Adds an exchange until the returned guard is dropped.
    pub(crate) fn add(&self, exchange: Option<ServedExchange>, hops: Hops) -> Option<ServedGuard> {
        let Self::Shared(entries) = self else { return None };
        let entry = ServedEntry::new(exchange, hops);
        lock(entries).now.push(entry);
        Some(ServedGuard(entries.clone(), entry))
    }

    /// The exchange, if there is one and no other: the host cannot tell for which of several the guest does
    /// something.
    pub(crate) fn exchange(&self) -> Option<ServedExchange> {
        match self {
            Self::One(entry) => entry.exchange,
            Self::Shared(entries) => match lock(entries).now[..] {
                [ServedEntry { exchange, .. }] => exchange,
                _ => None,
            },
        }
    }

    /// How deep its exchanges are in requests of hosts. Of several, the deepest one counts.
    pub(crate) fn deepest(&self) -> Hops {
        match self {
            Self::One(entry) => entry.hops,
            Self::Shared(entries) => {
                lock(entries).now.iter().map(|entry| entry.hops).max().unwrap_or_default()
            }
        }
    }

    /// An outgoing request begins. Gives whether it is one of `limit` of its exchange. Of several it is that of the
    /// one that has begun the fewest: the host cannot tell whose it is, and so none gets more than its own in all.
    pub(crate) fn sends(&mut self, limit: usize) -> bool {
        let within = |sent: &mut usize| {
            let is_within = *sent < limit;
            *sent += usize::from(is_within);
            is_within
        };
        match self {
            Self::One(entry) => within(&mut entry.sent),
            Self::Shared(entries) => {
                let ServedEntries { now, sent_before } = &mut *lock(entries);
                let fewest = now.iter_mut().map(|entry| &mut entry.sent).min();
                within(fewest.unwrap_or(sent_before))
            }
        }
    }
}

/// One exchange of an instance.
pub(crate) struct ServedGuard(Arc<Mutex<ServedEntries>>, ServedEntry);

impl Drop for ServedGuard {
    fn drop(&mut self) {
        let mut entries = lock(&self.0);
        if let Some(position) = entries.now.iter().position(|entry| entry.is_same(&self.1)) {
            entries.sent_before = entries.now.swap_remove(position).sent;
        }
    }
}

fn lock(entries: &Mutex<ServedEntries>) -> MutexGuard<'_, ServedEntries> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(depth: &'static str) -> Hops {
        let field = ("host-hops".parse().unwrap(), http::HeaderValue::from_static(depth));
        Hops::take(&mut http::HeaderMap::from_iter([field]))
    }

    #[test]
    fn a_shared_instance_is_as_deep_as_its_deepest_exchange() {
        let served = Served::shared();
        let (one, three) = (served.add(None, hops("1")), served.add(None, hops("3")));
        let again = served.add(None, hops("3"));
        drop(three);
        assert_eq!(served.deepest(), hops("3"));
        drop(again);
        assert_eq!(served.deepest(), hops("1"));
        drop(one);
        assert_eq!(served.deepest(), Hops::default());
    }

    /// How many of 100 requests are within a limit of 3.
    fn sent(served: &mut Served) -> usize {
        (0..100).filter(|_| served.sends(3)).count()
    }

    #[test]
    fn each_exchange_of_a_shared_instance_begins_so_many_requests() {
        let served = &mut Served::shared();
        assert_eq!(sent(served), 3, "what it does before its first exchange counts as one");
        let exchange = |number| Some(ServedExchange { number, trace: TraceContext::new() });
        let one = served.add(exchange(1), Hops::default());
        assert!(served.sends(3));
        let two = served.add(exchange(2), Hops::default());
        assert_eq!(sent(served), 5);
        drop(two);
        assert_eq!(sent(served), 0, "one has had its own");
        drop(one);
        assert_eq!(sent(served), 0, "and work after it has none left");
        let three = served.add(exchange(3), Hops::default());
        assert!(served.sends(3));
        drop(three);
        assert_eq!(sent(served), 2, "work after an exchange counts with it");
    }

    #[test]
    fn an_instance_of_one_exchange_counts_by_itself() {
        let mut served = Served::one(None, Hops::default());
        assert_eq!(sent(&mut served), 3);
        served = Served::one(None, Hops::default());
        assert_eq!(sent(&mut served), 3);
    }

    #[test]
    fn what_one_of_several_did_is_told_of_none() {
        let exchange = |number| Some(ServedExchange { number, trace: TraceContext::new() });
        let served = Served::shared();
        let one = served.add(exchange(1), Hops::default());
        assert_eq!(served.exchange().unwrap().number, 1);
        let _two = served.add(exchange(2), Hops::default());
        assert_eq!(served.exchange(), None);
        drop(one);
        assert_eq!(served.exchange().unwrap().number, 2);
    }
}
