//! The account of an exchange: what is noted of it until it ends, and the record that is made of that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use host_lifecycle::{Guard, Tracker};
use host_telemetry::{
    Agent, End, ExchangeRecord, Observers, RequestId, Stages, TraceContext, Traffic,
};
use http::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;

use super::client::ClientRule;
use super::client_certificate::ClientCertificate;
use super::exchange_info::ExchangeInfo;
use super::peer_fault::PeerFault;

/// The other end of a connection, and who is told of its exchanges. One for each connection.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) traffic: Arc<Traffic>,
    pub(super) observers: Observers,
    /// None on a Unix socket.
    pub(super) address: Option<SocketAddr>,
    /// Who the clients of its requests are.
    pub(super) rule: ClientRule,
    /// What it has shown in its handshake.
    pub(super) certificate: ClientCertificate,
    /// A random number of the connection.
    pub(super) connection: u64,
}

impl Client {
    /// What an exchange is told of it: the number of its connection, and the headers that an observer wants.
    pub(super) fn of(&self, headers: &HeaderMap) -> (u64, Option<Box<Agent>>) {
        let agent = self.observers.want_agent().then(|| Box::new(Agent::of(headers)));
        (self.connection, agent)
    }

    /// A request that never became one was answered with this status, and a body of so many bytes. Returns what its
    /// client may call it.
    pub(super) fn refused(&self, (status, sent): (StatusCode, usize), end: End) -> RequestId {
        let trace = TraceContext::new();
        let (request_id, began) = (RequestId::made(trace.span), Instant::now());
        self.traffic.accepted();
        self.observers.observe(&ExchangeRecord {
            number: None,
            request_id: &request_id,
            trace,
            client: self.rule.way(&HeaderMap::new()).client,
            peer: self.address,
            request: None,
            agent: None,
            began,
            took: Duration::ZERO,
            head: Some(Duration::ZERO),
            status: Some(status),
            received: 0,
            sent: sent as u64,
            route: None,
            stages: Stages::new(),
            end,
        });
        request_id
    }
}

/// An exchange, or a part of one behind a plugin, from its beginning to its end. Dropping it is the end: then the
/// observers are told of an exchange. Until it is told how that ended, its peer has gone.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) info: Arc<ExchangeInfo>,
    /// What its peer did to it.
    pub(super) peer_fault: PeerFault,
    /// Elsewhere, because the account is moved into each future and body that the exchange goes through.
    noted: Box<Noted>,
}

/// What is noted of an exchange.
#[derive(Debug)]
struct Noted {
    /// None for a request that never became an exchange.
    guard: Option<Guard>,
    /// None for a part.
    client: Option<Arc<Client>>,
    head: Option<Instant>,
    status: Option<StatusCode>,
    sent: u64,
    end: End,
}

impl Account {
    /// Of an exchange, which is in flight in `exchanges` from now on.
    pub(super) fn open(client: Arc<Client>, info: ExchangeInfo, exchanges: &Tracker) -> Self {
        let info = Arc::new(info);
        let guard = exchanges.guard_since(info.clone(), info.began);
        info.set_number(guard.id());
        Self::with(Some(guard), info, PeerFault::default(), Some(client))
    }

    /// Of a request that becomes no exchange, because the host answers it.
    pub(super) fn of_refused(client: Arc<Client>, info: ExchangeInfo) -> Self {
        Self::with(None, Arc::new(info), PeerFault::default(), Some(client))
    }

    /// Of a part of an exchange, whose peer is the plugin before.
    pub(super) fn of_part(info: ExchangeInfo, parts: &Tracker, peer_fault: PeerFault) -> Self {
        let info = Arc::new(info);
        let guard = parts.guard_since(info.clone(), info.began);
        Self::with(Some(guard), info, peer_fault, None)
    }

    fn with(
        guard: Option<Guard>,
        info: Arc<ExchangeInfo>,
        peer_fault: PeerFault,
        client: Option<Arc<Client>>,
    ) -> Self {
        let end = End::PeerGone;
        let noted = Box::new(Noted { guard, client, head: None, status: None, sent: 0, end });
        Self { info, peer_fault, noted }
    }

    /// What the log calls it.
    pub(super) fn number(&self) -> Option<u64> {
        self.info.number()
    }

    /// The head of an answer with this status goes out now.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.noted.status = Some(status);
        self.noted.head = Some(Instant::now());
    }

    /// Whether the head of an answer has gone out.
    pub(super) fn has_answered(&self) -> bool {
        self.noted.head.is_some()
    }

    /// So many bytes of the answer's body were handed over.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.noted.sent += bytes as u64;
    }

    /// Its answer is all here, and its peer takes no more of it. Nobody takes a body after HEAD.
    pub(super) fn lost(&mut self) {
        if self.noted.end == End::Finished && self.info.line.method != Method::HEAD {
            self.noted.end = End::PeerGone;
        }
    }

    /// It ends like this.
    pub(super) fn ends(&mut self, end: End) {
        self.noted.end = end;
        if end == End::Cut
            && let Some(guard) = &mut self.noted.guard
        {
            guard.mark_cut();
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let (info, noted) = (&self.info, &self.noted);
        let Some(client) = &noted.client else { return };
        client.observers.observe(&ExchangeRecord {
            number: info.number(),
            request_id: &info.request_id,
            trace: info.trace,
            client: info.client().address(),
            peer: client.address,
            request: Some(&info.line),
            agent: info.agent(),
            began: info.began,
            took: info.began.elapsed(),
            head: noted.head.map(|head| head - info.began),
            status: noted.status,
            received: self.peer_fault.received(),
            sent: noted.sent,
            route: info.route(),
            stages: info.take_stages(),
            end: noted.end,
        });
    }
}
