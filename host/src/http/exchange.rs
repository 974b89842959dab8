//! One exchange, from the request's head to the response's.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use host_clock::Moment;
use host_manifest::routes::RouteMatch;
use host_manifest::{ComponentConfig, Fail, MinRate};
use http::header::{EXPECT, TE};
use http::{Method, Request, Response, StatusCode};
use tokio::task::yield_now;
use tracing::{debug, info, warn};

use super::afterwork::Afterwork;
use super::answer::{Answer, Stream, Timers, Work};
use super::chain::{Origin, Pass};
use super::clock::Clock;
use super::edge;
use super::failure::{self, Failure};
use super::label::Label;
use super::prefetch::{Prefetch, declared_length};
use super::upload::{self, Upload, UploadLimits};
use super::verdict::Verdict;
use super::way::Way;
use crate::component::{Generation, GuestFailure, Hops, Running, WasiBody};
use crate::date;
use crate::lifecycle::{Guard, Tracker, Trackers};
use crate::net::{self, RequestBody, Scarcity};
use crate::site::{BreakerState, CircuitBreaker, InstancePermit, RouteTarget, Slot};

/// Serves exchanges: the service that the network is handed. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Exchanges(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    site: Arc<Slot>,
    exchanges: Tracker,
    /// Parts of exchanges that run in a chain: each is inside an exchange that a stop waits for.
    hops: Tracker,
    afterwork: Afterwork,
    terms: Terms,
    prefetch: Prefetch,
    scarcity: Arc<Scarcity>,
}

/// How often a guest that waits for its client is looked at before its head goes out: a body that is broken
/// already is the client's fault, and it is told so as long as it can be.
const LOOKS: usize = 2;

/// A slow peer that is cut for the sake of who waits has gone after this.
const CUT_WITHIN: Duration = Duration::from_secs(1);

/// What every request must keep to, whoever serves it.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Headers that it may have.
    pub headers: usize,
    /// The slowest that its body may come, if there is one.
    pub min_rate: Option<MinRate>,
    /// Bytes of a body, of a length that its head says, that is read before an instance is taken; 0
    /// for never.
    pub prefetch: u64,
}

/// Why an exchange failed before its head was out: for the peer, and for the log.
enum Fault {
    Host(Failure),
    Guest(GuestFailure),
}

impl Fault {
    /// What the peer is told.
    fn failure(&self) -> Failure {
        match self {
            Self::Host(failure) => *failure,
            Self::Guest(why) => why.into(),
        }
    }

    /// Whether the guest did it.
    fn is_of_the_guest(&self) -> bool {
        match self {
            Self::Guest(why) => !matches!(why, GuestFailure::PoolFull | GuestFailure::NoMemory),
            Self::Host(failure) => *failure == Failure::GuestTooSlow,
        }
    }

    /// Whether the component cannot serve, for whatever reason; not the peer, nor a stop.
    fn is_of_the_component(&self) -> bool {
        match self {
            Self::Guest(_) => true,
            Self::Host(failure) => failure.is_of_the_component(),
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Host(failure)
    }
}

impl Exchanges {
    /// Serves the site in `site` to requests that keep to `terms`. Who waits for an instance is told to
    /// `scarcity`.
    #[must_use]
    pub fn new(
        site: Arc<Slot>,
        in_flight: &Trackers,
        terms: Terms,
        scarcity: Arc<Scarcity>,
    ) -> Self {
        let afterwork = Afterwork { tracker: in_flight.afterwork.clone() };
        let (exchanges, hops) = (in_flight.exchanges.clone(), Tracker::named());
        let prefetch = Prefetch::new(terms.prefetch);
        let shared = Shared { site, exchanges, hops, afterwork, terms, prefetch, scarcity };
        Self(Arc::new(shared))
    }

    async fn answer(self, mut request: Request<RequestBody>) -> Response<Answer> {
        let hops = Hops::take(request.headers_mut());
        let checked = match edge::check(&mut request, self.0.terms.headers) {
            Ok(edge::Verdict::Pass) if hops.are_too_many() => Err(Failure::Loop.response()),
            Ok(edge::Verdict::Pass) => self.0.route(&request).map_err(|refusal| *refusal),
            Ok(edge::Verdict::ServerOptions) => Err(failure::server_options()),
            Err(failure) => Err(failure.response()),
        };
        let way = match checked {
            Ok(way) => way,
            Err(refusal) => return upload::turn_away(request, refusal),
        };
        hops.keep(&mut request);
        let label = Arc::new(Label::new(&request, None));
        let guard = self.0.exchanges.guard(label.clone());
        let (began, verdict) = (Moment::now(), Verdict::default());
        let mut limits = UploadLimits::of(&way, self.0.terms.min_rate);
        if declared_length(request.headers()).is_some_and(|bytes| bytes > limits.bytes) {
            return refuse(&Failure::BodyTooLarge.into(), guard, &label);
        }
        if !self.0.prefetch.takes(&request) {
            // Who announces no length, or asks first, may wait for an answer: that is no slow client.
            let headers = request.headers();
            let announced = declared_length(headers).is_some() && !headers.contains_key(EXPECT);
            limits.scarcity = announced.then(|| self.0.scarcity.clone());
            let request = upload::receive(request, &limits, &verdict);
            return self.serve((request, began), verdict, way, guard, label).await;
        }
        let total = way.first().and_then(|first| first.limits.total);
        // Who has sent a head only holds nothing of a component, and is routed when all is there.
        drop(way);
        let (request, upload) = Upload::new(request, &limits, &verdict);
        let request = match self.0.read(upload, total, &verdict).await {
            Ok(body) => request.map(|()| body),
            Err(failure) => return refuse(&failure.into(), guard, &label),
        };
        let way = match self.0.route(&request) {
            Ok(way) => way,
            Err(refusal) => return *refusal,
        };
        self.serve((request, began), verdict, way, guard, label).await
    }

    /// Serves the rest of a chain: a part of the exchange with this number. `verdict` is that of the
    /// plugin before it.
    pub(super) async fn hop(
        self,
        request: Request<WasiBody>,
        way: Way,
        of: u64,
        verdict: Verdict,
    ) -> Response<Answer> {
        let label = Arc::new(Label::new(&request, Some(of)));
        let guard = self.0.hops.guard(label.clone());
        let most = UploadLimits::of(&way, None).bytes;
        if declared_length(request.headers()).is_some_and(|bytes| bytes > most) {
            return refuse(&Failure::BodyTooLarge.into(), guard, &label);
        }
        let verdict = verdict.behind();
        let request = request.map(|body| upload::limited(body, most, verdict.clone()));
        self.serve((request, Moment::now()), verdict, way, guard, label).await
    }

    /// Serves a request by the first component on its way, whose time has begun. An open plugin that
    /// fails is left out.
    async fn serve(
        self,
        (mut request, mut began): (Request<WasiBody>, Moment),
        verdict: Verdict,
        mut way: Way,
        guard: Guard,
        label: Arc<Label>,
    ) -> Response<Answer> {
        loop {
            let pass = way.rest().map(|rest| {
                let exchange = label.exchange(&guard);
                let origin = Origin::of(&request, exchange, verdict.clone());
                Pass::new(self.clone(), rest, origin)
            });
            if let Some(pass) = &pass
                && way.first().is_some_and(|plugin| plugin.fail == Fail::Open)
            {
                request = pass.keep(request);
            }
            let turn = Turn { way: &mut way, pass: pass.as_ref(), label: &label, began };
            let fault = match self.0.run(request, &verdict, turn).await {
                Ok(begun) => {
                    if let Some(pass) = &pass {
                        pass.forget();
                    }
                    let answer = self.respond(begun, verdict, guard, label).await;
                    let told = |failure: Failure| match pass {
                        Some(_) => failure.of_plugin().response(),
                        None => failure.response(),
                    };
                    return answer.unwrap_or_else(told);
                }
                Err(fault) => fault,
            };
            // A plugin that hangs until its time is up after a swap is left out as any that hangs.
            let retired = matches!(fault, Fault::Host(Failure::Retired));
            let Some(pass) = pass.filter(|_| retired || fault.is_of_the_component()) else {
                return refuse(&fault, guard, &label);
            };
            let failure = fault.failure().of_plugin();
            report(&fault, failure, &guard, &label);
            let Some(kept) = pass.take_back() else {
                let mut guard = guard;
                if retired {
                    guard.mark_cut();
                }
                return failure.response();
            };
            let (exchange, plugin) = (label.exchange(&guard), way.first().map(|it| &*it.name));
            info!(exchange, plugin, "passed by: fail = open");
            request = kept;
            // What a plugin has wasted is not the time of the next one.
            began = Moment::now();
            way = pass.into_rest();
            *label.server() = None;
        }
    }

    /// Makes the response that hyper sends: the guest goes on inside its body. A guest that has failed
    /// by now has failed before its head is out.
    async fn respond(
        self,
        begun: Begun,
        verdict: Verdict,
        guard: Guard,
        label: Arc<Label>,
    ) -> Result<Response<Answer>, Failure> {
        let Begun { response, running, admitted, clock, body_idle, bodyless } = begun;
        let room = admitted.entry.limits.response_body;
        let upload = verdict.clone();
        let work = Work { running, admitted, verdict, guard, label, exchanges: self };
        let (parts, body) = response.into_parts();
        if bodyless {
            drop(work.finish(Some(body), None));
            return Ok(Response::from_parts(parts, Answer::fixed("")));
        }
        let owed = declared_length(&parts.headers);
        let mut stream = Stream {
            body,
            work: Some(work),
            body_idle,
            clock,
            owed,
            room,
            early: VecDeque::new(),
            guard: None,
            timers: Timers::default(),
        };
        let mut begun = poll_fn(|cx| Poll::Ready(stream.begin(cx))).await;
        for _ in 0..LOOKS {
            if !matches!(begun, Ok(None)) || !upload.waits_for_client() {
                break;
            }
            // hyper has a turn, and reads what is here of the body.
            yield_now().await;
            let looked = poll_fn(|cx| Poll::Ready(stream.look_again(cx))).await;
            begun = looked.map(|()| None);
        }
        match begun {
            Ok(Some(whole)) => Ok(Response::from_parts(parts, whole)),
            Ok(None) => Ok(Response::from_parts(parts, Answer::stream(stream))),
            Err(broken) => Err(upload.fault().unwrap_or_else(|| broken.failure())),
        }
    }

    pub(super) fn afterwork(&self) -> &Afterwork {
        &self.0.afterwork
    }
}

/// The turn of one component on the way of a request.
struct Turn<'a> {
    /// From this component on.
    way: &'a mut Way,
    /// What it passes on to, unless it is the last one.
    pass: Option<&'a Pass>,
    label: &'a Label,
    /// When the exchange began.
    began: Moment,
}

/// A guest that has sent the head of its answer.
struct Begun {
    response: Response<WasiBody>,
    running: Running,
    admitted: Admitted,
    clock: Clock,
    body_idle: Duration,
    /// HEAD, 204, 304: no body follows, whatever the guest writes.
    bodyless: bool,
}

/// The right to an instance of a component, and what it was at that moment.
pub(super) struct Admitted {
    _permit: InstancePermit,
    pub(super) generation: Arc<Generation>,
    pub(super) entry: Arc<ComponentConfig>,
    breaker: Option<Arc<CircuitBreaker>>,
}

impl Admitted {
    /// The guest has failed: that counts where somebody counts.
    pub(super) fn failed(&self) {
        if let Some(breaker) = &self.breaker
            && breaker.count_failure()
        {
            warn!(component = %self.entry.name, "component keeps failing and is put aside");
        }
    }
}

impl Shared {
    fn route<B>(&self, request: &Request<B>) -> Result<Way, Box<Response<Answer>>> {
        let (uri, method) = (request.uri(), request.method());
        let host = uri.host().unwrap_or_default();
        let site = self.site.current();
        let found = site.route(host, uri.path(), method);
        let elsewhere = |read: &String| !same(&found, &site.route(host, read, method));
        if edge::other_readings(uri.path()).iter().any(elsewhere) {
            return Err(Box::new(Failure::Malformed("path can be read in two ways\n").response()));
        }
        match found {
            RouteMatch::Route(target) => {
                Way::new(&site, target).ok_or_else(|| Box::new(Failure::NoRoute.response()))
            }
            RouteMatch::Methods(allowed) => Err(Box::new(failure::other_methods(&allowed))),
            RouteMatch::Nothing => Err(Box::new(Failure::NoRoute.response())),
        }
    }

    /// Reads a small body before anything is taken for its exchange, which may last `total`.
    async fn read(
        &self,
        upload: Upload,
        total: Option<Duration>,
        verdict: &Verdict,
    ) -> Result<WasiBody, Failure> {
        let late = async {
            match total {
                Some(total) => host_clock::pass(total).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            body = self.prefetch.read(upload) => {
                body.map_err(|_| verdict.failure().unwrap_or(Failure::PeerGone))
            }
            why = self.site.cut() => Err(why.into()),
            () = late => Err(Failure::BodyTooSlow),
        }
    }

    /// Runs a guest until the head of its answer is there.
    async fn run(
        &self,
        request: Request<WasiBody>,
        verdict: &Verdict,
        turn: Turn<'_>,
    ) -> Result<Begun, Fault> {
        let Turn { way, pass, label, began } = turn;
        let is_head = *request.method() == Method::HEAD;
        let request = way.enter(request);
        let admitted = self.admit(way, label).await?;
        way.arrive();
        let Admitted { generation, entry, .. } = &admitted;
        *label.server() = Some((generation.component(), generation.number()));
        let limits = &entry.limits;
        let mut running = generation.start(request, pass.map(Pass::handle));
        let deadline = limits.total.map(|total| began + total);
        let clock = Clock::new(verdict, pass, deadline);
        let peer = verdict.on_drop();
        let head = tokio::select! {
            biased;
            head = self.head(&mut running, verdict, generation) => head,
            why = generation.cut() => Err(Failure::from(why).into()),
            () = clock.head_is_late(limits.response_head, pass) => Err(Failure::GuestTooSlow.into()),
        };
        peer.defuse();
        let response = head.and_then(|response| match response.status().as_u16() {
            200..600 => Ok(response),
            status => Err(Fault::Guest(GuestFailure::Status(status))),
        });
        let mut response = response.inspect_err(|fault| {
            let late = matches!(fault, Fault::Host(Failure::GuestTooSlow));
            if fault.is_of_the_guest() && !(late && clock.is_of_others()) {
                admitted.failed();
            }
        })?;
        // Said to one connection only (RFC 9110 §10.1.4), and no guest knows ours.
        response.headers_mut().remove(TE);
        let bodyless = is_head
            || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        // The longest pause in an answer that anybody on the way may make.
        let body_idle = way.limits().map(|limits| limits.body_idle).max().unwrap_or_default();
        Ok(Begun { response, running, admitted, clock, body_idle, bodyless })
    }

    /// Waits for the right to an instance of the first component on the way.
    async fn admit(&self, way: &Way, label: &Label) -> Result<Admitted, Fault> {
        let was = way.latest(&self.site.current()).cloned().ok_or(Failure::NoRoute)?;
        if let Some(breaker) = &was.breaker
            && let BreakerState::Open(left) = breaker.state()
        {
            return Err(Failure::put_aside(left).into());
        }
        let enter = async {
            match label.of {
                None => {
                    let more = self.scarcity.is_held_up().then_some(self.terms.min_rate).flatten();
                    let more = more.map_or(Duration::ZERO, |rate| rate.grace + CUT_WITHIN);
                    let of_all = way.limits().count();
                    let enter = was.bulkhead.acquire(way.reserve(), of_all, more);
                    self.scarcity.wait_for(enter).await
                }
                Some(_) => was.bulkhead.acquire_in_chain(way.reserve()).await,
            }
        };
        let permit = tokio::select! {
            biased;
            permit = enter => permit.map_err(|_| Failure::AtLimit)?,
            why = self.site.cut() => return Err(Failure::from(why).into()),
        };
        // Now that it begins: what waited does not run on code that was replaced since.
        let site = self.site.current();
        let app = way.latest(&site).unwrap_or(&was);
        Ok(Admitted {
            _permit: permit,
            generation: app.generation.clone(),
            entry: app.manifest.clone(),
            breaker: app.breaker.clone(),
        })
    }

    /// Drives the guest to its head. A guest which is to be cut gets no further turn.
    async fn head(
        &self,
        running: &mut Running,
        verdict: &Verdict,
        generation: &Generation,
    ) -> Result<Response<WasiBody>, Fault> {
        poll_fn(|cx| {
            if let Some(why) = generation.cut_reason() {
                return Poll::Ready(Err(Failure::from(why).into()));
            }
            match (running.poll_head(cx), verdict.failure()) {
                (Poll::Ready(Ok(head)), _) => Poll::Ready(Ok(head)),
                // What the guest makes of half a request is its own; a failure is not.
                (Poll::Pending, Some(Failure::Plugin)) => Poll::Pending,
                (_, Some(failure)) => Poll::Ready(Err(failure.into())),
                (head, None) => head.map_err(Fault::Guest),
            }
        })
        .await
    }
}

/// Whether both lead to the same route, or neither to any.
fn same(one: &RouteMatch<'_, RouteTarget>, other: &RouteMatch<'_, RouteTarget>) -> bool {
    match (one, other) {
        (RouteMatch::Route(one), RouteMatch::Route(other)) => std::ptr::eq(*one, *other),
        (RouteMatch::Route(_), _) | (_, RouteMatch::Route(_)) => false,
        _ => true,
    }
}

/// The answer to an exchange that has failed before its head was out.
fn refuse(fault: &Fault, mut guard: Guard, label: &Label) -> Response<Answer> {
    let failure = fault.failure();
    report(fault, failure, &guard, label);
    if matches!(failure, Failure::Cut | Failure::Retired) {
        guard.mark_cut();
    }
    failure.response()
}

/// Writes the cause into the log, with what the peer is told.
fn report(fault: &Fault, failure: Failure, guard: &Guard, label: &Label) {
    let (exchange, generation) = (label.exchange(guard), label.generation());
    let component = label.component();
    let component = component.as_deref();
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
}

impl net::Service for Exchanges {
    type Body = Answer;

    fn call(
        &self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Response<Answer>> + Send + 'static {
        let answer = self.clone().answer(request);
        async move {
            let mut answer = answer.await;
            date::stamp(answer.headers_mut());
            answer
        }
    }

    fn refusal(&self, why: net::Refusal) -> Bytes {
        match why {
            net::Refusal::HeadTooSlow => Failure::HeadTooSlow.bytes(),
            net::Refusal::Malformed(why) => Failure::Malformed(why).bytes(),
            net::Refusal::NoRoom => Failure::AtLimit.bytes(),
            net::Refusal::Stopping => Failure::Cut.bytes(),
        }
    }
}
