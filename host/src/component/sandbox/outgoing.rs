//! Requests that a guest sends: on to the next of its chain, or out.

use host_manifest::escape::quote;
use std::future::ready;
use std::sync::Arc;

use host_outgoing::{HttpClient, SendError, Timeouts};
use http::Uri;
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody, WasiHttpHooks};

use super::body_guard::GuestGone;
use super::hops::{Depths, Hops, HopsGuard};
use super::identity::Identity;
use super::log_limit::log_limited;
use super::next_handler::{NEXT_HOST, NextHandler};
use crate::descriptors;

/// What a guest may send, and where.
pub(crate) struct Outgoing {
    identity: Identity,
    client: Option<HttpClient>,
    next: Option<Arc<dyn NextHandler>>,
    /// The request that comes is passed on, whatever its authority.
    passes: bool,
    /// Of the store that this is in.
    gone: GuestGone,
    /// How deep the request is that the store was made for.
    hops: Hops,
    /// Of those that share it.
    depths: Option<Depths>,
}

impl Outgoing {
    pub(crate) fn new(identity: &Identity, client: Option<HttpClient>) -> Self {
        Self {
            identity: identity.clone(),
            client,
            next: None,
            passes: false,
            gone: GuestGone::default(),
            hops: Hops::default(),
            depths: None,
        }
    }

    /// All that the guest sends is sent for a request as deep as this.
    pub(crate) fn serve(&mut self, hops: Hops) {
        self.hops = hops;
    }

    /// What it sends may be sent for a request as deep as this, until what comes back is dropped.
    pub(crate) fn share(&mut self, hops: Hops) -> Option<HopsGuard> {
        let deep = hops != Hops::default();
        deep.then(|| self.depths.get_or_insert_default().push(hops))
    }

    fn deepest(&self) -> Hops {
        self.depths.as_ref().map_or(self.hops, |depths| depths.deepest().max(self.hops))
    }

    pub(crate) fn lead_to(&mut self, next: Option<Arc<dyn NextHandler>>) {
        self.next = next;
    }

    /// Whether the next request to be sent is passed on, whatever its authority.
    pub(crate) fn pass_next(&mut self, passes: bool) {
        self.passes = passes;
    }

    /// Says when the guest is gone.
    pub(crate) fn gone(&self) -> &GuestGone {
        &self.gone
    }

    fn deny(&self, why: &str) {
        refused(&self.identity, why);
    }

    fn pass(&self, request: http::Request<WasiBody>) -> Sending {
        let Some(next) = self.next.clone() else {
            self.deny("nothing comes after this component: it is no plugin of a chain here");
            return refuse(HttpError::DestinationNotFound);
        };
        let passing = next.pass(request);
        Box::new(async move { Ok((passing.await?, done())) })
    }
}

/// A server that nobody can be sure of fails all requests to it, and only who operates the host or the
/// server can change that.
fn distrusted(identity: &Identity, why: &str) {
    if identity.topics.tls.is_new(why) {
        tracing::warn!(
            component = &*identity.component,
            generation = identity.number,
            "outgoing requests fail: {why}"
        );
    }
}

fn refused(identity: &Identity, why: &str) {
    log_limited!(warn, identity, outgoing, "outgoing request refused: {why}");
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // Before the table is, where bodies have their other ends.
        self.gone.set();
    }
}

/// What wasmtime's hook for outgoing requests gives back.
type Sending = Box<dyn Future<Output = Result<SentResponse, HttpError>> + Send>;

/// A response, and what is left to be done for the request.
type SentResponse = (http::Response<WasiBody>, Rest);

type Rest = Box<dyn Future<Output = Result<(), HttpError>> + Send>;

fn done() -> Rest {
    Box::new(ready(Ok(())))
}

fn refuse(why: HttpError) -> Sending {
    Box::new(ready(Err(why)))
}

/// Bytes of a body in one write. What was written and not sent lies in the host's memory, for each
/// body of a guest.
const CHUNK: usize = 64 << 10;

impl WasiHttpHooks for Outgoing {
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
    ) -> Sending {
        let mut request = request.map(|body| self.gone.watch(body));
        if std::mem::take(&mut self.passes) || request.uri().host() == Some(NEXT_HOST) {
            return self.pass(request);
        }
        let Some(client) = self.client.clone() else {
            let to = origin(request.uri());
            self.deny(&format!("{to} is not granted; nothing is (grants.outgoing)"));
            return refuse(HttpError::HttpRequestDenied);
        };
        self.deepest().write_next(request.headers_mut());
        if !descriptors::are_left_for_guests() {
            refused(&self.identity, "three quarters of the process's descriptors are taken");
            return refuse(HttpError::ConnectionLimitReached);
        }
        let options = options.unwrap_or_default();
        let timeouts = Timeouts {
            connect: options.connect_timeout,
            head: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        };
        let identity = self.identity.clone();
        Box::new(async move {
            let told = move |why: SendError| {
                if is_refusal(&why) {
                    refused(&identity, &why.to_string());
                } else if matches!(why, SendError::Certificate { .. } | SendError::Tls { .. }) {
                    distrusted(&identity, &why.to_string());
                }
                error(&why)
            };
            let response = client.send(request, timeouts).await.map_err(&told)?;
            Ok((response.map(|body| body.map_err(told).boxed_unsync()), done()))
        })
    }
}

/// Whether it is the host's doing, and an operator's to change.
fn is_refusal(why: &SendError) -> bool {
    matches!(
        why,
        SendError::Denied { .. }
            | SendError::AddressDenied { .. }
            | SendError::TooMany { .. }
            | SendError::ResponseTooLarge { .. }
    )
}

/// Scheme and authority, for the log.
fn origin(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    quote(&format!("{scheme}://{authority}"))
}

/// What a guest is told: as much as the interface has words for, and nothing of the log's text.
fn error(why: &SendError) -> HttpError {
    match why {
        SendError::Denied { .. } => HttpError::HttpRequestDenied,
        SendError::AddressDenied { .. } => HttpError::DestinationIpProhibited,
        SendError::Uri(_) => HttpError::HttpRequestUriInvalid,
        SendError::Method => HttpError::HttpRequestMethodInvalid,
        SendError::Header(_) => {
            HttpError::HttpRequestHeaderSize { field_name: None, field_size: None }
        }
        SendError::TooMany { .. } => HttpError::ConnectionLimitReached,
        SendError::Dns { .. } => HttpError::DnsError { rcode: None, info_code: None },
        SendError::ConnectRefused { .. } => HttpError::ConnectionRefused,
        SendError::Connect { .. } => HttpError::DestinationUnavailable,
        SendError::ConnectTimeout => HttpError::ConnectionTimeout,
        SendError::Certificate { .. } => HttpError::TlsCertificateError,
        SendError::Tls { .. } => HttpError::TlsProtocolError,
        SendError::HeadTimeout => HttpError::HttpResponseTimeout,
        SendError::HeadTooLarge => HttpError::HttpResponseHeaderSectionSize(None),
        SendError::BodyTimeout => HttpError::ConnectionReadTimeout,
        SendError::ResponseTooLarge { limit } => HttpError::HttpResponseBodySize(Some(*limit)),
        SendError::Incomplete(_) => HttpError::ConnectionTerminated,
        SendError::Protocol(_) => HttpError::HttpProtocolError,
        SendError::TransferCoding => HttpError::HttpResponseTransferCoding(None),
        SendError::BodyLength { bytes, .. } => HttpError::HttpRequestBodySize(Some(*bytes)),
        SendError::RequestBody(why) => match why.downcast_ref() {
            Some(HttpError::HttpRequestBodySize(bytes)) => HttpError::HttpRequestBodySize(*bytes),
            Some(HttpError::ConnectionTerminated) => HttpError::ConnectionTerminated,
            _ => HttpError::InternalError(None),
        },
        _ => HttpError::InternalError(None),
    }
}
