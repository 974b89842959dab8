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
    One(Option<ServedExchange>, Hops),
    /// An instance that is reused serves those that have begun on it.
    Shared(Arc<Mutex<Vec<ServedEntry>>>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ServedEntry {
    exchange: Option<ServedExchange>,
    hops: Hops,
}

impl Served {
    /// For an instance that is reused.
    pub(crate) fn shared() -> Self {
        Self::Shared(Arc::default())
    }

    /// Adds an exchange until the returned guard is dropped.
    pub(crate) fn add(&self, exchange: Option<ServedExchange>, hops: Hops) -> Option<ServedGuard> {
        let Self::Shared(entries) = self else { return None };
        let entry = ServedEntry { exchange, hops };
        lock(entries).push(entry);
        Some(ServedGuard(entries.clone(), entry))
    }

    /// The exchange, if there is one and no other: the host cannot tell for which of several the guest does
    /// something.
    pub(crate) fn exchange(&self) -> Option<ServedExchange> {
        match self {
            Self::One(exchange, _) => *exchange,
            Self::Shared(entries) => match lock(entries)[..] {
                [ServedEntry { exchange, .. }] => exchange,
                _ => None,
            },
        }
    }

    /// How deep its exchanges are in requests of hosts. Of several, the deepest one counts.
    pub(crate) fn deepest(&self) -> Hops {
        match self {
            Self::One(_, hops) => *hops,
            Self::Shared(entries) => {
                lock(entries).iter().map(|entry| entry.hops).max().unwrap_or_default()
            }
        }
    }
}

/// One exchange of an instance.
pub(crate) struct ServedGuard(Arc<Mutex<Vec<ServedEntry>>>, ServedEntry);

impl Drop for ServedGuard {
    fn drop(&mut self) {
        let mut entries = lock(&self.0);
        if let Some(position) = entries.iter().position(|entry| *entry == self.1) {
            entries.swap_remove(position);
        }
    }
}

fn lock(entries: &Mutex<Vec<ServedEntry>>) -> MutexGuard<'_, Vec<ServedEntry>> {
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
