//! Plugins before a component: each handles a request by answering it or by passing it on.
//!
//! ```text
//! exchange ─→ plugin ─→ Pass ─→ task: the rest of the way, an exchange in the exchange
//!                ▲                 │
//!                └── response ←────┘   its body through a channel of a few frames
//! ```
//!
//! What is passed on runs in a task of its own, whose owner is the body that the plugin is given. Where the
//! manifest says `fail = "open"`, a plugin that fails before it has passed anything on is left out: the
//! next one gets the request, if nothing of its body was read.

use std::future::ready;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use super::clock::{Behind, Owed};
use super::edge::{METHOD, NAMELESS};
use super::exchange::Exchanges;
use super::pipe::piped;
use super::verdict::Verdict;
use super::way::Way;
use crate::component::{BodyError, Hops, NEXT_HOST, NextHandler, Passing, WasiBody};

/// Requests that a plugin passes on at once: one, and a few that it asks for itself.
const AT_ONCE: usize = 16;

/// And in all: its clock begins anew after each.
const IN_ALL: usize = 64;

/// What the exchange and its plugin have in common. Dropping the last handle ends what was passed on
/// and not yet answered.
pub(super) struct Pass(Arc<Shared>);

struct Shared {
    exchanges: Exchanges,
    rest: Mutex<Way>,
    origin: Origin,
    /// Rights to pass on.
    rights: Arc<Semaphore>,
    /// Requests passed on, in all.
    passed: AtomicUsize,
    /// Requests passed on that have no answer yet.
    waiting: watch::Sender<usize>,
    /// Those, and frames of answers.
    behind: Behind,
    /// The request of an open plugin that has passed nothing on.
    kept: Mutex<Option<Kept>>,
}

/// The request as it came to the plugin.
pub(super) struct Origin {
    exchange: u64,
    scheme: Scheme,
    authority: Authority,
    hops: Hops,
    /// What became of its body on the way from the client.
    verdict: Verdict,
}

impl Origin {
    /// Of a request in the exchange of this number.
    pub(super) fn of<B>(request: &Request<B>, exchange: u64, verdict: Verdict) -> Self {
        let uri = request.uri();
        Self {
            exchange,
            scheme: uri.scheme().cloned().unwrap_or(Scheme::HTTP),
            authority: uri.authority().cloned().unwrap_or(NAMELESS),
            hops: Hops::in_request(request),
            verdict,
        }
    }
}

/// What is needed to go on without the plugin: the head, and the body as long as nobody reads it.
type Kept = (Parts, Arc<Mutex<Option<WasiBody>>>);

impl Pass {
    /// To pass on to the first one of `rest`.
    pub(super) fn new(exchanges: Exchanges, rest: Way, origin: Origin) -> Self {
        let behind = Behind::new(rest.limits().count());
        Self(Arc::new(Shared {
            exchanges,
            rest: Mutex::new(rest),
            origin,
            rights: Arc::new(Semaphore::new(AT_ONCE)),
            passed: AtomicUsize::new(0),
            waiting: watch::Sender::new(0),
            behind,
            kept: Mutex::default(),
        }))
    }

    /// What the plugin is given.
    pub(super) fn handle(&self) -> Arc<dyn NextHandler> {
        self.0.clone()
    }

    /// Those behind it.
    pub(super) fn behind(&self) -> Behind {
        self.0.behind.clone()
    }

    /// Keeps what is needed of a request to go on without the plugin.
    pub(super) fn keep(&self, request: Request<WasiBody>) -> Request<WasiBody> {
        let (parts, body) = request.into_parts();
        let unread = Arc::new(Mutex::new(Some(body)));
        *lock(&self.0.kept) = Some((parts.clone(), unread.clone()));
        Request::from_parts(parts, Lent { unread, body: None }.boxed_unsync())
    }

    /// Waits until the plugin waits for those behind it.
    pub(super) async fn is_waiting(&self) {
        // The sender is here.
        drop(self.0.waiting.subscribe().wait_for(|waiting| *waiting > 0).await);
    }

    /// Waits until it does not. Those behind have their own deadlines.
    pub(super) async fn is_answered(&self) {
        drop(self.0.waiting.subscribe().wait_for(|waiting| *waiting == 0).await);
    }

    /// The request, for the next one, when the plugin has failed. None if it was not kept, if the plugin
    /// has passed anything on, or has begun to read the body.
    pub(super) fn take_back(&self) -> Option<Request<WasiBody>> {
        let (parts, unread) = lock(&self.0.kept).take()?;
        let body = lock(&unread).take()?;
        Some(Request::from_parts(parts, body))
    }

    /// The plugin has answered: there is no going on without it any more.
    pub(super) fn forget(&self) {
        drop(lock(&self.0.kept).take());
        // It may stream for hours: who comes after it is looked up then.
        lock(&self.0.rest).let_go();
    }

    /// Those behind the plugin.
    pub(super) fn into_rest(self) -> Way {
        lock(&self.0.rest).clone()
    }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a request as waiting for its answer.
struct Waits(Arc<Shared>, #[expect(dead_code, reason = "held")] Owed);

impl Waits {
    fn new(shared: Arc<Shared>) -> Self {
        shared.waiting.send_modify(|waiting| *waiting += 1);
        let owed = shared.behind.owe();
        Self(shared, owed)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

impl NextHandler for Shared {
    fn pass(self: Arc<Self>, mut request: Request<WasiBody>) -> Passing {
        if request.method().as_str().len() > METHOD {
            return Box::pin(ready(Err(BodyError::HttpRequestMethodInvalid)));
        }
        let in_all = self.passed.fetch_add(1, Ordering::Relaxed);
        let right = self.rights.clone().try_acquire_owned().ok().filter(|_| in_all < IN_ALL);
        let Some(right) = right else {
            return Box::pin(ready(Err(BodyError::ConnectionLimitReached)));
        };
        self.restore(&mut request);
        self.origin.hops.keep(&mut request);
        // Those behind may have done already what is asked: it is not asked of them a second time.
        drop(lock(&self.kept).take());
        let waits = Waits::new(self.clone());
        let (send, answer) = oneshot::channel();
        let (exchanges, rest) = (self.exchanges.clone(), lock(&self.rest).clone());
        let (of, verdict) = (self.origin.exchange, self.origin.verdict.clone());
        let behind = self.behind.clone();
        let task = tokio::spawn(async move {
            let response = exchanges.hop(request, rest, of, verdict).await;
            let (head, body) = response.into_parts();
            let (body, pump) = piped(body, behind);
            // Where nobody waits any more the body is dropped, and the guest with it.
            drop(send.send(Response::from_parts(head, body)));
            if let Some(pump) = pump {
                pump.await;
            }
        });
        let task = AbortOnDropHandle::new(task);
        Box::pin(async move {
            let answer = answer.await;
            drop(waits);
            let answer = answer.map_err(|_| BodyError::HttpResponseIncomplete)?;
            Ok(answer.map(|body| Guarded { body, _task: task, _right: right }.boxed_unsync()))
        })
    }
}

/// The body of a request that is kept: it may be taken back until the plugin begins to read it.
struct Lent {
    unread: Arc<Mutex<Option<WasiBody>>>,
    /// Once it is read.
    body: Option<WasiBody>,
}

impl Body for Lent {
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

/// A body with the task that writes it.
struct Guarded {
    body: WasiBody,
    _task: AbortOnDropHandle<()>,
    _right: OwnedSemaphorePermit,
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
