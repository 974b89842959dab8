//! One exchange, or the part of one behind a plugin: through the stages of its pipeline, until the head
//! of the response is there.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use host_clock::Moment;
use host_lifecycle::Tracker;
use host_manifest::{ComponentConfig, Fail, LimitKey};
use http::header::TE;
use http::{Method, Request, Response, StatusCode};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::account::Account;
use super::admission::Admission;
use super::afterwork::Afterwork;
use super::blame::{Awaited, Blame, Deadline, ExchangeError, blame};
use super::chain::{ChainLink, Onward, OnwardRequest, Origin};
use super::deadlines::Deadlines;
use super::egress::Egress;
use super::error_response::error_response;
use super::exchange_info::ExchangeInfo;
use super::failure::Failure;
use super::first_hop::Hop;
use super::guest_body::{FirstLook, GuestBody};
use super::guest_work::GuestWork;
use super::network::send_out;
use super::peer_fault::UploadFault;
use super::pipeline::{Behind, Pipeline};
use super::reply::Reply;
use super::response_body::ResponseBody;
use super::stage::Stage;
use super::upload::{self, UploadLimits, declared_length};
use crate::component::{EgressHandler, Generation, GuestFailure, Running, Surroundings, WasiBody};
use crate::site::{GuestStart, Visitor};

/// What all exchanges share.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) admission: Admission,
    afterwork: Afterwork,
    /// Parts of exchanges that run behind plugins: each is inside an exchange that a stop waits for.
    parts: Tracker,
}

/// An exchange, or a part of one. Dropping it ends it.
pub(super) struct Exchange<'a> {
    pub(super) server: &'a Arc<Server>,
    pub(super) account: Account,
}

/// One component that is to serve a request.
struct StageRun<'a> {
    /// From this component on.
    pipeline: &'a mut Pipeline,
    /// What it passes on with, unless it is the last one.
    link: Option<&'a ChainLink>,
    /// When its time began.
    began: Moment,
}

/// A guest that has sent the head of its response.
struct GuestHead {
    response: Response<WasiBody>,
    running: Running,
    stage: Stage,
    deadlines: Deadlines,
    idle_timeout: Duration,
    /// HEAD, 204, 304: no body follows, whatever the guest writes.
    bodyless: bool,
}

/// Why there is no head, and whose fault it is.
struct HeadError(ExchangeError, Blame);

impl Server {
    /// Serves what is admitted. Guests that work on after their responses are in `afterwork`.
    pub(super) fn new(admission: Admission, afterwork: Afterwork) -> Self {
        Self { admission, afterwork, parts: Tracker::named() }
    }
}

impl Onward for Server {
    fn serve_onward(self: Arc<Self>, onward: OnwardRequest, mut reply: Reply) -> Hop {
        Box::pin(async move {
            let response = reply.while_wanted(pin!(self.part(onward))).await;
            if let Some(response) = response {
                reply.send(response).await;
            }
        })
    }
}

impl Server {
    /// Serves what a plugin has passed on, as a part of the exchange around it.
    async fn part(self: &Arc<Self>, onward: OnwardRequest) -> Response<ResponseBody> {
        let OnwardRequest { mut request, behind, exchange, peer_fault, is_egress } = onward;
        let pipeline = match behind {
            Behind::Pipeline(pipeline) => pipeline,
            Behind::Network(network) => return send_out(&network, request, None).await,
        };
        let now = Instant::now();
        let info = ExchangeInfo::part(&request, now, exchange);
        info.write_trace(request.headers_mut());
        // The servers of others are not told who our clients are.
        if !is_egress {
            info.client().write(request.headers_mut());
        }
        let peer_fault = peer_fault.behind();
        let account = Account::of_part(info, &self.parts, peer_fault.clone());
        let part = Exchange { server: self, account };
        let most = UploadLimits::for_pipeline(&pipeline, None).bytes;
        if declared_length(request.headers()).is_some_and(|bytes| bytes > most) {
            return part.refuse(&ExchangeError::TooLarge(LimitKey::RequestBody.bytes(most)));
        }
        let request = request.map(|body| upload::limited(body, most, peer_fault));
        part.serve(request, Moment::at(now), pipeline).await
    }
}

impl Exchange<'_> {
    /// Serves a request by the first component of its pipeline, whose time has begun. An open plugin that
    /// fails is left out.
    pub(super) async fn serve(
        self,
        mut request: Request<WasiBody>,
        mut began: Moment,
        mut pipeline: Pipeline,
    ) -> Response<ResponseBody> {
        loop {
            let link = pipeline.rest().map(|rest| {
                let (info, peer_fault) = (&self.account.info, &self.account.peer_fault);
                let origin = Origin::new(&request, info.clone(), peer_fault.clone());
                ChainLink::new(self.server.clone(), rest, origin)
            });
            if let Some(link) = &link
                && pipeline.first().fail == Fail::Open
            {
                request = link.keep(request);
            }
            let is_plugin = link.is_some();
            let run = StageRun { pipeline: &mut pipeline, link: link.as_ref(), began };
            let HeadError(error, whose) = match self.run(request, run).await {
                Ok(head) => {
                    if let Some(link) = &link {
                        link.forget();
                    }
                    return self.respond(head, is_plugin).await;
                }
                Err(error) => error,
            };
            let left_out = link.filter(|_| whose.leaves_the_plugin_out());
            let Some((kept, rest)) = left_out.and_then(ChainLink::leave_out) else {
                return self.refuse_stage(&error, is_plugin, Some(&pipeline.first().name));
            };
            let plugin = &*pipeline.first().name;
            self.report(&error, error.failure(is_plugin), Some(plugin));
            info!(exchange = self.account.number(), plugin, "passed by: fail = open");
            pipeline = match rest {
                Behind::Pipeline(rest) => rest,
                Behind::Network(network) => {
                    // Rare, and no idle connection is to keep room for it.
                    return Box::pin(send_out(&network, kept, Some(self.account))).await;
                }
            };
            request = kept;
            // What a plugin has wasted is not the time of the next one.
            began = Moment::now();
            self.account.info.set_generation(None);
        }
    }

    /// Runs a guest until the head of its response is there.
    async fn run(
        &self,
        request: Request<WasiBody>,
        StageRun { pipeline, link, began }: StageRun<'_>,
    ) -> Result<GuestHead, HeadError> {
        let is_head = *request.method() == Method::HEAD;
        let request = pipeline.stripped(request);
        let info = &self.account.info;
        let (is_passed_on, connection) = (info.is_part(), info.connection());
        let visitor = Visitor { connection, headers: request.headers() };
        let admitted = self.server.admission.admit(pipeline, visitor, is_passed_on).await;
        let mut admitted = admitted.map_err(|error| self.blamed(error, Awaited::Guest))?;
        let start = admitted.take_start();
        pipeline.arrive();
        let mut stage = Stage::begin(admitted, &self.account.info, link.is_some());
        let (generation, limits) =
            (stage.admitted().generation(), &stage.admitted().config().limits);
        let around = self.surroundings(stage.admitted().config(), pipeline, link);
        let mut running = generation.start(request, self.account.info.served(), around);
        if let Some(link) = link
            && running.is_polled_by_its_exchange_only()
        {
            link.first().begin();
        }
        let total = limits.total.map(|total| began + total);
        let deadlines =
            Deadlines::new(&self.account.peer_fault, link.map(ChainLink::downstream), total);
        let peer = self.account.peer_fault.on_drop();
        let head = tokio::select! {
            biased;
            head = self.head(&mut running, generation, link, start) => head,
            why = async { generation.cut().await } => Err(ExchangeError::Cut(why)),
            () = deadlines.head_is_late(limits.response_head) => {
                Err(ExchangeError::Late(Deadline::Head(limits.response_head)))
            }
        };
        peer.defuse();
        let response = head.and_then(|response| match response.status().as_u16() {
            200..600 => Ok(response),
            status => Err(ExchangeError::Guest(GuestFailure::Status(status))),
        });
        let mut response = response.map_err(|error| {
            let error = self.blamed(error, deadlines.awaited());
            if error.1.charges_the_component() {
                stage.admitted().count_failure();
            }
            stage.end(error.0.end(self.account.peer_fault.fault()));
            error
        })?;
        stage.answered(response.status());
        // Said to one connection only (RFC 9110 §10.1.4), and no guest knows ours.
        response.headers_mut().remove(TE);
        let bodyless = is_head
            || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        // The longest pause in a response that any stage may make.
        let idle_timeout = pipeline.limits().map(|limits| limits.body_idle).max();
        let idle_timeout = idle_timeout.unwrap_or_default();
        Ok(GuestHead { response, running, stage, deadlines, idle_timeout, bodyless })
    }

    /// What stands beside the instance of a component.
    fn surroundings(
        &self,
        component: &ComponentConfig,
        pipeline: &Pipeline,
        link: Option<&ChainLink>,
    ) -> Surroundings {
        let egress = component.egress.as_ref().map(|plugin| -> Arc<dyn EgressHandler> {
            let (onward, site) = (self.server.clone(), self.server.admission.site_handle());
            Arc::new(Egress::new(onward, site, plugin, &self.account.info))
        });
        Surroundings {
            next: link.map(ChainLink::handle),
            config: pipeline.route_config().cloned(),
            egress,
        }
    }

    fn blamed(&self, error: ExchangeError, awaited: Awaited) -> HeadError {
        let whose = blame(&error, self.account.peer_fault.fault(), awaited);
        HeadError(error, whose)
    }

    /// Drives the guest to its head, and with it what it passes on first. Its `start` lasts until it waits for something
    /// else than a core. A guest which is to be cut gets no further turn.
    async fn head(
        &self,
        running: &mut Running,
        generation: &Generation,
        link: Option<&ChainLink>,
        mut start: Option<GuestStart>,
    ) -> Result<Response<WasiBody>, ExchangeError> {
        poll_fn(|cx| {
            if let Some(why) = generation.cut_reason() {
                return Poll::Ready(Err(ExchangeError::Cut(why)));
            }
            let hops = |cx: &mut Context<'_>| {
                if let Some(link) = link {
                    link.first().poll(cx);
                }
            };
            let head = running.poll_head(cx, hops);
            if head.is_ready() || !running.computes() || running.cpu() > GuestStart::LONGEST {
                start.take().into_iter().for_each(|start| start.end(running.cpu()));
            }
            self.account.info.set_cpu(running.cpu());
            match (head, self.account.peer_fault.fault()) {
                (Poll::Ready(Ok(head)), _) => Poll::Ready(Ok(head)),
                // What the guest makes of half a request is its own; a failure is not.
                (Poll::Pending, Some(UploadFault::BrokenOffByPlugin)) => Poll::Pending,
                (_, Some(fault)) => Poll::Ready(Err(ExchangeError::Upload(fault))),
                // An instance that others share is cut by its own task: that comes before what it does to the guest.
                (head, None) => head.map_err(|why| {
                    generation.cut_reason().map_or(ExchangeError::Guest(why), ExchangeError::Cut)
                }),
            }
        })
        .await
    }

    /// Makes the response that hyper sends: the guest goes on inside its body. A guest that has failed
    /// by now has failed before its head is out.
    async fn respond(self, head: GuestHead, is_plugin: bool) -> Response<ResponseBody> {
        let GuestHead { response, running, stage, deadlines, idle_timeout, bodyless } = head;
        let Self { server, mut account } = self;
        let work = GuestWork { running, stage, afterwork: server.afterwork.clone() };
        let (parts, body) = response.into_parts();
        if bodyless {
            work.finish(&mut account, Some(body), None);
            account.answered(parts.status);
            return Response::from_parts(parts, ResponseBody::whole(Bytes::new(), Some(account)));
        }
        let owed = declared_length(&parts.headers);
        let mut body = GuestBody::new(body, (work, account), deadlines, idle_timeout, owed);
        match body.first_look().await {
            Ok(FirstLook::Whole(bytes)) => {
                let account = body.answered(parts.status).take_account();
                Response::from_parts(parts, ResponseBody::whole(bytes, account))
            }
            Ok(FirstLook::More) => {
                body.answered(parts.status);
                Response::from_parts(parts, ResponseBody::guest(body))
            }
            Err(error) => {
                let account = body.take_account();
                let fault = account.as_ref().and_then(|account| account.peer_fault.fault());
                error_response(error.failure_for(fault, is_plugin), account)
            }
        }
    }

    /// The response to an exchange that no guest is to serve.
    pub(super) fn refuse(self, error: &ExchangeError) -> Response<ResponseBody> {
        self.refuse_stage(error, false, None)
    }

    /// The response to an exchange that has failed before its head was out, at this component if at any.
    fn refuse_stage(
        mut self,
        error: &ExchangeError,
        is_plugin: bool,
        component: Option<&str>,
    ) -> Response<ResponseBody> {
        let failure = error.failure(is_plugin);
        self.report(error, failure, component);
        self.account.ends(error.end(self.account.peer_fault.fault()));
        error_response(failure, Some(self.account))
    }

    /// Writes the cause into the log, with what the peer is told.
    fn report(&self, error: &ExchangeError, failure: Failure, component: Option<&str>) {
        let info = &self.account.info;
        let (exchange, request_id) = (info.number(), &info.request_id);
        let (asked, trace_id, generation) = (info.asked(), info.trace, info.generation());
        let status = failure.status().as_u16();
        match error {
            ExchangeError::Guest(why) => {
                let stack = why.stacktrace();
                warn!(
                    exchange, %request_id, component, generation, status, %why, %trace_id,
                    exception.stacktrace = stack,
                    "guest failed: {asked}"
                );
            }
            ExchangeError::Upload(UploadFault::BrokenOff) => {
                debug!(exchange, %request_id, %trace_id, "peer gone: {asked}");
            }
            _ => {
                let why = failure.reason();
                let limit = error.limit().or_else(|| self.account.peer_fault.limit());
                let limit = limit.map(tracing::field::display);
                info!(
                    exchange, %request_id, component, generation, status, why, limit, %trace_id,
                    "refused: {asked}"
                );
            }
        }
    }
}
