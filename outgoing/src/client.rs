//! One pool of connections with its grants and limits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use host_manifest::outgoing::{Origin, Reach};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{self, Instant};

use crate::body::Body;
use crate::connect::Connector;
use crate::error::{Other, SendError};
use crate::exchange::Exchange;
use crate::head;
use crate::judge::Judge;
use crate::limits::{Limits, Timeouts, after};
use crate::resolve::{Resolve, System};
use crate::target::Target;
use crate::trust::Trust;
use crate::upload::Upload;

/// The head of a response, with either version: what hyper reads before it gives up. As much as
/// browsers and proxies take at most, and half of what a guest may hold in one set of fields.
const HEAD_SIZE: usize = 64 * 1024;
const HEAD_LIST_SIZE: u32 = 64 * 1024;

/// What a server may send ahead of a guest that does not read, per stream of HTTP/2 and per
/// connection. It is memory of the host that no limit of the guest covers.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// A connection of HTTP/2 that is gone without a word would fail one request after the other.
const PING: Duration = Duration::from_secs(10);

/// Sends the requests of one generation of a component. Cheap to clone; all clones share one pool.
///
/// Dropping the last clone closes the idle connections. Requests under way, and bodies that are being
/// read, go on.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: legacy::Client<Connector, Upload>,
    connector: Connector,
    judge: Judge,
    requests: Arc<Semaphore>,
    limits: Limits,
}

impl Client {
    /// A client that may send to these origins. It resolves names as the system does, and believes the
    /// roots of the process.
    #[must_use]
    pub fn new(origins: Vec<Origin>, reach: Reach, limits: Limits) -> Self {
        Self::with_parts((origins, reach), limits, System::new(), Trust::process())
    }

    /// The same with another resolver and other roots.
    #[must_use]
    pub fn with_parts(
        (origins, reach): (Vec<Origin>, Reach),
        mut limits: Limits,
        resolver: impl Resolve,
        trust: Trust,
    ) -> Self {
        limits.requests = limits.requests.min(Semaphore::MAX_PERMITS);
        let judge = Judge::new(origins, reach, limits.forbidden.clone());
        let bounds = (limits.connections, limits.connect);
        let connector = Connector::new(judge.clone(), Arc::new(resolver), trust, bounds);
        Self::of(connector, judge, limits)
    }

    /// One that may send what this one may, with a pool of its own: for another generation.
    #[must_use]
    pub fn anew(&self) -> Self {
        let Inner { connector, judge, limits, .. } = &*self.0;
        Self::of(connector.anew(), judge.clone(), limits.clone())
    }

    fn of(connector: Connector, judge: Judge, limits: Limits) -> Self {
        let http = pool(&limits).build(connector.clone());
        let requests = Arc::new(Semaphore::new(limits.requests));
        Self(Arc::new(Inner { http, connector, judge, requests, limits }))
    }

    /// Sends one request and waits for the head of its response. Must be called on a runtime of
    /// tokio. Dropping the future cancels the request.
    ///
    /// The URI must be absolute. `Host` is written from it; fields of a connection (`Connection` and
    /// what it names, `Transfer-Encoding`, `TE` but for `trailers`, `Upgrade`, `Keep-Alive`,
    /// `Proxy-…`) are dropped, in the request as in the response. The response is what the server
    /// says: redirects are not followed.
    ///
    /// A request is sent again, over another connection, only if the one from the pool turns out to
    /// have been closed before any of the request went out, its body untouched. One that a close
    /// crosses on its way fails with [`SendError::Incomplete`], because the server may have processed it.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send<B>(
        &self,
        request: Request<B>,
        timeouts: Timeouts,
    ) -> Result<Response<Body>, SendError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Other>,
    {
        let inner = &*self.0;
        let target = Target::of(request.uri())?;
        inner.judge.name(&target)?;
        let permit = inner.permit()?;
        let (mut parts, body) = request.into_parts();
        head::sendable(&mut parts, &target, body.is_end_stream())?;
        let (upload, progress) = Upload::new(body, permit);
        let mut request = Request::from_parts(parts, upload);
        let connection = capture_connection(&mut request);
        let mut exchange = Exchange::new(progress, connection, inner.limits.between_bytes);
        let response = inner.response(request, &mut exchange, timeouts).await?;
        let between = Timeouts::within(timeouts.between_bytes, inner.limits.between_bytes);
        inner.receive(response, exchange, between)
    }

    /// Connections that are open now, idle ones among them, or about to be.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.0.connector.open()
    }
}

impl Inner {
    fn permit(&self) -> Result<OwnedSemaphorePermit, SendError> {
        let limit = self.limits.requests;
        Arc::clone(&self.requests).try_acquire_owned().map_err(|_| SendError::TooMany { limit })
    }

    /// The head of the response, under two deadlines: to a connection, and from there on.
    async fn response(
        &self,
        request: Request<Upload>,
        exchange: &mut Exchange,
        timeouts: Timeouts,
    ) -> Result<Response<Incoming>, SendError> {
        let connect = Timeouts::within(timeouts.connect, self.limits.connect);
        let head = Timeouts::within(timeouts.head, self.limits.head);
        let mut response = self.http.request(request);
        tokio::select! {
            biased;
            response = &mut response => return response.map_err(|error| SendError::of(&error)),
            () = exchange.connected() => {}
            () = time::sleep(connect) => return Err(SendError::ConnectTimeout),
        }
        // Now, because with the response it may already be back in the pool.
        if self.idle() > self.limits.idle_total {
            exchange.spoil_connection();
        }
        let mut since = Instant::now();
        loop {
            tokio::select! {
                biased;
                response = &mut response => return response.map_err(|error| SendError::of(&error)),
                () = time::sleep_until(after(since, head)) => {}
            }
            let moved = exchange.progress().moved();
            if moved <= since {
                exchange.spoil_connection();
                return Err(SendError::HeadTimeout);
            }
            since = moved;
        }
    }

    /// Hands a response on.
    fn receive(
        &self,
        response: Response<Incoming>,
        exchange: Exchange,
        between: Duration,
    ) -> Result<Response<Body>, SendError> {
        // Nobody asked: `Upgrade` is never sent.
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(SendError::Protocol("it switches protocols unasked".into()));
        }
        let (mut parts, incoming) = response.into_parts();
        head::received(&mut parts);
        let body = Body::new(incoming, exchange, between, self.limits.response_body)?;
        Ok(Response::from_parts(parts, body))
    }

    /// Connections that no request uses, about: with HTTP/2, requests share one.
    fn idle(&self) -> usize {
        let requests = self.limits.requests.saturating_sub(self.requests.available_permits());
        self.connector.open().saturating_sub(requests)
    }
}

fn pool(limits: &Limits) -> legacy::Builder {
    let mut pool = legacy::Client::builder(TokioExecutor::new());
    pool.timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(limits.idle)
        .pool_max_idle_per_host(limits.idle_per_host)
        .http1_max_buf_size(HEAD_SIZE)
        .http2_max_header_list_size(HEAD_LIST_SIZE)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING);
    pool
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}
