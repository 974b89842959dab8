//! Whether a TCP connection of a guest may be made: the same question, asked of an address.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use host_manifest::outgoing::{Endpoint, Reach, UriHost};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::policy::Forbidden;
use crate::resolve::Resolve;

/// How long an answer of the resolver is believed: a guest looks a name up, then connects to what it
/// got; and one that connects in a loop does not ask the name server each time.
const FRESH: Duration = Duration::from_secs(5);

/// How long a look-up may take.
const LOOK_UP: Duration = Duration::from_secs(5);

/// The TCP endpoints that a guest may connect to, each a host and a port. Cheap to clone; clones
/// share what they have looked up.
#[derive(Clone)]
pub struct Endpoints(Arc<Inner>);

struct Inner {
    endpoints: Vec<Known>,
    reach: Reach,
    resolver: Arc<dyn Resolve>,
    forbidden: Forbidden,
}

/// An endpoint with what its name resolved to, until when it is believed.
struct Known {
    endpoint: Endpoint,
    addresses: Mutex<Option<(Vec<IpAddr>, Instant)>>,
}

impl Endpoints {
    /// These endpoints. `forbidden` is as in [`crate::ClientLimits`].
    pub fn new(
        endpoints: Vec<Endpoint>,
        reach: Reach,
        forbidden: Vec<SocketAddr>,
        resolver: impl Resolve,
    ) -> Self {
        let unknown = |endpoint| Known { endpoint, addresses: Mutex::new(None) };
        Self(Arc::new(Inner {
            endpoints: endpoints.into_iter().map(unknown).collect(),
            reach,
            resolver: Arc::new(resolver),
            forbidden: Forbidden::new(forbidden),
        }))
    }

    /// Whether a connection to this address may be made: a granted endpoint has the port, its host
    /// resolves to the address now, or did less than 5 s ago, and may be there. Ends after 5 s for
    /// each granted name with that port, at the latest. Cancel-safe.
    pub async fn admits(&self, address: SocketAddr) -> bool {
        let Inner { endpoints, reach, resolver, forbidden } = &*self.0;
        if forbidden.covers(address) {
            return false;
        }
        let ip = address.ip().to_canonical();
        for known in endpoints.iter().filter(|known| known.endpoint.port == address.port()) {
            if known.endpoint.admits_address(reach, ip) && known.is_at(ip, &**resolver).await {
                return true;
            }
        }
        false
    }
}

impl Known {
    async fn is_at(&self, ip: IpAddr, resolver: &dyn Resolve) -> bool {
        let name = match &self.endpoint.host {
            UriHost::Address(own) => return *own == ip,
            UriHost::Name(name) => name,
        };
        // Held while it is looked up: those who come meanwhile wait for the same answer.
        let mut addresses = self.addresses.lock().await;
        if let Some((addresses, until)) = &*addresses
            && Instant::now() < *until
        {
            return addresses.contains(&ip);
        }
        let found = host_clock::timeout(LOOK_UP, resolver.resolve(name, self.endpoint.port)).await;
        // A name that does not resolve is nowhere, and is not asked again at once either.
        let found = found.ok().and_then(Result::ok).unwrap_or_default();
        let found: Vec<_> = found.iter().map(|it| it.ip().to_canonical()).collect();
        let is_there = found.contains(&ip);
        *addresses = Some((found, Instant::now() + FRESH));
        is_there
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints = self.0.endpoints.iter().map(|known| known.endpoint.to_string());
        f.debug_list().entries(endpoints).finish()
    }
}
