//! Plugins before a component: each handles a request by answering it or by passing it on.
//!
//! ```text
//! exchange ─→ plugin ─→ Pass ─→ task: the rest of the way, an exchange in the exchange
//!                ▲                 │
//!                └── response ←────┘   its body through a channel of a few frames
//! ```
//!
//! What is passed on runs in a task of its own, so a plugin that dies does not take it along: where
//! the manifest says `fail = "open"`, the exchange goes on with what the plugin has not touched.

use std::future::ready;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::response::Parts as Head;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;

use super::clock::{Behind, Owed};
use super::edge::{METHOD, NAMELESS};
use super::exchange::Exchanges;
use super::pipe::piped;
use super::verdict::Verdict;
use super::way::Way;
use crate::component::{BodyError, Hops, NEXT_HOST, Next, Passing, WasiBody};

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
    /// One of them may have changed something (RFC 9110 §9.2.1).
    unsafe_passed: AtomicBool,
    /// Requests passed on that have no answer yet.
    waiting: watch::Sender<usize>,
    /// Those, and frames of answers.
    behind: Behind,
    kept: Mutex<Kept>,
}

/// The request as it came to the plugin.
pub(super) struct Origin {
    exchange: u64,
    method: Method,
    path: PathAndQuery,
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
            method: request.method().clone(),
            path: uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
            scheme: uri.scheme().cloned().unwrap_or(Scheme::HTTP),
            authority: uri.authority().cloned().unwrap_or(NAMELESS),
            hops: Hops::of(request),
            verdict,
        }
    }

    /// Whether a request asks for the same: what a plugin asks for itself is no answer for a client.
    fn is<B>(&self, request: &Request<B>) -> bool {
        *request.method() == self.method && request.uri().path_and_query() == Some(&self.path)
    }
}

/// What is needed to go on without the plugin.
#[derive(Default)]
struct Kept {
    request: Option<(Parts, Arc<Shelter>)>,
    passed: Option<Passed>,
}

/// A request that was passed on: its answer, sooner or later.
#[derive(Clone)]
struct Passed {
    answer: watch::Receiver<Option<(Head, Arc<Shelter>)>>,
    _task: Arc<Task>,
}

/// How an exchange goes on whose plugin has failed.
pub(super) enum Recovered {
    /// Nothing of the request was taken: the next one gets it.
    Request(Request<WasiBody>),
    /// The plugin had passed it on, and nothing of the answer was taken.
    Response(Response<WasiBody>),
    /// What the plugin has taken is gone.
    Nothing,
}

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
            unsafe_passed: AtomicBool::new(false),
            waiting: watch::Sender::new(0),
            behind,
            kept: Mutex::default(),
        }))
    }

    /// What the plugin is given.
    pub(super) fn handle(&self) -> Arc<dyn Next> {
        self.0.clone()
    }

    /// Those behind it.
    pub(super) fn behind(&self) -> Behind {
        self.0.behind.clone()
    }

    /// Keeps what is needed of a request to go on without the plugin.
    pub(super) fn keep(&self, request: Request<WasiBody>) -> Request<WasiBody> {
        let (parts, body) = request.into_parts();
        let shelter = Shelter::new(body);
        self.0.kept().request = Some((parts.clone(), shelter.clone()));
        Request::from_parts(parts, Sheltered(shelter).boxed_unsync())
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

    /// What is left of the request when the plugin has failed: nothing unless [`Self::keep`] was
    /// called. Waits for an answer that is under way; whoever makes it has deadlines.
    pub(super) async fn recover(&self) -> Recovered {
        let Kept { request, passed } = std::mem::take(&mut *self.0.kept());
        let Some((parts, body)) = request else { return Recovered::Nothing };
        if let Some(mut passed) = passed {
            let answer = passed.answer.wait_for(Option::is_some).await;
            let answer = answer.ok().and_then(|answer| answer.clone());
            return match answer.and_then(|(head, body)| Some((head, body.take()?))) {
                Some((head, body)) => {
                    let body = Guarded { body, _task: passed._task };
                    Recovered::Response(Response::from_parts(head, body.boxed_unsync()))
                }
                None => Recovered::Nothing,
            };
        }
        if self.0.may_be_done() {
            return Recovered::Nothing;
        }
        match body.take() {
            Some(body) => Recovered::Request(Request::from_parts(parts, body)),
            None => Recovered::Nothing,
        }
    }

    /// The plugin has answered: there is no going on without it any more.
    pub(super) fn forget(&self) {
        drop(std::mem::take(&mut *self.0.kept()));
        // It may stream for hours: who comes after it is looked up then.
        self.0.rest().let_go();
    }

    /// Those behind the plugin.
    pub(super) fn into_rest(self) -> Way {
        self.0.rest().clone()
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

    /// Whether what the client asks for may have been done already, by a request that the plugin made
    /// of the client's: nobody but the client knows whether it may be done twice.
    fn may_be_done(&self) -> bool {
        !self.origin.method.is_safe() && self.unsafe_passed.load(Ordering::Acquire)
    }

    fn rest(&self) -> MutexGuard<'_, Way> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

impl Next for Shared {
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
        let answers_the_client = self.origin.is(&request);
        if !request.method().is_safe() {
            self.unsafe_passed.store(true, Ordering::Release);
        }
        let waits = Waits::new(self.clone());
        let (send, answer) = watch::channel(None);
        let (exchanges, rest) = (self.exchanges.clone(), self.rest().clone());
        let (of, verdict) = (self.origin.exchange, self.origin.verdict.clone());
        let behind = self.behind.clone();
        let task = tokio::spawn(async move {
            let response = exchanges.hop(request, rest, of, verdict).await;
            let (head, body) = response.into_parts();
            let (body, pump) = piped(body, behind);
            // Nobody waits any more: then the body is dropped, and the guest with it.
            drop(send.send(Some((head, Shelter::new(body)))));
            if let Some(pump) = pump {
                pump.await;
            }
        });
        let passed = Passed { answer, _task: Arc::new(Task(task.abort_handle(), right)) };
        let mut kept = self.kept();
        if kept.request.is_some() && answers_the_client {
            // A plugin that passes on twice is answered twice; the latest is what can be gone on with.
            kept.passed = Some(passed.clone());
        }
        drop(kept);
        Box::pin(async move {
            let Passed { mut answer, _task } = passed;
            let answer = answer.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
            drop(waits);
            let (head, body) = answer.ok_or(BodyError::HttpResponseIncomplete)?;
            let body = Guarded { body: Sheltered(body), _task };
            Ok(Response::from_parts(head, body.boxed_unsync()))
        })
    }
}

/// Ends a task with its last owner.
struct Task(AbortHandle, #[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A body that may be taken back as long as nobody has begun to read it.
struct Shelter {
    body: Mutex<Option<WasiBody>>,
    touched: AtomicBool,
}

impl Shelter {
    fn new(body: WasiBody) -> Arc<Self> {
        Arc::new(Self { body: Mutex::new(Some(body)), touched: AtomicBool::new(false) })
    }

    fn body(&self) -> MutexGuard<'_, Option<WasiBody>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<WasiBody> {
        let body = self.body().take();
        body.filter(|_| !self.touched.load(Ordering::Acquire))
    }
}

struct Sheltered(Arc<Shelter>);

impl Body for Sheltered {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.touched.store(true, Ordering::Release);
        match &mut *self.0.body() {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(Some(Err(BodyError::HttpResponseIncomplete))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.body().as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.body().as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// A body with the task that writes it.
struct Guarded<B> {
    body: B,
    _task: Arc<Task>,
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Body for Guarded<B> {
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
