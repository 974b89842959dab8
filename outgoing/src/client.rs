//! One pool of connections with its grants and limits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use host_clock::{Moment, until};
use host_manifest::outgoing::{Origin, Reach};
use http::{Request, Response, StatusCode, Uri, Version, request};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::UpstreamBody;
use crate::connect::Connector;
use crate::destination::Destination;
use crate::error::{Other, SendError};
use crate::exchange::Exchange;
use crate::limits::{ClientLimits, Timeouts};
use crate::policy::Policy;
use crate::replay::{FIRST_PIECE, ReplayBody, Shape};
use crate::resolve::{Resolve, SystemResolver};
use crate::retry::{self, BodyLeft};
use crate::trust::Trust;
use crate::upload::Upload;
use crate::{framing, head};

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
pub struct HttpClient(Arc<Inner>);

struct Inner {
    http: legacy::Client<Connector, Upload>,
    connector: Connector,
    policy: Policy,
    requests: Arc<Semaphore>,
    limits: ClientLimits,
}

impl HttpClient {
    /// A client that may send to these origins. It resolves names as the system does, and believes the
    /// roots of the process.
    #[must_use]
    pub fn new(origins: Vec<Origin>, reach: Reach, limits: ClientLimits) -> Self {
        Self::with_parts((origins, reach), limits, SystemResolver::new(), Trust::process())
    }

    /// The same with another resolver and other roots.
    #[must_use]
    pub fn with_parts(
        (origins, reach): (Vec<Origin>, Reach),
        mut limits: ClientLimits,
        resolver: impl Resolve,
        trust: Trust,
    ) -> Self {
        limits.requests = limits.requests.min(Semaphore::MAX_PERMITS);
        let policy = Policy::new(origins, reach, limits.forbidden.clone());
        let bounds = (limits.connections, limits.connect);
        let connector = Connector::new(policy.clone(), Arc::new(resolver), trust, bounds);
        Self::build(connector, policy, limits)
    }

    /// One that may send what this one may, with a pool of its own: for another generation.
    #[must_use]
    pub fn anew(&self) -> Self {
        let Inner { connector, policy, limits, .. } = &*self.0;
        Self::build(connector.anew(), policy.clone(), limits.clone())
    }

    fn build(connector: Connector, policy: Policy, limits: ClientLimits) -> Self {
        let http = pool(&limits).build(connector.clone());
        let requests = Arc::new(Semaphore::new(limits.requests));
        Self(Arc::new(Inner { http, connector, policy, requests, limits }))
    }

    /// Sends one request and waits for the head of its response. Must be called on a runtime of
    /// tokio. Dropping the future cancels the request.
    ///
    /// The URI must be absolute. `UriHost` is written from it; fields of a connection (`Connection` and
    /// what it names, `Transfer-Encoding`, `TE` but for `trailers`, `Upgrade`, `Keep-Alive`,
    /// `Proxy-…`) are dropped, in the request as in the response. The response is what the server
    /// says: redirects are not followed.
    ///
    /// What the body is on the wire is said in `framing.rs`. The head waits up to 100 ms for the first
    /// piece of a body without a length, so that one which has none is not announced.
    ///
    /// A request is sent again, over another connection, up to twice and within the same deadlines, only
    /// if the server has certainly not processed it, or may do so twice: see `retry.rs`. Any other one
    /// that breaks off fails with [`SendError::Incomplete`].
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send<B>(
        &self,
        request: Request<B>,
        timeouts: Timeouts,
    ) -> Result<Response<UpstreamBody>, SendError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Other>,
    {
        let inner = &*self.0;
        let destination = Destination::from_uri(request.uri())?;
        inner.policy.check(&destination)?;
        let permit = inner.permit()?;
        let (mut parts, body) = request.into_parts();
        let declared = head::sendable(&mut parts, &destination)?;
        let message = Message::new(parts, body, declared, permit).await?;
        let (response, exchange) = inner.respond(&message, timeouts).await?;
        let between = Timeouts::within(timeouts.between_bytes, inner.limits.between_bytes);
        inner.receive(response, exchange, between)
    }

    /// The grant that admits a request to this URI, if one does.
    #[must_use]
    pub fn granting(&self, uri: &Uri) -> Option<&Origin> {
        self.0.policy.granting(&Destination::from_uri(uri).ok()?)
    }

    /// Connections that are open now, idle ones among them, or about to be.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.0.connector.open()
    }
}

/// Whether an origin names where this URI points. A URI that is not sent points nowhere.
#[must_use]
pub fn names(origin: &Origin, uri: &Uri) -> bool {
    Destination::from_uri(uri).is_ok_and(|Destination { scheme, host, port }| {
        origin.admits(&scheme, &host.to_string(), port)
    })
}

/// A request, as often as it may have to be sent.
struct Message {
    head: request::Parts,
    body: ReplayBody,
    empty: bool,
    permit: Arc<OwnedSemaphorePermit>,
}

impl Message {
    async fn new<B>(
        mut head: request::Parts,
        body: B,
        declared: Option<u64>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, SendError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Other>,
    {
        let exact = body.size_hint().exact();
        let length = declared.or_else(|| exact.filter(|bytes| *bytes > 0));
        let is_empty = body.is_end_stream();
        let body = ReplayBody::new(body, length);
        // A length says all that a look would: only whether there is a body at all is left.
        let shape = match (length, exact) {
            _ if is_empty => Shape::Empty,
            (Some(said), Some(bytes)) if said != bytes => Shape::Whole(bytes),
            (Some(bytes), _) => Shape::Whole(bytes),
            (None, _) => body.look(FIRST_PIECE).await?,
        };
        framing::write(&head.method, &mut head.headers, declared, shape)?;
        let empty = matches!(shape, Shape::Empty | Shape::Whole(0));
        Ok(Self { head, body, empty, permit: Arc::new(permit) })
    }

    /// One more attempt to send it.
    fn attempt(&self, stall: Duration) -> (Request<Upload>, Exchange) {
        let (upload, progress) = Upload::new(&self.body, self.empty, self.permit.clone());
        let mut request = Request::from_parts(self.head.clone(), upload);
        let connection = capture_connection(&mut request);
        request.body_mut().goes_over(connection.clone());
        (request, Exchange::new(progress, connection, stall))
    }
}

/// When the waits of a request are over. An attempt that is repeated does not renew them.
#[derive(Clone, Copy)]
struct Waits {
    connect: Duration,
    head: Duration,
    /// Since when a head is waited for; none before the first connection.
    since: Option<Moment>,
}

impl Waits {
    fn connection(&self) -> Moment {
        let connected = Moment::now() + self.connect;
        match self.since {
            Some(since) => connected.min(since + self.head),
            None => connected,
        }
    }
}

impl Inner {
    fn permit(&self) -> Result<OwnedSemaphorePermit, SendError> {
        let limit = self.limits.requests;
        Arc::clone(&self.requests).try_acquire_owned().map_err(|_| SendError::TooMany { limit })
    }

    /// Sends a request until there is a response, or a reason not to try again.
    async fn respond(
        &self,
        message: &Message,
        timeouts: Timeouts,
    ) -> Result<(Response<Incoming>, Exchange), SendError> {
        let mut waits = Waits {
            connect: Timeouts::within(timeouts.connect, self.limits.connect),
            head: Timeouts::within(timeouts.head, self.limits.head),
            since: None,
        };
        let mut more = retry::MAX_RETRIES;
        loop {
            let (request, mut exchange) = message.attempt(self.limits.between_bytes);
            let error = match self.attempt(request, &mut exchange, &mut waits).await {
                Ok(response) => {
                    exchange.answered();
                    message.body.forget();
                    return Ok((response, exchange));
                }
                Err(Failed::At(error)) => error,
                Err(Failed::Sending(error)) => {
                    let end = retry::attempt_end(&error, &exchange);
                    let left = BodyLeft::of_body(&message.body);
                    if more > 0 && retry::is_allowed(&message.head.method, end, left) {
                        more -= 1;
                        exchange.spoil_connection();
                        continue;
                    }
                    SendError::classify(&error)
                }
            };
            // What the connection says of a body that failed is less than what the body said.
            return Err(message.body.failure().unwrap_or(error));
        }
    }

    /// The head of the response, under two deadlines: to a connection, and from there on.
    async fn attempt(
        &self,
        request: Request<Upload>,
        exchange: &mut Exchange,
        waits: &mut Waits,
    ) -> Result<Response<Incoming>, Failed> {
        let mut response = self.http.request(request);
        tokio::select! {
            biased;
            response = &mut response => return response.map_err(Failed::Sending),
            () = exchange.connected() => {}
            () = until(waits.connection()) => return Err(Failed::At(SendError::ConnectTimeout)),
        }
        // Now, because with the response it may already be back in the pool.
        if self.idle() > self.limits.idle_total {
            exchange.spoil_connection();
        }
        loop {
            let since = *waits.since.get_or_insert_with(Moment::now);
            tokio::select! {
                biased;
                response = &mut response => return response.map_err(Failed::Sending),
                () = until(since + waits.head) => {}
            }
            let moved = exchange.progress().moved();
            if moved <= since {
                exchange.spoil_connection();
                return Err(Failed::At(SendError::HeadTimeout));
            }
            waits.since = Some(moved);
        }
    }

    /// Hands a response on.
    fn receive(
        &self,
        response: Response<Incoming>,
        exchange: Exchange,
        between: Duration,
    ) -> Result<Response<UpstreamBody>, SendError> {
        // No request asks for it: `Upgrade` is never sent.
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(SendError::Protocol("it switches protocols unasked".into()));
        }
        if response.version() == Version::HTTP_10 {
            // hyper speaks to its server as it was spoken to from then on, and knows no way to send it a
            // body without a length: it sends none, and gives no error.
            exchange.spoil_connection();
            if exchange.progress().was_left_out() {
                let why = "it speaks HTTP/1.0, and was not sent the body, which has no length";
                return Err(SendError::Protocol(why.into()));
            }
        }
        let (mut parts, incoming) = response.into_parts();
        if let Err(why) = head::received(&mut parts) {
            // Nor is its next response to be trusted, wherever that would begin.
            exchange.spoil_connection();
            return Err(why);
        }
        let body = UpstreamBody::new(incoming, exchange, between, self.limits.response_body)?;
        Ok(Response::from_parts(parts, body))
    }

    /// Connections that no request uses, about: with HTTP/2, requests share one.
    fn idle(&self) -> usize {
        let requests = self.limits.requests.saturating_sub(self.requests.available_permits());
        self.connector.open().saturating_sub(requests)
    }
}

/// How an attempt failed.
enum Failed {
    /// At one of our deadlines.
    At(SendError),
    /// Of itself.
    Sending(legacy::Error),
}

fn pool(limits: &ClientLimits) -> legacy::Builder {
    let mut pool = legacy::Client::builder(TokioExecutor::new());
    pool.timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(limits.idle)
        .pool_max_idle_per_host(limits.idle_per_host)
        .http1_max_buf_size(HEAD_SIZE)
        // RFC 9112 §5.1 and §5.2: what a proxy and a user agent mend in a response.
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http2_max_header_list_size(HEAD_LIST_SIZE)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING);
    pool
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}
