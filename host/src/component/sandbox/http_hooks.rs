//! HTTP requests that a guest sends: on to the next handler of its chain, or out.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use host_manifest::LimitKey;
use host_telemetry::TRACESTATE;
use http::{HeaderName, HeaderValue};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error as HttpError, RequestOptions, WasiBody, WasiHttpHooks,
};

use super::body_guard::GuestGone;
use super::egress::{EgressHandler, NetworkEnd};
use super::grants::{HttpSender, Sending};
use super::hops::Hops;
use super::log_limit::log_limited;
use super::next_handler::{NEXT_HOST, NextHandler};
use super::outgoing_span::OutgoingSpan;
use super::served::Served;
use super::terms::Sandbox;

/// The requests that a guest may send, and where to.
pub(crate) struct HttpHooks {
    sandbox: Arc<Sandbox>,
    next: Option<Arc<dyn NextHandler>>,
    /// The plugin that its outgoing requests go through.
    egress: Option<Arc<dyn EgressHandler>>,
    /// The next request is passed on, whatever its authority.
    passes: bool,
    /// Set when the guest of this store is gone.
    gone: GuestGone,
    /// What its requests are sent for.
    served: Served,
    /// What the vendors of its trace have added to that, for its requests.
    trace_state: Option<HeaderValue>,
}

impl HttpHooks {
    pub(crate) fn new(sandbox: Arc<Sandbox>) -> Self {
        Self {
            sandbox,
            next: None,
            egress: None,
            passes: false,
            gone: GuestGone::default(),
            served: Served::one(None, Hops::default()),
            trace_state: None,
        }
    }

    /// The terms of the store.
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// From now on the guest serves these.
    pub(crate) fn serve(&mut self, served: Served) {
        self.served = served;
    }

    /// Its requests have this `tracestate`, unless the guest writes a trace itself.
    pub(crate) fn keep_trace_state(&mut self, state: Option<HeaderValue>) {
        self.trace_state = state;
    }

    /// The exchanges that it serves.
    pub(crate) fn served(&self) -> &Served {
        &self.served
    }

    pub(crate) fn lead_to(&mut self, next: Option<Arc<dyn NextHandler>>) {
        self.next = next;
    }

    pub(crate) fn go_out_through(&mut self, egress: Option<Arc<dyn EgressHandler>>) {
        self.egress = egress;
    }

    /// Says whether the next request is passed on, whatever its authority.
    pub(crate) fn pass_next(&mut self, passes: bool) {
        self.passes = passes;
    }

    /// Says when the guest is gone.
    pub(crate) fn gone(&self) -> &GuestGone {
        &self.gone
    }

    fn pass(&self, request: http::Request<WasiBody>) -> Hooked {
        let Some(next) = self.next.clone() else {
            log_limited!(
                warn,
                self.sandbox.identity,
                "outgoing",
                "outgoing request refused: nothing comes after this component: it is no plugin of a chain \
                 here"
            );
            return refuse(HttpError::DestinationNotFound);
        };
        match next.pass(request) {
            Ok(passing) => Box::new(async move {
                let response = passing.await.map_err(|_| HttpError::HttpResponseIncomplete)?;
                Ok((response, done()))
            }),
            Err(why) => refuse(why),
        }
    }
}

impl HttpHooks {
    /// Has the plugin serve a request, and send it out by `sender` if it passes it on.
    fn send_by_plugin(
        &self,
        mut request: http::Request<WasiBody>,
        (sender, options, hops): (Arc<dyn HttpSender>, Option<RequestOptions>, Hops),
    ) -> Sending {
        let identity = self.sandbox.identity.clone();
        let Some(egress) = self.egress.clone() else {
            let why = "its plugin for egress serves exchanges only: nothing is sent from on-start";
            log_limited!(warn, identity, "outgoing", "outgoing request refused: {why}");
            return Box::new(ready(Err(HttpError::HttpRequestDenied)));
        };
        let network = NetworkEnd::new(move |request| {
            Box::into_pin(sender.send(request, options, &identity, hops))
        });
        // What the plugin sends out itself is as deep as what it serves.
        hops.keep(&mut request);
        let passing = egress.send(request, network);
        Box::new(async move { passing.await.map_err(|_| HttpError::HttpResponseIncomplete) })
    }
}

impl Drop for HttpHooks {
    fn drop(&mut self) {
        // Before the table is dropped, which holds the other ends of bodies.
        self.gone.set();
    }
}

/// The type that wasmtime's hook for outgoing requests returns.
type Hooked = Box<dyn Future<Output = Result<SentResponse, HttpError>> + Send>;

/// A response, and the work left to do for its request.
type SentResponse = (http::Response<WasiBody>, Rest);

type Rest = Box<dyn Future<Output = Result<(), HttpError>> + Send>;

/// No work is left to do. Of no size, so that a box of it is no allocation.
struct Done;

impl Future for Done {
    type Output = Result<(), HttpError>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

fn done() -> Rest {
    Box::new(Done)
}

fn refuse(why: HttpError) -> Hooked {
    Box::new(ready(Err(why)))
}

/// Bytes of a body in one write. Each body of a guest holds this much, written and not yet sent, in the
/// host's memory.
const CHUNK: usize = 64 << 10;

impl WasiHttpHooks for HttpHooks {
    /// wasmtime's own makes a filter for each field that it asks about.
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Rest,
    ) -> Hooked {
        let request = request.map(|body| self.gone.watch(body));
        if std::mem::take(&mut self.passes) || request.uri().host() == Some(NEXT_HOST) {
            return self.pass(request);
        }
        let Sandbox { grants, identity, outgoing_per_exchange: most, .. } = &*self.sandbox;
        if !self.served.sends(*most) {
            let limit = LimitKey::OutgoingPerExchange.count(*most);
            log_limited!(warn, identity, "outgoing", "outgoing request refused: {limit}");
            return refuse(HttpError::ConnectionLimitReached);
        }
        let Some(sender) = grants.iter().find_map(|grant| grant.http_sender()) else {
            return refuse(HttpError::HttpRequestDenied);
        };
        let mut request = request;
        let span = self.served.exchange().and_then(|exchange| {
            let span = OutgoingSpan::begin(exchange.trace, &request);
            let context = span.as_ref().map_or(exchange.trace, OutgoingSpan::context);
            if context.write_if_none(request.headers_mut())
                && let Some(state) = self.trace_state.clone()
            {
                request.headers_mut().entry(TRACESTATE).or_insert(state);
            }
            span
        });
        let hops = self.served.deepest();
        // What no grant admits, the sender refuses, and no plugin sees it.
        let sending = if self.sandbox.has_egress && sender.admits(request.uri()) {
            self.send_by_plugin(request, (sender, options, hops))
        } else {
            sender.send(request, options, identity, hops)
        };
        Box::new(async move {
            let sent = Box::into_pin(sending).await;
            if let Some(span) = span {
                span.end(&sent);
            }
            Ok((sent?, done()))
        })
    }
}
