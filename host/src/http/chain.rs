//! Plugins before a component: each handles a request by answering it or by passing it on.
//!
//! ```text
//! exchange ─→ plugin ─→ ChainLink ─→ hop: the rest of the pipeline, an exchange in the exchange
//!                ▲                    │
//!                └───── response ←────┘   its body through a channel of one frame
//! ```
//!
//! The exchange polls the first hop once, after its plugin, if nobody else polls that. Most are answered by then.
//! Other hops, and one that is not done, run in tasks of their own. A hop ends when its plugin has dropped what it waits for, or the body that
//! it was given. Where the manifest says `fail = "open"`, a plugin that fails before it has passed anything on is
//! left out: the next one gets the request, if nothing of its body was read.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::claims;
use super::client_certificate::ClientCertificate;
use super::deadlines::Downstream;
use super::exchange_info::ExchangeInfo;
use super::first_hop::{FirstHop, Hop};
use super::peer_fault::PeerFault;
use super::pipeline::Behind;
use super::reply::Reply;
use super::validate::{METHOD, NAMELESS};
use crate::component::{BodyError, Hops, NEXT_HOST, NextHandler, Passing, WasiBody};

/// Requests that a plugin passes on at once: one, and a few that it asks for itself.
const AT_ONCE: usize = 16;

/// And in all: its deadline to the head begins anew after each.
const IN_ALL: usize = 64;

/// Components behind a plugin that its exchange may poll: they are polled within each other, on the stack of one
/// thread.
const WITHIN: usize = 4;

/// Serves the rest of a pipeline. So a chain knows nothing of the exchange that it is a part of.
pub(super) trait Onward: Send + Sync {
    /// Serves a request that a plugin has passed on, until all of its response is in `reply`.
    fn serve_onward(self: Arc<Self>, onward: OnwardRequest, reply: Reply) -> Hop;
}

/// What a plugin has passed on.
pub(super) struct OnwardRequest {
    pub(super) request: Request<WasiBody>,
    /// Those behind the plugin.
    pub(super) behind: Behind,
    /// It goes out to the network.
    pub(super) is_egress: bool,
    /// The exchange, or the part of one, that the plugin serves.
    pub(super) exchange: Arc<ExchangeInfo>,
    /// What was done to the request that came to the plugin.
    pub(super) peer_fault: PeerFault,
}

/// What the exchange and its plugin have in common. Dropping the last handle ends what was passed on
/// and not yet answered.
pub(super) struct ChainLink(Arc<Shared>);

struct Shared {
    onward: Arc<dyn Onward>,
    rest: Mutex<Behind>,
    origin: Origin,
    /// Requests passed on, in all.
    passed: AtomicUsize,
    /// The first of them.
    first: FirstHop,
    downstream: Downstream,
    /// The request of an open plugin that has passed nothing on.
    kept: Mutex<Option<KeptRequest>>,
}

/// The request as it came to the plugin.
pub(super) struct Origin {
    exchange: Arc<ExchangeInfo>,
    scheme: Scheme,
    authority: Authority,
    hops: Hops,
    certificate: ClientCertificate,
    /// What became of its body on the way from the client.
    peer_fault: PeerFault,
}

/// What is needed to go on without the plugin: the head, and the body until the plugin reads it.
struct KeptRequest {
    head: Parts,
    unread: Arc<Mutex<Option<WasiBody>>>,
}

impl Origin {
    /// A request in this exchange, or in this part of one.
    pub(super) fn new<B>(
        request: &Request<B>,
        exchange: Arc<ExchangeInfo>,
        peer_fault: PeerFault,
    ) -> Self {
        let uri = request.uri();
        Self {
            exchange,
            scheme: uri.scheme().cloned().unwrap_or(Scheme::HTTP),
            authority: uri.authority().cloned().unwrap_or(NAMELESS),
            hops: Hops::in_request(request),
            certificate: ClientCertificate::in_request(request),
            peer_fault,
        }
    }
}

impl ChainLink {
    /// To pass on to the first one of `rest`.
    pub(super) fn new(onward: Arc<dyn Onward>, rest: Behind, origin: Origin) -> Self {
        let downstream = Downstream::new(rest.length());
        Self(Arc::new(Shared {
            onward,
            rest: Mutex::new(rest),
            origin,
            passed: AtomicUsize::new(0),
            first: FirstHop::default(),
            downstream,
            kept: Mutex::default(),
        }))
    }

    /// What the plugin is given.
    pub(super) fn handle(&self) -> Arc<dyn NextHandler> {
        self.0.clone()
    }

    /// Those behind it.
    pub(super) fn downstream(&self) -> Downstream {
        self.0.downstream.clone()
    }

    /// Keeps what is needed of a request to go on without the plugin.
    pub(super) fn keep(&self, request: Request<WasiBody>) -> Request<WasiBody> {
        let (head, body) = request.into_parts();
        let unread = Arc::new(Mutex::new(Some(body)));
        *lock(&self.0.kept) = Some(KeptRequest { head: head.clone(), unread: unread.clone() });
        Request::from_parts(head, LentBody { unread, body: None }.boxed_unsync())
    }

    /// The request and those that are to serve it, when the plugin has failed. None if it was not kept, if
    /// the plugin has passed anything on, or has begun to read the body.
    pub(super) fn leave_out(self) -> Option<(Request<WasiBody>, Behind)> {
        let KeptRequest { head, unread } = lock(&self.0.kept).take()?;
        let body = lock(&unread).take()?;
        Some((Request::from_parts(head, body), lock(&self.0.rest).clone()))
    }

    /// What the plugin passes on first, for its exchange.
    pub(super) fn first(&self) -> &FirstHop {
        &self.0.first
    }

    /// The plugin has answered: there is no going on without it any more.
    pub(super) fn forget(&self) {
        self.0.first.end();
        drop(lock(&self.0.kept).take());
        // It may stream for hours. The next component is looked up when it passes on again.
        lock(&self.0.rest).let_go();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Gives a request its authority back that was sent to the name of the next one. (Its header Host
    /// is no guest's to see: wasmtime takes it out.)
    fn restore(&self, request: &mut Request<WasiBody>) {
        let mut parts = request.uri().clone().into_parts();
        if request.uri().host().is_none_or(|host| host == NEXT_HOST) {
            parts.authority = Some(self.origin.authority.clone());
            parts.scheme = Some(self.origin.scheme.clone());
        }
        parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}

impl NextHandler for Shared {
    fn pass(self: Arc<Self>, mut request: Request<WasiBody>) -> Result<Passing, BodyError> {
        if request.method().as_str().len() > METHOD {
            return Err(BodyError::HttpRequestMethodInvalid);
        }
        let in_all = self.passed.fetch_add(1, Ordering::Relaxed);
        let claim = self.downstream.claim(AT_ONCE).filter(|_| in_all < IN_ALL);
        let claim = claim.ok_or(BodyError::ConnectionLimitReached)?;
        self.restore(&mut request);
        self.origin.hops.keep(&mut request);
        let behind = lock(&self.rest).clone();
        let is_egress = matches!(behind, Behind::Network(_));
        if !is_egress {
            claims::remove_lookalikes(request.headers_mut());
            self.origin.certificate.write(request.headers_mut());
        }
        // Those behind may have done already what is asked: it is not asked of them a second time.
        drop(lock(&self.kept).take());
        let onward = OnwardRequest {
            request,
            behind,
            is_egress,
            exchange: self.origin.exchange.clone(),
            peer_fault: self.origin.peer_fault.clone(),
        };
        let within = onward.behind.length() <= WITHIN;
        let (reply, passing) = Reply::new(claim, &self.downstream);
        let hop = self.onward.clone().serve_onward(onward, reply);
        if in_all == 0 && within {
            self.first.offer(hop);
        } else {
            tokio::spawn(hop);
        }
        Ok(passing)
    }
}

/// The body of a request that is kept: it may be taken back until the plugin begins to read it.
struct LentBody {
    unread: Arc<Mutex<Option<WasiBody>>>,
    /// Once it is read.
    body: Option<WasiBody>,
}

impl Body for LentBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { unread, body } = &mut *self;
        if body.is_none() {
            *body = lock(unread).take();
        }
        match body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(Some(Err(BodyError::HttpResponseIncomplete))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Some(body) => body.is_end_stream(),
            None => lock(&self.unread).as_ref().is_some_and(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => lock(&self.unread).as_ref().map_or_else(SizeHint::default, Body::size_hint),
        }
    }
}
