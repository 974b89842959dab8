//! The span of a request that a guest sends out: from there to the head of the response.

use host_telemetry::{AttributeValue, SpanKind, SpanTimer, TraceContext};
use http::{Method, Request, Response};
use wasmtime_wasi_http::Error as HttpError;

/// A request of a guest that is under way.
pub(crate) struct OutgoingSpan {
    timer: SpanTimer,
    method: Method,
    attributes: Vec<(&'static str, AttributeValue)>,
}

impl OutgoingSpan {
    /// That of a request that is sent now, if spans of its trace are wanted. Of the URL it keeps scheme, host and port:
    /// secrets stand behind those.
    pub(crate) fn begin<B>(trace: TraceContext, request: &Request<B>) -> Option<Self> {
        let timer = trace.timer()?;
        let (method, uri) = (request.method().clone(), request.uri());
        let mut attributes = vec![("http.request.method", method.as_str().to_owned().into())];
        attributes.extend(uri.scheme_str().map(|it| ("url.scheme", it.to_owned().into())));
        attributes.extend(uri.host().map(|it| ("server.address", it.to_owned().into())));
        attributes.extend(uri.port_u16().map(|it| ("server.port", u64::from(it).into())));
        Some(Self { timer, method, attributes })
    }

    /// Its place in the trace: the server that it goes to is in it.
    pub(crate) fn context(&self) -> TraceContext {
        self.timer.context()
    }

    /// The head of the response is there, or none comes.
    pub(crate) fn end<B>(mut self, sent: &Result<Response<B>, HttpError>) {
        let failed = match sent {
            Ok(response) => {
                let status = response.status();
                let code = u64::from(status.as_u16()).into();
                self.attributes.push(("http.response.status_code", code));
                status.is_client_error() || status.is_server_error()
            }
            Err(why) => {
                self.attributes.push(("error.type", why.to_string().into()));
                true
            }
        };
        self.timer.end(
            (SpanKind::Client, self.method.as_str().to_owned()),
            self.attributes,
            failed,
        );
    }
}
