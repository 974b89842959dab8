//! Look-ups that a guest asks for by itself: what is behind `wasi:sockets/ip-name-lookup`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use host_manifest::outgoing::UriHost;

use crate::resolve::Resolve;

/// As long as a connection may take: a name server that has to be asked again after 5 s is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Looks up names for the guests of one component. Cheap to clone; clones share what bounds the
/// resolver. Whether the component may look up anything is the caller's to know.
#[derive(Clone)]
pub struct Lookup(Arc<dyn Resolve>);

/// Why a look-up has no addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// It is neither a name nor an address. No name server was asked.
    #[error("it is not a name that can be looked up")]
    NotAName,
    /// There is no such name, it has no address, or the name servers fail: the system does not tell
    /// these apart reliably. The text is the system's, for the log.
    #[error("it does not resolve: {0}")]
    Unresolvable(String),
    /// No answer came in time, or too many look-ups of the component were before it.
    #[error("no answer in time")]
    Timeout,
}

impl Lookup {
    /// Look-ups by this resolver: for guests a clone of the [`SystemResolver`](crate::SystemResolver) that their
    /// component has for its requests.
    pub fn new(resolver: impl Resolve) -> Self {
        Self(Arc::new(resolver))
    }

    /// All addresses of a name, the best one first, at least one. IPv4 addresses in IPv6 clothes are
    /// IPv4 addresses. An address, an IPv6 one with or without brackets, is its own answer.
    ///
    /// Names are in ASCII (`xn--…` for other scripts), in any case, perhaps with a dot at the end.
    /// `127.1`, `0x7f000001` and the like are none, though the system would take them for addresses.
    ///
    /// Must be called on a runtime of tokio. Ends after 10 s, the time in the resolver's queue
    /// included. Dropping the future gives up its place in the queue at once; a look-up of
    /// [`SystemResolver`](crate::SystemResolver) that runs counts until the system has answered.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        if let Ok(ip) = name.parse::<Ipv6Addr>() {
            return Ok(vec![IpAddr::V6(ip).to_canonical()]);
        }
        let name = match UriHost::parse(name).ok_or(LookupError::NotAName)? {
            UriHost::Address(ip) => return Ok(vec![ip.to_canonical()]),
            UriHost::Name(name) => name,
        };
        let found = host_clock::timeout(TIMEOUT, self.0.resolve(&name, 0)).await;
        let found = found.map_err(|_| LookupError::Timeout)?;
        let found = found.map_err(|why| LookupError::Unresolvable(why.to_string()))?;
        if found.is_empty() {
            return Err(LookupError::Unresolvable("it has no address".into()));
        }
        Ok(found.iter().map(|address| address.ip().to_canonical()).collect())
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}
