//! The service that the network is handed: from a request on the wire to its exchange.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use host_clock::{MinRate, Moment};
use host_compress::EncoderBudget;
use host_lifecycle::Tracker;
use host_manifest::{LimitKey, TrustedProxies};
use host_net::{Peer, RequestBody, Scarcity};
use host_telemetry::{End, Observers, Traffic};
use http::header::EXPECT;
use http::uri::Scheme;
use http::{Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::account::{Account, Client};
use super::admission::Admission;
use super::afterwork::Afterwork;
use super::blame::ExchangeError;
use super::claims;
use super::client::{ClientRule, RequestClient};
use super::client_certificate::ClientCertificate;
use super::edge::Edge;
use super::error_response::{error_bytes, error_response, method_not_allowed, server_options};
use super::exchange::{Exchange, Server};
use super::exchange_info::ExchangeInfo;
use super::failure::{Failure, Row};
use super::peer_fault::{PeerFault, UploadFault};
use super::pipeline::{Pipeline, Unrouted};
use super::prefetch::Prefetch;
use super::rate_limit::{self, RateLimitFields};
use super::response_body::ResponseBody;
use super::upload::{self, UploadBody, UploadLimits, declared_length};
use super::validate::{self, Checked, KnownHost};
use crate::component::{Hops, WasiBody};
use crate::date;
use crate::site::Slot;

/// Serves exchanges: the service that the network is handed. Cloning gives another handle, for another
/// connection.
#[derive(Debug)]
pub struct Exchanges {
    shared: Arc<Shared>,
    client: Arc<Client>,
    host: KnownHost,
}

impl Clone for Exchanges {
    fn clone(&self) -> Self {
        let (shared, client) = (self.shared.clone(), self.client.clone());
        Self { shared, client, host: KnownHost::default() }
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    server: Arc<Server>,
    exchanges: Tracker,
    terms: Terms,
    prefetch: Prefetch,
}

/// What every request must keep to, whichever component serves it.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Headers that it may have.
    pub headers: usize,
    /// The slowest that its body may come, if there is one.
    pub min_rate: Option<MinRate>,
    /// Bytes of a body, of a length that its head says, that is read before an instance is taken; 0
    /// for never.
    pub prefetch: u64,
    /// What encoders of all responses may take together.
    pub encoders: EncoderBudget,
    /// Proxies that are believed who their client is.
    pub trusted: Arc<TrustedProxies>,
}

impl Exchanges {
    /// Serves the site in `site` to requests that keep to `terms`. Each exchange is in flight in
    /// `exchanges`, and work after a response in `afterwork`. `scarcity` is told of each
    /// request that waits for an instance. Exchanges are counted in `traffic`, which observes them too.
    #[must_use]
    pub fn new(
        site: Arc<Slot>,
        (exchanges, afterwork): (Tracker, Tracker),
        terms: Terms,
        scarcity: Arc<Scarcity>,
        (traffic, observers): (Arc<Traffic>, Observers),
    ) -> Self {
        let admission = Admission::new(site, scarcity, terms.min_rate);
        let server = Arc::new(Server::new(admission, Afterwork::new(afterwork)));
        let prefetch = Prefetch::new(terms.prefetch);
        let shared = Arc::new(Shared { server, exchanges, terms, prefetch });
        let client = Arc::new(Client {
            traffic,
            observers,
            address: None,
            rule: ClientRule::default(),
            certificate: ClientCertificate::default(),
            connection: 0,
        });
        Self { shared, client, host: KnownHost::default() }
    }

    /// The response to a request whose head was read at `arrived`; `edge` is told what is to be made of it.
    ///
    /// One function, because what is handed to another one that waits has its room twice for as long as it does.
    async fn respond(
        &self,
        mut request: Request<RequestBody>,
        arrived: Instant,
        edge: &mut Edge,
    ) -> Response<ResponseBody> {
        claims::remove_lookalikes(request.headers_mut());
        let hops = Hops::take(request.headers_mut());
        let shared = &*self.shared;
        self.client.traffic.accepted();
        let rule = &self.client.rule;
        let way = rule.way(request.headers());
        let mut client = RequestClient::of(&way);
        let checked = self.check(&mut request, (&client, rule.scheme(&way)), &hops);
        if checked.is_ok() {
            client = rule.tell(&way, &mut request);
        }
        // What waits has no room for it.
        drop(way);
        let agent = self.client.of(request.headers());
        let info = ExchangeInfo::new(&request, arrived, client, agent);
        let Routed { pipeline, fields } = match checked {
            Ok(routed) => routed,
            Err(unserved) => return self.turn_away((request, edge), info, unserved),
        };
        hops.keep(&mut request);
        pipeline.route().into_iter().for_each(|route| info.set_route(route));
        info.write_trace(request.headers_mut());
        edge.set(&pipeline, &mut request, fields);
        let began = Moment::at(arrived);
        let account = Account::open(self.client.clone(), info, &shared.exchanges);
        let peer_fault = account.peer_fault.clone();
        let exchange = Exchange { server: &shared.server, account };
        let mut limits = UploadLimits::for_pipeline(&pipeline, shared.terms.min_rate);
        if declared_length(request.headers()).is_some_and(|bytes| bytes > limits.bytes) {
            let limit = LimitKey::RequestBody.bytes(limits.bytes);
            return exchange.refuse(&ExchangeError::TooLarge(limit));
        }
        if !shared.prefetch.takes(&request) {
            // A client that announces no length, or asks first, may wait for an answer: it is not slow.
            let headers = request.headers();
            let announced = declared_length(headers).is_some() && !headers.contains_key(EXPECT);
            limits.scarcity = announced.then(|| shared.server.admission.scarcity().clone());
            let request = upload::receive(request, &limits, &peer_fault);
            return exchange.serve(request, began, pipeline).await;
        }
        let total = pipeline.first().limits.total;
        // A request without its body holds nothing of a component, and is routed when all of it is here.
        drop(pipeline);
        let (request, upload) = UploadBody::new(request, &limits, &peer_fault);
        let request = match shared.read(upload, total, &peer_fault).await {
            Ok(body) => request.map(|()| body),
            Err(error) => return exchange.refuse(&error),
        };
        match shared.route(&request) {
            Ok(pipeline) => exchange.serve(request, began, pipeline).await,
            Err(unserved) => unserved.answer(exchange.account),
        }
    }

    /// The host's own response to a request that no guest is to see.
    fn turn_away(
        &self,
        (request, edge): (Request<RequestBody>, &mut Edge),
        info: ExchangeInfo,
        unserved: Unserved,
    ) -> Response<ResponseBody> {
        if let Unserved::RateLimited(pipeline, ..) = &unserved {
            pipeline.route().into_iter().for_each(|route| info.set_route(route));
            edge.set_headers(pipeline);
        }
        let account = Account::of_refused(self.client.clone(), info);
        upload::turn_away(request, unserved.answer(account))
    }

    /// The pipeline of a request that is fit for a guest, and within the rate limit of its route.
    fn check(
        &self,
        request: &mut Request<RequestBody>,
        (client, scheme): (&RequestClient, Scheme),
        hops: &Hops,
    ) -> Result<Routed, Unserved> {
        let shared = &*self.shared;
        match validate::check(request, shared.terms.headers, (&self.host, scheme)) {
            Ok(Checked::Pass) if hops.are_too_many() => Err(Unserved::Failed(Failure::Loop)),
            Ok(Checked::Pass) => {
                // Behind the look at `Connection`, which could name these fields; before a limit that counts by them.
                self.client.certificate.write(request.headers_mut());
                self.admit(request, client)
            }
            Ok(Checked::ServerOptions) => Err(Unserved::ServerOptions),
            Err(failure) => Err(Unserved::Failed(failure)),
        }
    }

    fn admit<B>(&self, request: &Request<B>, client: &RequestClient) -> Result<Routed, Unserved> {
        let site = self.shared.server.admission.site().current();
        let (pipeline, limit) = Pipeline::find(&site, request)?;
        let Some(limit) = limit else { return Ok(Routed { pipeline, fields: None }) };
        match rate_limit::check(limit, client, request) {
            Ok(fields) => Ok(Routed { pipeline, fields: Some(fields) }),
            Err((failure, fields)) => {
                Err(Unserved::RateLimited(Box::new(pipeline), failure, fields))
            }
        }
    }
}

impl Shared {
    /// The pipeline of a request whose body has been read, by the routes of now.
    fn route<B>(&self, request: &Request<B>) -> Result<Pipeline, Unserved> {
        let site = self.server.admission.site().current();
        let (pipeline, _) = Pipeline::find(&site, request)?;
        Ok(pipeline)
    }

    /// Reads a small body before anything is taken for its exchange, which may last `total`.
    async fn read(
        &self,
        upload: UploadBody,
        total: Option<Duration>,
        peer_fault: &PeerFault,
    ) -> Result<WasiBody, ExchangeError> {
        let late = async {
            match total {
                Some(total) => host_clock::pass(total).await,
                None => pending().await,
            }
        };
        let fault = ExchangeError::Upload;
        let too_slow = || {
            let limit = LimitKey::ExchangeTimeout.time(total.unwrap_or_default());
            peer_fault.reached(UploadFault::TooSlow, limit);
            fault(UploadFault::TooSlow)
        };
        tokio::select! {
            biased;
            body = self.prefetch.read(upload) => {
                body.map_err(|_| fault(peer_fault.fault().unwrap_or(UploadFault::BrokenOff)))
            }
            why = self.server.admission.site().cut() => Err(ExchangeError::Cut(why)),
            () = late => Err(too_slow()),
        }
    }
}

/// Where a request goes, and what its client is told of the rate limit of its route.
struct Routed {
    pipeline: Pipeline,
    fields: Option<RateLimitFields>,
}

/// A request that the host itself answers.
enum Unserved {
    Failed(Failure),
    /// It is one too many for this route.
    RateLimited(Box<Pipeline>, Failure, RateLimitFields),
    /// There are routes for these methods only.
    Methods(Vec<Method>),
    /// It asks what the server can do.
    ServerOptions,
}

impl Unserved {
    fn answer(self, mut account: Account) -> Response<ResponseBody> {
        account.ends(match &self {
            Self::Failed(failure) | Self::RateLimited(_, failure, _) => {
                End::Refused(failure.reason())
            }
            Self::Methods(_) => End::Refused(Failure::Method.reason()),
            Self::ServerOptions => End::Finished,
        });
        match self {
            Self::Failed(failure) => error_response(failure, Some(account)),
            Self::RateLimited(_, failure, fields) => {
                let mut response = error_response(failure, Some(account));
                fields.write(response.headers_mut());
                response
            }
            Self::Methods(allowed) => method_not_allowed(&allowed, Some(account)),
            Self::ServerOptions => server_options(Some(account)),
        }
    }
}

impl From<Unrouted> for Unserved {
    fn from(why: Unrouted) -> Self {
        match why {
            Unrouted::Failed(failure) => Self::Failed(failure),
            Unrouted::Methods(allowed) => Self::Methods(allowed),
        }
    }
}

impl host_net::Service for Exchanges {
    type Body = ResponseBody;

    fn connected(&self, peer: &Peer) -> Self {
        let client = Arc::new(Client {
            address: peer.proxy.or(peer.address),
            rule: ClientRule::new(peer, &self.shared.terms.trusted),
            certificate: ClientCertificate::of_peer(peer),
            connection: fastrand::u64(..),
            ..(*self.client).clone()
        });
        Self { client, ..self.clone() }
    }

    fn call(
        self: &Arc<Self>,
        request: Request<RequestBody>,
        arrived: Instant,
    ) -> impl Future<Output = Response<ResponseBody>> + Send + 'static {
        let service = self.clone();
        async move {
            let mut edge = Edge::default();
            let mut response = service.respond(request, arrived, &mut edge).await;
            edge.apply(&mut response, &service.shared.terms.encoders);
            date::stamp(response.headers_mut());
            response
        }
    }

    fn refusal(&self, why: host_net::Refusal) -> Bytes {
        let failure = match why {
            host_net::Refusal::HeadTooSlow => Failure::HeadTooSlow,
            host_net::Refusal::Malformed(why) => Failure::Malformed(why),
            host_net::Refusal::NoRoom => Failure::AtLimit,
            host_net::Refusal::ClientConnections { retry } => Failure::client_connections(retry),
            host_net::Refusal::ClientConnectionRate { retry } => {
                Failure::client_connection_rate(retry)
            }
            host_net::Refusal::Stopping => Failure::Cut,
        };
        let end = match failure {
            Failure::Cut => End::Cut,
            failure => End::Refused(failure.reason()),
        };
        let Row { status, text, .. } = failure.row();
        error_bytes(failure, &self.client.refused((status, text.len()), end))
    }

    fn answered_by_hyper(&self, status: StatusCode) {
        let failure = match status {
            StatusCode::BAD_REQUEST => Failure::Malformed(""),
            _ => Failure::HeadTooLarge,
        };
        self.client.refused((status, 0), End::Refused(failure.reason()));
    }
}
