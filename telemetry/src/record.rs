//! The record of an exchange.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::header::{REFERER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::end::End;
use super::request_id::RequestId;
use super::route_label::RouteLabel;
use super::trace_context::TraceContext;

/// Most exchanges have one stage, and nothing is allocated for it.
pub type Stages = SmallVec<[StageRecord; 1]>;

/// All that is known of an exchange when it has ended: made once, and handed to the [`Observers`](super::Observers).
#[derive(Clone, Debug)]
pub struct ExchangeRecord<'a> {
    /// What the log calls it; none for a request that did not become an exchange.
    pub number: Option<u64>,
    /// What its client may call it.
    pub request_id: &'a RequestId,
    /// Its trace.
    pub trace: TraceContext,
    /// Who counts as its sender; none where nothing says it, as on a Unix socket. Never an IPv4 address as one of IPv6.
    pub client: Option<IpAddr>,
    /// The other end of the connection; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// What was asked; none where it could not be read.
    pub request: Option<&'a RequestLine>,
    /// What the client calls itself, where an observer wants that.
    pub agent: Option<&'a Agent>,
    /// When its head had been read.
    pub began: Instant,
    /// From there to its end.
    pub took: Duration,
    /// From there to the head of the answer, if one went out.
    pub head: Option<Duration>,
    /// What the client was told, if it was told anything.
    pub status: Option<StatusCode>,
    /// Bytes of the request's body that were read.
    pub received: u64,
    /// Bytes of the answer's body that were handed over.
    pub sent: u64,
    /// The route that it took, if there was one.
    pub route: Option<&'static RouteLabel>,
    /// The stages that it went through, in the order in which they ended.
    pub stages: Stages,
    /// How it ended.
    pub end: End,
}

/// The first line of a request.
#[derive(Clone, Debug)]
pub struct RequestLine {
    /// The method.
    pub method: Method,
    /// Scheme, host and path, with the query.
    pub uri: Uri,
    /// The version of HTTP.
    pub version: Version,
}

/// Two headers of Apache's combined format.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    /// `user-agent`.
    pub user_agent: Option<HeaderValue>,
    /// `referer`.
    pub referer: Option<HeaderValue>,
}

impl Agent {
    /// What these headers say.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let get = |name| headers.get(name).cloned();
        Self { user_agent: get(USER_AGENT), referer: get(REFERER) }
    }
}

/// One component's part in an exchange: a plugin's, or that of the component at the end of the chain.
#[derive(Clone, Debug)]
pub struct StageRecord {
    /// The component.
    pub component: &'static str,
    /// Its generation, if it had an instance.
    pub generation: Option<u64>,
    /// Whether others came behind it.
    pub is_plugin: bool,
    /// From the beginning of the exchange to when the stage had its request.
    pub after: Duration,
    /// The wait for an instance.
    pub queue: Duration,
    /// From there to the head of its answer, if it gave one.
    pub head: Option<Duration>,
    /// From having its request to its end.
    pub took: Duration,
    /// CPU time of its guest.
    pub cpu: Duration,
    /// The status that it answered with, or that was told in its place.
    pub status: Option<StatusCode>,
    /// How it ended.
    pub end: End,
}

impl ExchangeRecord<'_> {
    /// The component's stage: the last one of the chain, if the exchange came so far.
    #[must_use]
    pub fn component_stage(&self) -> Option<&StageRecord> {
        self.stages.iter().find(|stage| !stage.is_plugin)
    }

    /// The plugins' stages.
    pub fn plugin_stages(&self) -> impl Iterator<Item = &StageRecord> {
        self.stages.iter().filter(|stage| stage.is_plugin)
    }

    /// The port of its client, where that is the other end of the connection itself.
    #[must_use]
    pub fn client_port(&self) -> Option<u16> {
        let peer = self.peer.filter(|peer| Some(peer.ip().to_canonical()) == self.client);
        peer.map(|peer| peer.port())
    }

    /// The other end of the connection, where that is not its client.
    #[must_use]
    pub fn proxy(&self) -> Option<SocketAddr> {
        self.peer.filter(|_| self.client_port().is_none())
    }

    /// CPU time of all its guests.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.stages.iter().map(|stage| stage.cpu).sum()
    }

    /// The waits for instances.
    #[must_use]
    pub fn queue(&self) -> Duration {
        self.stages.iter().map(|stage| stage.queue).sum()
    }
}

impl StageRecord {
    /// Whether it is the guest's fault that it did not end well, or the guest says itself that it failed (5xx).
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.end.is_guest_failure()
            || self.end == End::Finished
                && self.status.is_some_and(|status| status.is_server_error())
    }
}
