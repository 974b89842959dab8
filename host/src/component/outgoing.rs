//! Requests that a guest sends: on to the next of its chain, or out.

use std::sync::Arc;

use tracing::warn;
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody, WasiHttpHooks};

use super::Next;
use super::state::Identity;
use super::stdio::quote;

/// The authority through which a guest of wasi:http 0.2 passes a request on.
const NEXT: &str = "next.host";

/// What a guest may send, and where.
pub(super) struct Outgoing {
    identity: Identity,
    next: Option<Arc<dyn Next>>,
    /// One line of the log is enough.
    said: bool,
}

impl Outgoing {
    pub(super) fn new(identity: &Identity) -> Self {
        Self { identity: identity.clone(), next: None, said: false }
    }

    pub(super) fn lead_to(&mut self, next: Option<Arc<dyn Next>>) {
        self.next = next;
    }

    fn deny(&mut self, why: &str) {
        if std::mem::replace(&mut self.said, true) {
            return;
        }
        let (component, generation) = (&*self.identity.component, self.identity.number);
        warn!(component, generation, "outgoing request refused: {why}");
    }
}

/// What wasmtime's hook for outgoing requests gives back.
type Sending = Box<
    dyn Future<
            Output = Result<
                (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), HttpError>> + Send>),
                HttpError,
            >,
        > + Send,
>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Sending {
        if request.uri().host() == Some(NEXT) {
            return match &self.next {
                Some(next) => pass(next.clone(), request),
                None => {
                    self.deny(
                        "next.host is for plugins of a chain, and nothing comes after this one",
                    );
                    Box::new(std::future::ready(Err(HttpError::DestinationNotFound)))
                }
            };
        }
        let to = quote(request.uri().authority().map_or("", |authority| authority.as_str()));
        self.deny(&format!("{to} is not granted"));
        Box::new(std::future::ready(Err(HttpError::HttpRequestDenied)))
    }
}

fn pass(next: Arc<dyn Next>, request: http::Request<WasiBody>) -> Sending {
    let passing = next.pass(request);
    Box::new(async move {
        let response = passing.await?;
        Ok((response, Box::new(std::future::ready(Ok(()))) as Box<_>))
    })
}
