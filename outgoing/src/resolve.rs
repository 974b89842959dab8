//! From names to addresses, with a bound on how many look-ups run.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use tokio::sync::Semaphore;
use tokio::task;

/// The addresses of a name; none is an error.
pub type Resolved = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Looks names up. Addresses written as such never get here.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of a host, each with this port, the best one first.
    ///
    /// # Errors
    /// The name has none, or no name server can say.
    fn resolve(&self, host: &str, port: u16) -> Resolved;
}

/// Look-ups of one component at once. `getaddrinfo` cannot be interrupted: a guest that gives up and
/// asks again must not fill the threads of the process with its look-ups.
const EACH: usize = 8;

/// Look-ups of all components at once: an eighth of the 512 threads that tokio has for such work, and
/// for the files of everybody.
const IN_ALL: usize = 64;

/// Places of all components together.
static ALL: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(IN_ALL)));

/// A look-up that blocks its thread until it has an answer.
type Ask = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// `getaddrinfo`: `/etc/hosts`, the name servers of the system. Up to 8 look-ups run at once, and up to
/// 64 of all resolvers together; the others wait, in the order in which they were asked for.
///
/// Cheap to clone; clones share the 8. There is one for each component, so that one which asks for
/// thousands of names waits for itself, and takes an eighth of what there is for all.
///
/// Dropping what [`resolve`](Resolve::resolve) gives takes it out of the queue at once. A look-up that
/// runs counts until the system has answered, also if its caller has gone.
#[derive(Clone)]
pub struct SystemResolver {
    each: Arc<Semaphore>,
    all: Arc<Semaphore>,
    ask: Arc<Ask>,
}

impl SystemResolver {
    /// A resolver for one component.
    #[must_use]
    pub fn new() -> Self {
        Self::asking(Arc::clone(&ALL), |host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    /// One with these places for all, that asks in this way.
    pub(crate) fn asking(
        all: Arc<Semaphore>,
        ask: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { each: Arc::new(Semaphore::new(EACH)), all, ask: Arc::new(ask) }
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemResolver").finish_non_exhaustive()
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> Resolved {
        let (host, Self { each, all, ask }) = (host.to_owned(), self.clone());
        Box::pin(async move {
            // First its own: a component has no more than these in the queue of all.
            let each = each.acquire_owned().await.map_err(io::Error::other)?;
            let all = all.acquire_owned().await.map_err(io::Error::other)?;
            let looked_up = task::spawn_blocking(move || {
                let addresses = ask(&host, port);
                drop((each, all));
                addresses
            });
            looked_up.await.map_err(io::Error::other)?
        })
    }
}
