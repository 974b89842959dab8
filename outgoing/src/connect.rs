//! A connection to a granted host: look-up, judgement of each address, TCP, TLS. All under one
//! deadline.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use host_manifest::outgoing::UriHost;
use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{DefaultServerNameResolver, HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;
use tokio::time;
use tower_service::Service;

use crate::counted::{Counted, Secured};
use crate::destination::Destination;
use crate::error::{Other, SendError};
use crate::policy::Policy;
use crate::resolve::Resolve;
use crate::trust::Trust;
use crate::wire::Wire;

/// How long an address is tried alone before the next one is tried beside it: RFC 8305 §5.
const STAGGER: Duration = Duration::from_millis(250);

/// Makes connections for one client.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Shared>);

struct Shared {
    policy: Policy,
    resolver: Arc<dyn Resolve>,
    trust: Trust,
    tls: OnceCell<Arc<ClientConfig>>,
    connections: Arc<Semaphore>,
    limit: usize,
    timeout: Duration,
}

impl Connector {
    pub(crate) fn new(
        policy: Policy,
        resolver: Arc<dyn Resolve>,
        trust: Trust,
        (limit, timeout): (usize, Duration),
    ) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        let connections = Arc::new(Semaphore::new(limit));
        let tls = OnceCell::new();
        Self(Arc::new(Shared { policy, resolver, trust, tls, connections, limit, timeout }))
    }

    /// One with the same bounds and no connection.
    pub(crate) fn anew(&self) -> Self {
        let Shared { policy, resolver, trust, limit, timeout, .. } = &*self.0;
        Self::new(policy.clone(), Arc::clone(resolver), trust.clone(), (*limit, *timeout))
    }

    /// Connections that are open, idle ones among them, or about to be.
    pub(crate) fn open(&self) -> usize {
        self.0.limit.saturating_sub(self.0.connections.available_permits())
    }
}

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, SendError>> + Send>>;

impl Service<Uri> for Connector {
    type Response = TokioIo<Counted>;
    type Error = SendError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let shared = Arc::clone(&self.0);
        // A connection that no request waits for any more, because another one became free first,
        // has this bound.
        Box::pin(async move {
            let connected =
                host_clock::timeout(shared.timeout, connect(Arc::clone(&shared), uri)).await;
            connected.unwrap_or(Err(SendError::ConnectTimeout)).map(Counted::new)
        })
    }
}

async fn connect(shared: Arc<Shared>, uri: Uri) -> Result<Secured, SendError> {
    let destination = Destination::from_uri(&uri)?;
    if uri.scheme() != Some(&Scheme::HTTPS) {
        return Ok(MaybeHttpsStream::Http(shared.tcp(&destination).await?));
    }
    let config = shared.tls.get_or_try_init(|| shared.trust.config()).await?;
    let names = Arc::new(DefaultServerNameResolver::default());
    let mut tls = HttpsConnector::new(Tcp(Arc::clone(&shared)), Arc::clone(config), true, names);
    tls.call(uri).await.map_err(|error: Other| match error.downcast::<SendError>() {
        Ok(ours) => *ours,
        Err(other) => {
            SendError::classify_tls(&*other, &destination.host.to_string(), destination.port)
        }
    })
}

/// What is under TLS.
struct Tcp(Arc<Shared>);

impl Service<Uri> for Tcp {
    type Response = TokioIo<Wire>;
    type Error = SendError;
    type Future = Connecting<TokioIo<Wire>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { shared.tcp(&Destination::from_uri(&uri)?).await })
    }
}

impl Shared {
    async fn tcp(&self, destination: &Destination) -> Result<TokioIo<Wire>, SendError> {
        let refused = |error: io::Error| unreachable(destination, &error);
        let permit = Arc::clone(&self.connections).acquire_owned().await;
        let permit = permit.map_err(|error| refused(io::Error::other(error)))?;
        let addresses = self.addresses(destination).await?;
        let stream = dial(addresses).await.map_err(refused)?;
        // Heads and small bodies are written in one piece each; nothing is gained by holding them.
        stream.set_nodelay(true).map_err(refused)?;
        Ok(TokioIo::new(Wire::new(stream, permit)))
    }

    /// The addresses that may be connected to. One that did not pass is never tried, and the name is
    /// not looked up again.
    async fn addresses(&self, destination: &Destination) -> Result<Vec<SocketAddr>, SendError> {
        let Destination { host, port, .. } = destination;
        let dns = |why| SendError::Dns { host: host.to_string(), why };
        let found = match host {
            UriHost::Address(ip) => vec![SocketAddr::new(*ip, *port)],
            UriHost::Name(name) => {
                self.resolver.resolve(name, *port).await.map_err(|why| dns(why.to_string()))?
            }
        };
        if found.is_empty() {
            return Err(dns("it has no address".into()));
        }
        // Whatever a resolver says of the port, the granted one is meant.
        let found = found.iter().map(|it| SocketAddr::new(it.ip(), *port));
        let (admitted, refused): (Vec<_>, Vec<_>) =
            found.partition(|&address| self.policy.admits(destination, address));
        if admitted.is_empty() {
            let refused: Vec<_> = refused.iter().map(|it| it.ip().to_string()).collect();
            let addresses = refused.join(", ");
            return Err(SendError::AddressDenied {
                host: host.to_string(),
                port: *port,
                addresses,
            });
        }
        Ok(by_turns(admitted))
    }
}

/// The families of addresses by turns, beginning with that of the first (RFC 8305 §4), so that a
/// family that leads nowhere costs every second try only.
fn by_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut mixed = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let before = mixed.len();
        mixed.extend(first.next());
        mixed.extend(second.next());
        if mixed.len() == before {
            return mixed;
        }
    }
}

/// The first connection that is made; the other tries end with it. All addresses are tried, one more
/// after each [`STAGGER`] or failure, as long as the deadline of the connection lets them: no more stand
/// beside each other than have room in that time.
async fn dial(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut tries = JoinSet::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = waiting.next() {
            tries.spawn(TcpStream::connect(address));
        }
        let more = waiting.len() > 0;
        tokio::select! {
            biased;
            made = tries.join_next() => match made {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => failure = error,
                Some(Err(panicked)) => failure = io::Error::other(panicked),
                None => return Err(failure),
            },
            () = time::sleep(STAGGER), if more => {}
        }
    }
}

fn unreachable(destination: &Destination, error: &io::Error) -> SendError {
    let (host, port) = (destination.host.to_string(), destination.port);
    match error.kind() {
        io::ErrorKind::ConnectionRefused => SendError::ConnectRefused { host, port },
        io::ErrorKind::TimedOut => SendError::ConnectTimeout,
        _ => SendError::Connect { host, port, why: error.to_string() },
    }
}
