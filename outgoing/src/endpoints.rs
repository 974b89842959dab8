//! Whether a TCP connection of a guest may be made: the same question, asked of an address.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{self, Instant};

use crate::limits::after;
use crate::policy::{Forbidden, canonical};
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

/// Whether a granted host may be an address.
type Reaches = dyn Fn(&str, SocketAddr) -> bool + Send + Sync;

struct Inner {
    endpoints: Vec<Endpoint>,
    resolver: Arc<dyn Resolve>,
    reaches: Box<Reaches>,
    forbidden: Forbidden,
}

struct Endpoint {
    host: String,
    port: u16,
    known: Mutex<Option<Known>>,
}

struct Known {
    addresses: Vec<IpAddr>,
    until: Instant,
}

impl Endpoints {
    /// Endpoints, hosts in lower case and IPv6 addresses without brackets. `reaches` says whether a
    /// granted host may be that address, like [`crate::Policy::admits_address`]; `forbidden` is as in
    /// [`crate::Limits`].
    pub fn new(
        endpoints: impl IntoIterator<Item = (String, u16)>,
        reaches: impl Fn(&str, SocketAddr) -> bool + Send + Sync + 'static,
        forbidden: Vec<SocketAddr>,
        resolver: impl Resolve,
    ) -> Self {
        let endpoint = |(host, port)| Endpoint { host, port, known: Mutex::new(None) };
        Self(Arc::new(Inner {
            endpoints: endpoints.into_iter().map(endpoint).collect(),
            resolver: Arc::new(resolver),
            reaches: Box::new(reaches),
            forbidden: Forbidden::new(forbidden),
        }))
    }

    /// Whether a connection to this address may be made: a granted endpoint has the port, and its
    /// host resolves to the address now, or did less than 5 s ago. Ends after 5 s for each granted
    /// name with that port, at the latest. Cancel-safe.
    pub async fn admits(&self, address: SocketAddr) -> bool {
        let Inner { endpoints, resolver, reaches, forbidden } = &*self.0;
        let address = canonical(address);
        if forbidden.has(address) {
            return false;
        }
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.port == address.port()) {
            if endpoint.is_at(address.ip(), &**resolver).await && reaches(&endpoint.host, address) {
                return true;
            }
        }
        false
    }
}

impl Endpoint {
    async fn is_at(&self, ip: IpAddr, resolver: &dyn Resolve) -> bool {
        if let Ok(literal) = self.host.parse::<IpAddr>() {
            return literal.to_canonical() == ip;
        }
        // Held while it is looked up: those who come meanwhile wait for the same answer.
        let mut known = self.known.lock().await;
        match &*known {
            Some(known) if Instant::now() < known.until => known.addresses.contains(&ip),
            _ => {
                let found = time::timeout(LOOK_UP, resolver.resolve(&self.host, self.port)).await;
                // A name that does not resolve is nowhere, and is not asked again at once either.
                let found = found.ok().and_then(Result::ok).unwrap_or_default();
                let addresses: Vec<_> = found.iter().map(|it| it.ip().to_canonical()).collect();
                let is_there = addresses.contains(&ip);
                *known = Some(Known { addresses, until: after(Instant::now(), FRESH) });
                is_there
            }
        }
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |endpoint: &Endpoint| format!("{}:{}", endpoint.host, endpoint.port);
        f.debug_list().entries(self.0.endpoints.iter().map(of)).finish()
    }
}
