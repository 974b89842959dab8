//! HTTP requests that guests send out.

use std::fmt;
use std::future::ready;
use std::sync::Arc;

use host_manifest::abilities::{AbilitySyntax, OUTGOING};
use host_manifest::escape::quote;
use host_manifest::{ComponentConfig, InjectedHeaders, OutgoingConfig};
use host_outgoing::{ClientLimits, HttpClient, SendError, Timeouts, Trust, names};
use host_system::descriptors;
use http::{Method, Request, Uri};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody};

use super::ability::{Ability, GrantResources, ImportUse};
use super::denials::unreachable_loopback;
use crate::component::sandbox::grants::{Grant, HttpSender, Sending};
use crate::component::sandbox::hops::Hops;
use crate::component::sandbox::identity::Identity;
use crate::component::sandbox::log_limit::log_limited;

/// What `host init` proposes.
const ORIGIN: &str = "grants.outgoing = [\"https://api.example.com\"]";

/// The ability.
pub(super) struct OutgoingAbility;

/// Sends requests to granted origins, and refuses all without a grant.
struct OutgoingGrant(Arc<Client>);

struct Client {
    /// None without a grant.
    http: Option<HttpClient>,
    /// What requests get that their guest does not see.
    inject: Vec<InjectedHeaders>,
}

impl fmt::Debug for OutgoingGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OutgoingGrant").field(&self.0.http.is_some()).finish()
    }
}

impl OutgoingGrant {
    fn new(http: Option<HttpClient>, inject: Vec<InjectedHeaders>) -> Self {
        Self(Arc::new(Client { http, inject }))
    }
}

impl Grant for OutgoingGrant {
    /// Connections do not outlive the code that opened them.
    fn for_blueprint(&self) -> Option<Arc<dyn Grant>> {
        let http = self.0.http.as_ref()?.anew();
        Some(Arc::new(Self::new(Some(http), self.0.inject.clone())))
    }

    fn http_sender(&self) -> Option<Arc<dyn HttpSender>> {
        Some(self.0.clone())
    }
}

impl Client {
    /// Adds what the guest is not to see. Not to a TRACE: its response would show it (RFC 9110 §9.3.8).
    fn inject(&self, request: &mut Request<WasiBody>) {
        if request.method() == Method::TRACE {
            return;
        }
        for InjectedHeaders { origin, headers } in &self.inject {
            if names(origin, request.uri()) {
                for (name, value) in headers {
                    request.headers_mut().insert(name.clone(), value.clone());
                }
            }
        }
    }
}

impl HttpSender for Client {
    fn admits(&self, uri: &Uri) -> bool {
        self.http.as_ref().is_some_and(|http| http.granting(uri).is_some())
    }

    fn send(
        &self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        identity: &Identity,
        hops: Hops,
    ) -> Sending {
        let Some(client) = self.http.clone() else {
            let to = origin(request.uri());
            log_refused(identity, &format!("{to} is not granted; nothing is (grants.outgoing)"));
            return Box::new(ready(Err(HttpError::HttpRequestDenied)));
        };
        hops.write_next(request.headers_mut());
        self.inject(&mut request);
        if !descriptors::are_left_for_guests() {
            log_refused(identity, "three quarters of the process's descriptors are taken");
            return Box::new(ready(Err(HttpError::ConnectionLimitReached)));
        }
        let options = options.unwrap_or_default();
        let timeouts = Timeouts {
            connect: options.connect_timeout,
            head: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        };
        let (identity, usage) = (identity.clone(), identity.usage.clone());
        Box::new(async move {
            let guest_error = move |why: SendError| {
                if is_refusal(&why) {
                    log_refused(&identity, &why.to_string());
                } else if matches!(why, SendError::Certificate { .. } | SendError::Tls { .. }) {
                    log_distrusted(&identity, &why.to_string());
                }
                error(&why)
            };
            let granted = client.granting(request.uri()).map(ToString::to_string);
            let sent = client.send(request, timeouts).await;
            // What no grant admits is refused, and the origin is the guest's own word.
            if let Some(granted) = granted {
                usage.outgoing(&granted, sent.is_err());
            }
            let response = sent.map_err(&guest_error)?;
            Ok(response.map(|body| body.map_err(guest_error).boxed_unsync()))
        })
    }
}

/// Logs a server whose certificate is not trusted. All requests to it fail until an operator, of the host
/// or of the server, changes that.
fn log_distrusted(identity: &Identity, why: &str) {
    if identity.topics.tls.is_new(why) {
        tracing::warn!(
            component = &*identity.component,
            generation = identity.number,
            "outgoing requests fail: {why}"
        );
    }
}

fn log_refused(identity: &Identity, why: &str) {
    log_limited!(warn, identity, "outgoing", "outgoing request refused: {why}");
}

impl Ability for OutgoingAbility {
    fn syntax(&self) -> AbilitySyntax {
        OUTGOING
    }

    fn words(&self) -> &'static [&'static str] {
        &["outgoing", "inject"]
    }

    fn uses(&self) -> &'static [ImportUse] {
        &[
            ImportUse {
                prefix: "wasi:http/outgoing-handler",
                what: "outgoing HTTP",
                grant: "outgoing",
                example: ORIGIN,
            },
            ImportUse {
                prefix: "wasi:http/client",
                what: "outgoing HTTP",
                grant: "outgoing",
                example: ORIGIN,
            },
        ]
    }

    fn warnings(&self, component: &ComponentConfig) -> Vec<String> {
        let named =
            component.grants.get().into_iter().flat_map(|config: &OutgoingConfig| &config.origins);
        let named = named.filter(|target| target.names_loopback()).map(ToString::to_string);
        unreachable_loopback(component, named)
    }

    fn provide(
        &self,
        component: &ComponentConfig,
        resources: &GrantResources<'_>,
    ) -> Result<Option<Arc<dyn Grant>>, String> {
        let granted: Option<&OutgoingConfig> = component.grants.get();
        let client = granted.map(|OutgoingConfig { origins, .. }| {
            let limits = ClientLimits {
                requests: component.limits.outgoing,
                response_body: Some(component.limits.outgoing_response_body),
                forbidden: resources.forbidden.to_owned(),
                ..ClientLimits::default()
            };
            // Idle connections are in addition to those in use.
            let connections = limits.requests.saturating_mul(2).saturating_add(limits.idle_total);
            let limits = ClientLimits { connections, ..limits };
            let origins = (origins.clone(), component.grants.reach);
            HttpClient::with_parts(origins, limits, resources.resolver.clone(), Trust::process())
        });
        let inject = granted.map(|config| config.inject.clone()).unwrap_or_default();
        Ok(Some(Arc::new(OutgoingGrant::new(client, inject))))
    }
}

/// Whether the host refused the request, which an operator can change.
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

/// The guest's error: as much as the interface has words for, and nothing of the log's text.
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
