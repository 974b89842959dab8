//! One connection, from its first byte to its close.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use host_lifecycle::{Guard, PhaseWatch};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::debug;

use super::client_bounds::ClientPlace;
use super::connection_end::ConnectionEnd;
use super::context::ConnectionContext;
use super::handing::IdleConnection;
use super::peer::Peer;
use super::preface::{self, Opening};
use super::proxy_protocol::ExpectedHeader;
use super::registry::{ConnectionEntry, ConnectionProtocol};
use super::room::{NoRoom, Place, Turn};
use super::service::{Refusal, Service};
use super::socket::Socket;
use super::stream::ByteStream;
use super::tls::{self, HandshakeFailure, HandshakeTerms, TlsConfigs};
use super::{close, h1, h2};

/// A peer for whom there is no room is told so over TLS if its handshake takes no longer.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// Serves a connection until its end. `guard` keeps it registered; dropping the future drops the
/// socket. `entry` is the one under which the guard is registered.
pub(super) async fn serve<S: Service>(
    (socket, header, tls): (Socket, Option<Arc<ExpectedHeader>>, Option<TlsConfigs>),
    context: ConnectionContext,
    service: S,
    turn: Turn,
    entry: Arc<ConnectionEntry>,
    guard: Guard,
) {
    let (mut peer, mut accepted) = (Peer::at(entry.address()), Instant::now());
    // Before the room, so that who is over its bounds takes no place of others there.
    let mut client_place =
        match context.clients.admit(peer.address.map(|it| it.ip()), context.phase.now()) {
            Ok(place) => place,
            Err(refused) if tls.is_none() => {
                drop(turn);
                let answer = || service.connected(&peer).refusal(refused.why);
                return refuse_client((socket, refused.told), answer, &context.phase).await;
            }
            // A handshake costs more than what is refused.
            Err(_) => return,
        };
    let place = match turn.place(&context.phase).await {
        Ok(place) => place,
        Err(NoRoom) => {
            let service = service.connected(&peer);
            return turn_away((socket, tls), (&context, &entry), &service).await;
        }
    };
    entry.set_place(true);
    let known = (&mut peer, &mut accepted, &mut client_place);
    let secured = arrive((socket, header, tls), (&context, &entry), known).await;
    let places = (place, client_place);
    match secured {
        Ok(stream) => {
            let before = Before { accepted, served: 0, ahead: BytesMut::new() };
            talk((stream, peer, before), (context, service), (entry, guard), places).await;
        }
        Err(HandshakeFailure { socket, end }) => {
            let (stream, service) = (ByteStream::Plain(socket), service.connected(&peer));
            leave((end, &stream), (&context, &service), (&entry, guard), places).await;
        }
    }
}

/// Goes on with a connection that another process has served. As [`serve`] otherwise.
pub(super) async fn adopt<S: Service>(
    (socket, peer, before): (Socket, Peer, Before),
    (context, service): (ConnectionContext, S),
    (entry, guard): (Arc<ConnectionEntry>, Guard),
) {
    let client_place = context.clients.take_in(peer.address.map(|it| it.ip()));
    // One too many is served as well: nobody has told it to leave.
    let place = context.room.place_now();
    entry.set_place(true);
    let stream = ByteStream::Plain(socket);
    talk((stream, peer, before), (context, service), (entry, guard), (place, client_place)).await;
}

/// What has been before a connection speaks its protocol.
#[derive(Debug)]
pub(super) struct Before {
    /// Since when a request is waited for.
    pub(super) accepted: Instant,
    /// Requests that it has brought.
    pub(super) served: u64,
    /// What it has sent of the next one.
    pub(super) ahead: BytesMut,
}

/// The places that a connection has among all and among those of its client.
type Places = (Option<Place>, Option<ClientPlace>);

/// Speaks what the peer speaks, to the end of the connection or until another process goes on with it.
async fn talk<S: Service>(
    (stream, peer, before): (ByteStream, Peer, Before),
    (context, service): (ConnectionContext, S),
    (entry, mut guard): (Arc<ConnectionEntry>, Guard),
    mut places: Places,
) {
    let service = service.connected(&peer);
    let (mut stream, mut before) = (Arc::new(stream), before);
    let end = loop {
        let alpn = peer.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
        let opening = match before.served {
            0 => preface::opening((alpn, before.ahead), &stream, &entry, &context).await,
            _ => Opening::Http1(before.ahead),
        };
        let since = (before.accepted, before.served);
        let spoken = speak((&stream, opening, since), &entry, &context, &service).await;
        let Spoken { end, ahead } = spoken;
        if end != ConnectionEnd::GoesOver {
            break end;
        }
        // Whoever speaks has let go of it.
        let Some(ByteStream::Plain(socket)) = Arc::into_inner(stream) else { return };
        // Who comes may have its places.
        drop(std::mem::take(&mut places));
        let stays = hand_over((socket, ahead, guard), &entry, &peer, &context);
        let Some((socket, ahead, again)) = stays else { return };
        (stream, guard) = (Arc::new(ByteStream::Plain(socket)), again);
        before = Before { accepted: Instant::now(), served: entry.served(), ahead };
    };
    leave((end, &stream), (&context, &service), (&entry, guard), places).await;
}

/// Gives an idle connection to whoever goes on with it. Returns it where nobody does any more.
fn hand_over(
    (socket, ahead, guard): (Socket, BytesMut, Guard),
    entry: &ConnectionEntry,
    peer: &Peer,
    context: &ConnectionContext,
) -> Option<(Socket, BytesMut, Guard)> {
    let (listener, served) = (entry.listener(), entry.served());
    let is_unix = matches!(socket, Socket::Unix(_));
    // An error is one of the reactor, with which the connection could not go on here either.
    let socket = socket.into_fd().ok()?;
    entry.set_place(false);
    entry.set_gone(true);
    let (peer, guard) = (peer.clone(), Some(guard));
    let idle = IdleConnection { socket, listener, peer, served, ahead, guard };
    let stays = context.handing.give(idle).err()?;
    entry.set_gone(false);
    Some((Socket::from_fd(stays.socket, is_unix).ok()?, stays.ahead, stays.guard?))
}

/// Closes a connection that has come to this end, and gives its places to others.
async fn leave<S: Service>(
    (end, stream): (ConnectionEnd, &ByteStream),
    (context, service): (&ConnectionContext, &S),
    (entry, mut guard): (&ConnectionEntry, Guard),
    (place, client_place): Places,
) {
    debug!(connection = guard.id(), end = end.name(), "connection ended");
    entry.set_place(false);
    let leaving = place.map(Place::leave);
    if end.is_cut(context.phase.now()) {
        guard.mark_cut();
    }
    close(end, stream, service, &context.phase).await;
    drop((leaving, client_place));
}

/// Closes a connection that has come to this end.
async fn close<S: Service>(
    end: ConnectionEnd,
    stream: &ByteStream,
    service: &S,
    phase: &PhaseWatch,
) {
    match end {
        ConnectionEnd::AnsweredByHyper(status) => {
            service.answered_by_hyper(status);
            close::politely(stream, phase).await;
        }
        ConnectionEnd::Finished | ConnectionEnd::Flooded => close::politely(stream, phase).await,
        ConnectionEnd::Refused(why) => refuse(stream, &service.refusal(why), phase).await,
        ConnectionEnd::Dropped
        | ConnectionEnd::Broken
        | ConnectionEnd::Gone
        | ConnectionEnd::GoesOver => {}
    }
}

/// How a protocol left its connection.
struct Spoken {
    end: ConnectionEnd,
    /// What was read of one that goes over.
    ahead: BytesMut,
}

/// Serves what the peer speaks. It was accepted then, and has brought so many requests since.
async fn speak<S: Service>(
    (stream, opening, (accepted, served)): (&Arc<ByteStream>, Opening, (Instant, u64)),
    entry: &ConnectionEntry,
    context: &ConnectionContext,
    service: &S,
) -> Spoken {
    let mut ahead = BytesMut::new();
    let end = match opening {
        Opening::Http1(bytes) => {
            speaks(entry, context, ConnectionProtocol::Http1);
            h1::serve(stream, entry, (accepted, served, bytes), context, service).await
        }
        Opening::Http2(bytes) => {
            speaks(entry, context, ConnectionProtocol::Http2);
            h2::serve(stream, entry, (accepted, bytes), context, service).await
        }
        Opening::Nothing => ConnectionEnd::Finished,
        Opening::Stuck => ConnectionEnd::Gone,
        Opening::GoesOver(bytes) => {
            ahead = bytes;
            ConnectionEnd::GoesOver
        }
    };
    Spoken { end, ahead }
}

fn terms<'a>(
    context: &'a ConnectionContext,
    entry: &'a ConnectionEntry,
    patience: Duration,
) -> HandshakeTerms<'a> {
    HandshakeTerms { entry, context, half_open: context.room.half_open(), patience }
}

/// What comes before the first request: the header of a proxy and the handshake of TLS, where the listener has them.
/// Returns what the first request comes over; since when that is waited for is in `accepted`.
async fn arrive(
    (socket, header, tls): (Socket, Option<Arc<ExpectedHeader>>, Option<TlsConfigs>),
    (context, entry): (&ConnectionContext, &ConnectionEntry),
    (peer, accepted, client_place): (&mut Peer, &mut Instant, &mut Option<ClientPlace>),
) -> Result<ByteStream, HandshakeFailure> {
    // What others do not have is on the heap: plain connections would pay for its size.
    if let Some(expected) = header {
        let introduced = introduce(&socket, (&expected, context, entry), peer);
        if let Err(end) = Box::pin(introduced).await {
            return Err(HandshakeFailure { socket, end });
        }
        *accepted = Instant::now();
        // The proxy has no bounds of a client. Its clients have.
        match context.clients.admit(peer.address.map(|it| it.ip()), context.phase.now()) {
            Ok(place) => *client_place = place,
            Err(_) => return Err(HandshakeFailure { socket, end: ConnectionEnd::Gone }),
        }
    }
    let Some(configs) = tls else { return Ok(ByteStream::Plain(socket)) };
    let terms = terms(context, entry, context.limits.handshake);
    let secured = Box::pin(secure(socket, configs, terms, peer)).await;
    *accepted = Instant::now();
    secured
}

/// Takes note of what the proxy says of its client, in front of everything else.
async fn introduce(
    socket: &Socket,
    (expected, context, entry): (&ExpectedHeader, &ConnectionContext, &ConnectionEntry),
    peer: &mut Peer,
) -> Result<(), ConnectionEnd> {
    let header = expected.read(socket, entry, context).await?;
    peer.introduce(&header);
    if peer.address != entry.address() {
        entry.set_address(peer.address);
    }
    Ok(())
}

/// Makes a TLS session of the connection, with the newest of the configurations, and takes note of what it says of
/// the `peer`.
async fn secure(
    socket: Socket,
    configs: TlsConfigs,
    terms: HandshakeTerms<'_>,
    peer: &mut Peer,
) -> Result<ByteStream, HandshakeFailure> {
    let entry = terms.entry;
    entry.shakes_hands(true);
    let config = configs.borrow().clone();
    let (session, said) = tls::accept(socket, config, terms).await?;
    entry.shakes_hands(false);
    entry.set_tls(said.version);
    peer.tls = Some(Arc::new(said));
    Ok(ByteStream::Tls(Box::new(session)))
}

/// Tells a peer that there is no room, over TLS if it speaks that and few are told so at the same time.
async fn turn_away<S: Service>(
    (socket, tls): (Socket, Option<TlsConfigs>),
    (context, entry): (&ConnectionContext, &ConnectionEntry),
    service: &S,
) {
    let stream = match tls {
        None => ByteStream::Plain(socket),
        Some(configs) => {
            let Some(_turn) = context.room.tells_over_tls() else { return };
            let terms = terms(context, entry, REFUSED_WITHIN.min(context.limits.handshake));
            match Box::pin(secure(socket, configs, terms, &mut Peer::default())).await {
                Ok(stream) => stream,
                Err(_) => return,
            }
        }
    };
    refuse(&stream, &service.refusal(Refusal::NoRoom), &context.phase).await;
}

/// Tells a peer whose client has one connection too many why it is refused, if few are told so at the same time.
async fn refuse_client(
    (socket, told): (Socket, Option<OwnedSemaphorePermit>),
    answer: impl FnOnce() -> Bytes,
    phase: &PhaseWatch,
) {
    if told.is_some() {
        refuse(&ByteStream::Plain(socket), &answer(), phase).await;
    }
}

/// Takes note of what the first bytes said.
fn speaks(entry: &ConnectionEntry, context: &ConnectionContext, protocol: ConnectionProtocol) {
    entry.speaks(protocol);
    context.counts.speaks(protocol);
}

/// Says why it ends to a peer whose request has not become one.
async fn refuse(stream: &ByteStream, answer: &[u8], phase: &PhaseWatch) {
    close::write_all(stream, answer, close::LAST_WORDS).await;
    close::politely(stream, phase).await;
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
