//! From names to addresses, with a bound on how many look-ups run.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task;

/// The addresses of a name; none is an error.
pub type Resolved = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Looks names up. Addresses written as such never get here.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of a host, each with this port, the best one first.
    ///
    /// # Errors
    /// The name has none, or nobody can say.
    fn resolve(&self, host: &str, port: u16) -> Resolved;
}

/// Look-ups of one client at once. `getaddrinfo` cannot be interrupted: a guest that gives up and
/// asks again must not fill the threads of the process with its look-ups.
const EACH: usize = 8;

/// Look-ups of all clients at once, a part of the 512 threads that tokio has for such work.
static ALL: Semaphore = Semaphore::const_new(64);

/// `getaddrinfo`: `/etc/hosts`, the name servers of the system. Up to 8 look-ups run at once; a
/// look-up counts until the system has answered, also if nobody waits for it any more.
pub struct System {
    each: Arc<Semaphore>,
}

impl System {
    /// A resolver for one client.
    #[must_use]
    pub fn new() -> Self {
        Self { each: Arc::new(Semaphore::new(EACH)) }
    }
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System").finish_non_exhaustive()
    }
}

impl Resolve for System {
    fn resolve(&self, host: &str, port: u16) -> Resolved {
        let (host, each) = (host.to_owned(), Arc::clone(&self.each));
        Box::pin(async move {
            let each = each.acquire_owned().await.map_err(io::Error::other)?;
            let all = ALL.acquire().await.map_err(io::Error::other)?;
            let looked_up = task::spawn_blocking(move || {
                let addresses = (host.as_str(), port).to_socket_addrs();
                drop((each, all));
                addresses.map(Iterator::collect)
            });
            looked_up.await.map_err(io::Error::other)?
        })
    }
}
