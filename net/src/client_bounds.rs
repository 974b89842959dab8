//! Bounds on the connections of one client, and on how fast all of them come.
//!
//! A client is an address: of IPv6 a /64 (see [`RateKey`]). Who has none, on a Unix socket, has no bounds of its own, and
//! neither have those that the operator trusts to bring many clients: proxies.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use host_lifecycle::{Phase, PhaseWatch};
use host_ratelimit::{Burst, DirectLimiter, Exceeded, KeyedLimiter, RateKey};
use host_shards::OwnLines;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tracing::warn;

use super::counts::{ConnectionRefusal, NetCounts};
use super::rare_line::RareLine;
use super::service::Refusal;

/// Connections that are told why they are refused, at once. Each holds a descriptor beyond the limit of connections
/// until its peer has read that; more are closed without a word.
const TOLD_AT_ONCE: usize = 128;

/// A client that is at its limit of connections may try again after this.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Clients that come at once rarely meet at one lock.
const SHARDS: usize = 64;

/// What one client may have of connections, and all of them of new ones. Nothing is bounded by default.
#[derive(Default)]
pub struct ClientConnectionLimits {
    /// Connections of one client at once.
    pub connections: Option<NonZeroUsize>,
    /// New connections of one client.
    pub rate: Option<Burst>,
    /// New connections of all together, over all listeners: beyond it they wait in the queues of the kernel.
    pub accept_rate: Option<Burst>,
    /// Who brings many clients, and has no bounds.
    pub exempt: Option<Box<dyn Fn(IpAddr) -> bool + Send + Sync>>,
}

impl fmt::Debug for ClientConnectionLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, rate, accept_rate, exempt } = self;
        f.debug_struct("ClientConnectionLimits")
            .field("connections", connections)
            .field("rate", rate)
            .field("accept_rate", accept_rate)
            .field("exempt", &exempt.is_some())
            .finish()
    }
}

/// Keeps these bounds, for all listeners together.
#[derive(Debug)]
pub struct ClientBounds {
    limits: ClientConnectionLimits,
    rate: Option<KeyedLimiter>,
    accept_rate: Option<DirectLimiter>,
    open: Box<[OwnLines<Mutex<OpenConnections>>]>,
    hasher: RandomState,
    told: Arc<Semaphore>,
    counts: NetCounts,
    refused: RareLine,
    waited: RareLine,
}

/// Connections of each client that has any.
type OpenConnections = HashMap<RateKey<'static>, NonZeroUsize>;

/// One connection of a client. Dropping it makes room for another one of the same client.
#[derive(Debug)]
pub(super) struct ClientPlace {
    bounds: Arc<ClientBounds>,
    client: RateKey<'static>,
}

/// A connection is one too many.
#[derive(Debug)]
pub(super) struct ClientRefused {
    /// What its peer is told.
    pub(super) why: Refusal,
    /// The right to tell it; none if there are too many already.
    pub(super) told: Option<OwnedSemaphorePermit>,
}

impl ClientBounds {
    /// Keeps `limits`, and counts in `counts` what they refuse.
    #[must_use]
    pub fn new(limits: ClientConnectionLimits, counts: NetCounts) -> Arc<Self> {
        Arc::new(Self {
            rate: limits.rate.map(KeyedLimiter::new),
            accept_rate: limits.accept_rate.map(DirectLimiter::new),
            open: (0..SHARDS).map(|_| OwnLines::default()).collect(),
            hasher: RandomState::new(),
            told: Arc::new(Semaphore::new(TOLD_AT_ONCE)),
            counts,
            refused: RareLine::default(),
            waited: RareLine::default(),
            limits,
        })
    }

    /// Bounds nothing.
    #[cfg(test)]
    pub(super) fn unbounded() -> Arc<Self> {
        Self::new(ClientConnectionLimits::default(), NetCounts::default())
    }

    /// Lets in a connection of the client with this address; without a place where nothing bounds it, or during a
    /// drain, when everybody who is in is served.
    ///
    /// # Errors
    /// When it is one too many.
    pub(super) fn admit(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        phase: Phase,
    ) -> Result<Option<ClientPlace>, ClientRefused> {
        let bounded = self.limits.connections.is_some() || self.rate.is_some();
        let Some(address) = address.filter(|_| bounded && phase < Phase::Draining) else {
            return Ok(None);
        };
        if self.limits.exempt.as_ref().is_some_and(|exempt| exempt(address)) {
            return Ok(None);
        }
        let client = RateKey::client(Some(address));
        let place = match self.limits.connections {
            Some(most) => Some(self.place(client, most).ok_or_else(|| {
                let why = Refusal::ClientConnections { retry: TRY_AGAIN };
                self.refuse((address, ConnectionRefusal::ClientConnections), why)
            })?),
            None => None,
        };
        if let Some(rate) = &self.rate
            && let Err(Exceeded { wait }) = rate.check(client)
        {
            let why = Refusal::ClientConnectionRate { retry: wait };
            return Err(self.refuse((address, ConnectionRefusal::ClientConnectionRate), why));
        }
        Ok(place)
    }

    /// A place for a connection that another process has let in: with it, its client has one more, and one too many is
    /// let in all the same.
    pub(super) fn take_in(self: &Arc<Self>, address: Option<IpAddr>) -> Option<ClientPlace> {
        let (address, most) = (address?, self.limits.connections?);
        let exempt = self.limits.exempt.as_ref().is_some_and(|exempt| exempt(address));
        if exempt { None } else { self.place(RateKey::client(Some(address)), most) }
    }

    /// Waits until one more may be accepted, over all listeners. Gives whether it may: not once a drain has begun.
    pub(super) async fn wait_for_accept(&self, phase: &PhaseWatch) -> bool {
        let Some(rate) = &self.accept_rate else { return true };
        while let Err(Exceeded { wait }) = rate.check() {
            self.counts.accept_waits();
            if let Some(times) = self.waited.next() {
                warn!(
                    times,
                    "more new connections than connection-rate allows: they wait in the kernel's queue"
                );
            }
            tokio::select! {
                biased;
                () = phase.reached(Phase::Draining) => return false,
                () = sleep(wait) => {}
            }
        }
        true
    }

    fn place(
        self: &Arc<Self>,
        client: RateKey<'static>,
        most: NonZeroUsize,
    ) -> Option<ClientPlace> {
        match self.shard(&client).entry(client) {
            Entry::Vacant(none) => {
                none.insert(NonZeroUsize::MIN);
            }
            Entry::Occupied(mut some) => {
                let open = *some.get();
                if open >= most {
                    return None;
                }
                *some.get_mut() = open.saturating_add(1);
            }
        }
        Some(ClientPlace { bounds: self.clone(), client })
    }

    fn refuse(
        &self,
        (address, reason): (IpAddr, ConnectionRefusal),
        why: Refusal,
    ) -> ClientRefused {
        self.counts.refused(reason);
        if let Some(times) = self.refused.next() {
            warn!(client = %address, reason = reason.name(), times, "connections are refused");
        }
        ClientRefused { why, told: self.told.clone().try_acquire_owned().ok() }
    }

    fn shard(&self, client: &RateKey<'static>) -> MutexGuard<'_, OpenConnections> {
        let index = self.hasher.hash_one(client) % SHARDS as u64;
        let shard = &self.open[usize::try_from(index).unwrap_or_default()];
        // Nothing in here panics while it holds the lock.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        if let Entry::Occupied(mut open) = self.bounds.shard(&self.client).entry(self.client) {
            match NonZeroUsize::new(open.get().get() - 1) {
                Some(others) => *open.get_mut() = others,
                None => {
                    open.remove();
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "client_bounds_tests.rs"]
mod tests;
