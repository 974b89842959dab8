//! Requests that a guest sends: on to the next of its chain, or out.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use host_outgoing::{Client, SendError, Timeouts};
use http::Uri;
use http_body_util::BodyExt as _;
use tracing::warn;
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody, WasiHttpHooks};

use super::sent::Gone;
use super::state::Identity;
use super::stdio::quote;
use super::{NEXT_HOST, Next};

/// What a guest may send, and where.
pub(super) struct Outgoing {
    identity: Identity,
    client: Option<Client>,
    next: Option<Arc<dyn Next>>,
    /// The request that comes is passed on, whatever its authority.
    passes: bool,
    /// Of the store that this is in.
    gone: Gone,
    /// One line of the log for each instance is enough: a guest may try in a loop.
    said: Arc<AtomicBool>,
}

impl Outgoing {
    pub(super) fn new(identity: &Identity, client: Option<Client>) -> Self {
        Self {
            identity: identity.clone(),
            client,
            next: None,
            passes: false,
            gone: Gone::default(),
            said: Arc::default(),
        }
    }

    pub(super) fn lead_to(&mut self, next: Option<Arc<dyn Next>>) {
        self.next = next;
    }

    /// Whether the next request to be sent is passed on, whatever its authority.
    pub(super) fn pass_next(&mut self, passes: bool) {
        self.passes = passes;
    }

    /// Says when the guest is gone.
    pub(super) fn gone(&self) -> &Gone {
        &self.gone
    }

    fn deny(&self, why: &str) {
        say(&self.said, &self.identity, why);
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

fn say(said: &AtomicBool, identity: &Identity, why: &str) {
    if said.swap(true, Ordering::Relaxed) {
        return;
    }
    let (component, generation) = (&*identity.component, identity.number);
    warn!(component, generation, "outgoing request refused: {why}");
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // Before the table is, where bodies have their other ends.
        self.gone.set();
    }
}

/// What wasmtime's hook for outgoing requests gives back.
type Sending = Box<dyn Future<Output = Result<Sent, HttpError>> + Send>;

/// A response, and what is left to be done for the request.
type Sent = (http::Response<WasiBody>, Rest);

type Rest = Box<dyn Future<Output = Result<(), HttpError>> + Send>;

fn done() -> Rest {
    Box::new(ready(Ok(())))
}

fn refuse(why: HttpError) -> Sending {
    Box::new(ready(Err(why)))
}

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Rest,
    ) -> Sending {
        let request = request.map(|body| self.gone.watch(body));
        if std::mem::take(&mut self.passes) || request.uri().host() == Some(NEXT_HOST) {
            return self.pass(request);
        }
        let Some(client) = self.client.clone() else {
            let to = origin(request.uri());
            self.deny(&format!("{to} is not granted; nothing is (grants.outgoing)"));
            return refuse(HttpError::HttpRequestDenied);
        };
        let options = options.unwrap_or_default();
        let timeouts = Timeouts {
            connect: options.connect_timeout,
            head: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        };
        let (identity, said) = (self.identity.clone(), self.said.clone());
        Box::new(async move {
            let sent = client.send(request, timeouts).await;
            let response = sent.map_err(|why| {
                let refused = matches!(
                    why,
                    SendError::Denied { .. }
                        | SendError::AddressDenied { .. }
                        | SendError::TooMany { .. }
                );
                if refused {
                    say(&said, &identity, &why.to_string());
                }
                error(&why)
            })?;
            Ok((response.map(|body| body.map_err(|why| error(&why)).boxed_unsync()), done()))
        })
    }
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
        SendError::Certificate(_) => HttpError::TlsCertificateError,
        SendError::Tls(_) => HttpError::TlsProtocolError,
        SendError::HeadTimeout => HttpError::HttpResponseTimeout,
        SendError::HeadTooLarge => HttpError::HttpResponseHeaderSectionSize(None),
        SendError::BodyTimeout => HttpError::ConnectionReadTimeout,
        SendError::ResponseTooLarge { limit } => HttpError::HttpResponseBodySize(Some(*limit)),
        SendError::Incomplete(_) => HttpError::ConnectionTerminated,
        SendError::Protocol(_) => HttpError::HttpProtocolError,
        _ => HttpError::InternalError(None),
    }
}
