//! One exchange, from the request's head to the response's.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::Limits;
use super::admission::{Admission, Permit};
use super::afterwork::Afterwork;
use super::answer::{Answer, Stream, Timers, Work};
use super::edge;
use super::failure::{self, Failure};
use super::upload::{self, Upload};
use crate::component::{Generation, GuestFailure, Running, Slot, WasiBody};
use crate::lifecycle::{Guard, Phase, PhaseWatch, Tracker, Work as InFlight};
use crate::net;

/// Serves exchanges: the service that the network is handed. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Exchanges(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    slot: Arc<Slot>,
    admission: Admission,
    phase: PhaseWatch,
    exchanges: Tracker,
    afterwork: Afterwork,
    limits: Limits,
}

/// What an exchange is called in logs and among the survivors of a drain.
#[derive(Debug)]
pub(super) struct Label {
    method: Method,
    uri: Uri,
    /// Once it has an instance: who waits for one may get one of a newer generation.
    server: OnceLock<(Arc<str>, u64)>,
}

impl Label {
    fn component(&self) -> Option<&str> {
        self.server.get().map(|(component, _)| &**component)
    }

    fn generation(&self) -> Option<u64> {
        self.server.get().map(|(_, generation)| *generation)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, uri, .. } = self;
        let path = uri.path_and_query().map_or("*", |path| path.as_str());
        write!(f, "{method} {path}")?;
        self.generation().map_or(Ok(()), |generation| write!(f, " generation={generation}"))
    }
}

/// Why an exchange failed before its head was out: for the peer, and for the log.
enum Fault {
    Host(Failure),
    Guest(GuestFailure),
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Host(failure)
    }
}

impl Exchanges {
    /// Serves the component in `slot`.
    #[must_use]
    pub fn new(slot: Arc<Slot>, phase: PhaseWatch, in_flight: &InFlight, limits: Limits) -> Self {
        let afterwork = Afterwork {
            tracker: in_flight.afterwork.clone(),
            phase: phase.clone(),
            limit: limits.after,
        };
        let admission = Admission::new(limits.instances, limits.queue, limits.queue_wait);
        let exchanges = in_flight.exchanges.clone();
        Self(Arc::new(Shared { slot, admission, phase, exchanges, afterwork, limits }))
    }

    async fn answer(self, mut request: Request<Incoming>) -> Response<Answer> {
        match edge::check(&mut request, self.0.limits.headers) {
            Ok(edge::Verdict::Pass) => {}
            Ok(edge::Verdict::ServerOptions) => return failure::server_options(),
            Err(failure) => return failure.response(),
        }
        let label = Arc::new(Label {
            method: request.method().clone(),
            uri: request.uri().clone(),
            server: OnceLock::new(),
        });
        let mut guard = self.0.exchanges.enter(label.clone());
        match self.0.run(request, &label).await {
            Ok(begun) => self.respond(begun, guard, label).await,
            Err(fault) => {
                let failure = report(&fault, &guard, &label);
                if matches!(failure, Failure::Cut | Failure::Retired) {
                    guard.mark_cut();
                }
                failure.response()
            }
        }
    }

    /// Makes the response that hyper sends: the guest goes on inside its body.
    async fn respond(self, begun: Begun, guard: Guard, label: Arc<Label>) -> Response<Answer> {
        let Begun { response, running, permit, generation, deadline, bodyless } = begun;
        let body_idle = self.0.limits.body_idle;
        let work = Work { running, permit, generation, guard, label, exchanges: self };
        let (parts, body) = response.into_parts();
        if bodyless {
            drop(work.finish(Some(body), None));
            return Response::from_parts(parts, Answer::fixed(""));
        }
        let owed = declared_length(&parts.headers);
        let mut stream = Stream {
            body,
            work: Some(work),
            body_idle,
            deadline,
            owed,
            early: VecDeque::new(),
            guard: None,
            timers: Timers::default(),
        };
        match poll_fn(|cx| Poll::Ready(stream.begin(cx))).await {
            Ok(Some(whole)) => Response::from_parts(parts, whole),
            Ok(None) => Response::from_parts(parts, Answer::stream(stream)),
            Err(broken) => broken.failure().response(),
        }
    }

    /// Instances that serve an exchange or work after its answer.
    #[must_use]
    pub fn instances_in_use(&self) -> usize {
        self.0.limits.instances.saturating_sub(self.0.admission.free())
    }

    pub(super) fn phase(&self) -> &PhaseWatch {
        &self.0.phase
    }

    pub(super) fn afterwork(&self) -> &Afterwork {
        &self.0.afterwork
    }
}

/// A guest that has sent the head of its answer.
struct Begun {
    response: Response<WasiBody>,
    running: Running,
    permit: Permit,
    generation: Arc<Generation>,
    deadline: Option<Instant>,
    /// HEAD, 204, 304: no body follows, whatever the guest writes.
    bodyless: bool,
}

impl Shared {
    /// Runs a guest until the head of its answer is there.
    async fn run(&self, request: Request<Incoming>, label: &Label) -> Result<Begun, Fault> {
        let began = Instant::now();
        let limits = &self.limits;
        if declared_length(request.headers()).is_some_and(|bytes| bytes > limits.request_body) {
            return Err(Failure::BodyTooLarge.into());
        }
        let is_head = *request.method() == Method::HEAD;
        let (request, verdict) = self.receive(request);
        let permit = self.admit().await?;
        // Once, and now that it begins: what waited does not run on code that was replaced since.
        let generation = self.slot.current();
        label.server.get_or_init(|| (generation.component(), generation.number()));
        let mut running = generation.start(request);
        let deadline = limits.total.map(|total| began + total);
        let head_by = Instant::now() + limits.response_head;
        let head_by = deadline.map_or(head_by, |deadline| deadline.min(head_by));
        let head = tokio::select! {
            biased;
            head = self.head(&mut running, &verdict, &generation) => head,
            () = self.phase.reached(Phase::Cut) => Err(Failure::Cut.into()),
            () = generation.cut() => Err(Failure::Retired.into()),
            () = sleep_until(head_by) => Err(Failure::GuestTooSlow.into()),
        };
        let response = head?;
        if response.status().is_informational() {
            return Err(Fault::Guest(GuestFailure::Interim(response.status().as_u16())));
        }
        let bodyless = is_head
            || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(Begun { response, running, permit, generation, deadline, bodyless })
    }

    async fn admit(&self) -> Result<Permit, Fault> {
        tokio::select! {
            biased;
            permit = self.admission.enter() => permit.map_err(|_| Failure::AtLimit.into()),
            () = self.phase.reached(Phase::Cut) => Err(Failure::Cut.into()),
        }
    }

    /// The request as the guest will see it, and what became of its body.
    fn receive(&self, request: Request<Incoming>) -> (Request<WasiBody>, upload::Verdict) {
        let (parts, body) = request.into_parts();
        if body.is_end_stream() {
            let none = http_body_util::Empty::<Bytes>::new().map_err(|never| match never {});
            return (Request::from_parts(parts, none.boxed_unsync()), upload::Verdict::default());
        }
        let limits = &self.limits;
        let expected = parts.headers.contains_key(EXPECT);
        let (upload, verdict) = Upload::new(body, limits.request_body, limits.body_idle, expected);
        (Request::from_parts(parts, upload.boxed_unsync()), verdict)
    }

    /// Drives the guest to its head. Looks at the phase first, so that a guest which is to be cut
    /// gets no further turn.
    async fn head(
        &self,
        running: &mut Running,
        verdict: &upload::Verdict,
        generation: &Generation,
    ) -> Result<Response<WasiBody>, Fault> {
        poll_fn(|cx| {
            if self.phase.now() == Phase::Cut {
                return Poll::Ready(Err(Failure::Cut.into()));
            }
            if generation.is_cut() {
                return Poll::Ready(Err(Failure::Retired.into()));
            }
            let head = running.poll_head(cx);
            if let (Some(failure), false) = (verdict.failure(), matches!(head, Poll::Ready(Ok(_))))
            {
                return Poll::Ready(Err(failure.into()));
            }
            head.map_err(Fault::Guest)
        })
        .await
    }
}

/// Writes the cause into the log and gives what the peer is told.
fn report(fault: &Fault, guard: &Guard, label: &Label) -> Failure {
    let failure = match fault {
        Fault::Host(failure) => *failure,
        Fault::Guest(why) => why.into(),
    };
    let (exchange, component, generation) = (guard.id(), label.component(), label.generation());
    let status = failure.status().as_u16();
    match fault {
        Fault::Guest(why) => {
            warn!(exchange, component, generation, status, %why, "guest failed: {label}");
        }
        Fault::Host(Failure::PeerGone) => debug!(exchange, "peer gone: {label}"),
        Fault::Host(why) => {
            info!(exchange, component, generation, status, ?why, "refused: {label}");
        }
    }
    failure
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl net::Service for Exchanges {
    type Body = Answer;

    fn call(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Answer>> + Send + 'static {
        self.clone().answer(request)
    }

    fn refusal(&self, why: net::Refusal) -> Bytes {
        match why {
            net::Refusal::HeadTooSlow => Failure::HeadTooSlow.bytes(),
            net::Refusal::Stopping => Failure::Cut.bytes(),
        }
    }
}
