//! HTTP/1: hyper parses and writes, [`ConnectionState`] decides.
//!
//! hyper's own graceful shutdown closes a connection whose next request has already arrived, and
//! the server never knows. So it is not used: from the lame duck on every answer says
//! `Connection: close`, an idle connection lingers for one more request, and before a connection
//! is closed we look into the kernel for a request that has begun.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use atomic_refcell::{AtomicRefCell, AtomicRefMut};
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::{End, reached};
use super::connection_state::{ConnectionState, Decision, Framing, Side};
use super::h1_wire::Wire;
use super::registry::{Entry, Standing};
use super::request_body::{self, Pump};
use super::socket::{Socket, Unread};
use super::{Context, Hurry, Service};
use host_lifecycle::{Phase, PhaseWatch};

type Connection<S> = http1::Connection<TokioIo<Wire>, Adapter<S>>;

/// hyper's smallest read buffer, and ours: bodies are read through it as well.
const SMALLEST_BUFFER: usize = 64 * 1024;

/// Turns of hyper in one turn of the connection's task, before others get theirs.
const TURNS_IN_A_ROW: usize = 16;

/// What hyper's ends of a connection, which are the wire, the service and the bodies of answers, share with
/// its driver. All of them are polled and dropped by the connection's task, one after the other, and none
/// keeps what it borrows: so no borrow ever meets another, and nothing is locked.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: Arc<Socket>,
    state: AtomicRefCell<ConnectionState>,
    /// The body of the request that is being read.
    upload: AtomicRefCell<Option<Pump>>,
}

impl Link {
    pub(super) fn state(&self) -> AtomicRefMut<'_, ConnectionState> {
        self.state.borrow_mut()
    }

    /// Lets go of a body that the service has dropped, unless all of it is here. hyper closes then.
    fn drop_abandoned(&self) -> bool {
        let mut upload = self.upload.borrow_mut();
        let abandoned =
            upload.as_ref().is_some_and(Pump::is_abandoned) && !self.state().request_is_complete();
        if abandoned {
            *upload = None;
        }
        abandoned
    }

    /// Whether the peer waits for nothing of ours before it sends its body (RFC 9110 §10.1.1).
    fn is_asked_for(&self) -> bool {
        self.upload.borrow().as_ref().is_none_or(Pump::is_asked_for)
    }

    /// Passes on what has come of a request's body.
    fn pump(&self, task: &mut Task<'_>) {
        let mut upload = self.upload.borrow_mut();
        if upload.as_mut().is_some_and(|pump| pump.poll(task).is_ready()) {
            *upload = None;
        }
    }
}

/// Serves HTTP/1 on a socket that was accepted at `accepted` and has sent `ahead` already.
pub(super) async fn serve<S: Service>(
    socket: &Arc<Socket>,
    entry: &Entry,
    (accepted, ahead): (Instant, BytesMut),
    context: &Context,
    service: &S,
) -> End {
    let state = ConnectionState::new(context.limits, accepted, ahead);
    let link = Arc::new(Link {
        socket: socket.clone(),
        state: AtomicRefCell::new(state),
        upload: AtomicRefCell::new(None),
    });
    let adapter =
        Adapter { inner: service.clone(), link: link.clone(), phase: context.phase.clone() };
    let mut connection = http1::Builder::new()
        .half_close(true)
        .max_headers(context.limits.headers)
        .max_header_size(context.limits.header_size)
        .max_buf_size(context.limits.header_size.max(SMALLEST_BUFFER))
        .serve_connection(TokioIo::new(Wire::new(link.clone())), adapter);
    Driver { link: &link, entry, context }.drive(&mut connection).await
}

struct Driver<'a> {
    link: &'a Link,
    entry: &'a Entry,
    context: &'a Context,
}

impl Driver<'_> {
    /// Polls hyper until the connection ends or the state says that it is to.
    async fn drive<S: Service>(&self, connection: &mut Connection<S>) -> End {
        let mut draining = Some(Box::pin(self.context.phase.reached(Phase::Draining)));
        let mut cut = Some(Box::pin(self.context.phase.reached(Phase::Cut)));
        let mut room = Some(Box::pin(self.entry.room_is_wanted()));
        let mut hurry = Hurry::default();
        let mut broken = pin!(self.link.socket.broken());
        let mut timer = pin!(sleep_until(Instant::now() + self.context.limits.head));
        std::future::poll_fn(|task| {
            self.link.state().tick(Instant::now());
            if reached(&mut draining, task) {
                self.link.state().drain();
            }
            if reached(&mut cut, task) {
                self.link.state().cut();
            }
            while reached(&mut room, task) {
                room = Some(Box::pin(self.entry.room_is_wanted()));
                if !self.link.state().make_room() {
                    self.entry.declines();
                }
            }
            if let Poll::Ready(end) = self.turn(connection, task) {
                return Poll::Ready(end);
            }
            let held_up = self.link.state().is_held_up();
            let hurry = hurry.poll(&self.context.scarcity, held_up, task);
            self.link.state().set_hurry(hurry);
            let in_flight = self.link.state().in_flight();
            if in_flight && broken.as_mut().poll(task).is_ready() {
                return Poll::Ready(End::Gone);
            }
            let decided = self.decide(task, timer.as_mut());
            self.entry.publish(self.link.state().standing());
            decided
        })
        .await
    }

    /// Gives hyper its turn, and another one while there is something for it that it was refused.
    fn turn<S: Service>(&self, connection: &mut Connection<S>, task: &mut Task<'_>) -> Poll<End> {
        for _ in 0..TURNS_IN_A_ROW {
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(task) {
                return Poll::Ready(self.ended(result));
            }
            self.link.pump(task);
            if !self.link.state().is_due_again() {
                return Poll::Pending;
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what the state says, until that is to wait.
    fn decide(&self, task: &mut Task<'_>, mut timer: Pin<&mut Sleep>) -> Poll<End> {
        loop {
            let decision = self.link.state().decide();
            match decision {
                Decision::Leave(end) => return Poll::Ready(end),
                Decision::Look(side) => {
                    let something = match side {
                        Side::Input => self.link.socket.unread() == Unread::Bytes,
                        Side::Output => self.link.socket.takes_bytes(),
                    };
                    self.link.state().looked(something);
                }
                Decision::Wait(until) => {
                    // A timer that rings too early is set anew: so not every request touches it.
                    if until < timer.deadline() {
                        timer.as_mut().reset(until);
                    }
                    if timer.as_mut().poll(task).is_pending() {
                        return Poll::Pending;
                    }
                    let now = Instant::now();
                    if until > now {
                        timer.as_mut().reset(until);
                    }
                    self.link.state().tick(now);
                }
            }
        }
    }

    fn ended(&self, result: Result<(), hyper::Error>) -> End {
        let state = self.link.state();
        match result {
            // hyper has answered a malformed head by itself: 400, 414 or 431.
            Err(why) if why.is_parse() => End::Finished,
            Err(why) if !state.is_broken() && !why.is_user() => End::Gone,
            Ok(()) if !state.is_broken() => End::Finished,
            Ok(()) | Err(_) => {
                if state.breaks_by_reset() {
                    self.link.socket.reset_on_close();
                }
                End::Broken
            }
        }
    }
}

/// Stands between hyper and the service: tells the state of exchanges, and peers to leave.
struct Adapter<S> {
    inner: S,
    link: Arc<Link>,
    phase: PhaseWatch,
}

impl<S: Service> hyper::service::Service<Request<Incoming>> for Adapter<S> {
    type Response = Response<InFlightBody<S::Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let framing = request.body().size_hint().exact().map_or(Framing::Chunked, Framing::Sized);
        let expects = request.headers().contains_key(EXPECT);
        let old = request.version() == Version::HTTP_10;
        let is_last = !is_persistent(&request);
        self.link.state().request(framing, is_last);
        let (parts, body) = request.into_parts();
        let (body, upload) = request_body::split(body, expects, None);
        *self.link.upload.borrow_mut() = upload;
        let exchange = Exchange { link: self.link.clone() };
        let answer = self.inner.call(Request::from_parts(parts, body));
        let phase = self.phase.clone();
        Box::pin(async move {
            let mut answer = pin!(answer);
            let mut response = std::future::poll_fn(|task| {
                exchange.link.pump(task);
                answer.as_mut().poll(task)
            })
            .await;
            if exchange.says_close(&phase) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            exchange.link.state().set_ends_by_close(old);
            Ok(response.map(|body| InFlightBody { body, exchange: Some(exchange) }))
        })
    }
}

/// Whether the peer means to send another request on its connection (RFC 9112 §9.3).
fn is_persistent<B>(request: &Request<B>) -> bool {
    let says = |option: &str| {
        request
            .headers()
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|said| said.trim().eq_ignore_ascii_case(option))
    };
    !says("close") && (request.version() != Version::HTTP_10 || says("keep-alive"))
}

/// An exchange on a connection. Dropping it ends the exchange.
struct Exchange {
    link: Arc<Link>,
}

impl Exchange {
    fn says_close(&self, phase: &PhaseWatch) -> bool {
        let asked = self.link.is_asked_for();
        let abandoned = self.link.drop_abandoned();
        let since = phase.is_leaving().then(|| phase.leaving_since()).flatten();
        let unread = || self.link.socket.unread() == Unread::Bytes;
        self.link.state().says_close(abandoned, asked, since, unread)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.link.drop_abandoned();
        let mut upload = self.link.upload.borrow_mut();
        // Behind the last answer nothing more is read, nor what the peer was never asked for.
        let is_last = self.link.state().is_last();
        let rest = upload.take().filter(|rest| !is_last && rest.is_asked_for());
        *upload = rest.map(Pump::throw_away);
        self.link.state().answered();
    }
}

pin_project_lite::pin_project! {
    /// The body of an answer, which keeps its exchange in flight until its last frame.
    struct InFlightBody<B> {
        #[pin]
        body: B,
        exchange: Option<Exchange>,
    }
}

impl<B: Body<Data = Bytes>> Body for InFlightBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if let Some(exchange) = &this.exchange {
            exchange.link.pump(task);
        }
        let frame = this.body.poll_frame(task);
        match &frame {
            Poll::Ready(None) => drop(this.exchange.take()),
            Poll::Ready(Some(Err(_))) => {
                if let Some(exchange) = this.exchange.take() {
                    exchange.link.state().broke_off();
                }
            }
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl ConnectionState {
    /// What the registry is told.
    fn standing(&self) -> Standing {
        Standing {
            doing: self.doing(),
            moved: self.moved(),
            served: self.served(),
            in_flight: usize::from(self.in_flight()),
        }
    }
}
