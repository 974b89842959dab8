//! HTTP/1: hyper parses and writes, we decide when the connection ends.
//!
//! hyper's own graceful shutdown closes a connection whose next request has already arrived, and
//! the server never knows. So it is not used: from the lame duck on every answer says
//! `Connection: close`, an idle connection lingers for one more request, and before a connection
//! is closed we look into the wire, into hyper's buffer and into the kernel for a request that has
//! begun.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::{CUT_FLUSH, End};
use super::flow::{Flow, Reading};
use super::socket::{Socket, Unread};
use super::tracked::Tracked;
use super::wire::Wire;
use super::{Context, Refusal, Service};
use crate::lifecycle::{Phase, PhaseWatch};

type Connection<S> = http1::Connection<TokioIo<Wire>, Adapter<S>>;

/// Serves HTTP/1 on a socket whose first bytes are in `flow` already.
pub(super) async fn serve<S: Service>(
    socket: &Arc<Socket>,
    flow: &Arc<Flow>,
    context: &Context,
    service: &S,
) -> End {
    let mut drain_began = None;
    loop {
        let wire = TokioIo::new(Wire::new(socket.clone(), flow.clone()));
        let adapter = Adapter {
            inner: service.clone(),
            flow: flow.clone(),
            socket: socket.clone(),
            phase: context.phase.clone(),
        };
        let mut connection = http1::Builder::new()
            .half_close(true)
            .max_headers(context.limits.headers)
            .max_header_size(context.limits.header_size)
            .max_buf_size(context.limits.header_size.max(SMALLEST_BUFFER))
            .serve_connection(wire, adapter);
        let driver = Driver { socket, flow, context };
        match driver.drive(&mut connection, &mut drain_began).await {
            Turn::Ended(end) => return end,
            Turn::Idle => {
                let rest = connection.into_parts().read_buf;
                // Empty lines belong to no request (RFC 9112 §2.2), and hyper keeps them.
                if rest.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                    return End::Finished;
                }
                if context.phase.now() == Phase::Cut {
                    return End::Refused(Refusal::Stopping);
                }
                // The wire gives hyper one request at a time, so there is nothing else unless
                // hyper and our reading of a body's end differ.
                let mut state = flow.state();
                state.ahead.extend_from_slice(&rest);
                state.reading = Reading::fresh_head();
            }
        }
    }
}

/// hyper's smallest read buffer, and ours: bodies are read through it as well.
const SMALLEST_BUFFER: usize = 64 * 1024;

/// Why hyper's connection is no longer polled.
enum Turn {
    Ended(End),
    /// Nothing is owed and nothing has begun: it may be closed.
    Idle,
}

/// What is due when a deadline has passed.
#[derive(Clone, Copy)]
enum Due {
    CloseIdle,
    HeadTooSlow,
    Stalled,
}

struct Driver<'a> {
    socket: &'a Arc<Socket>,
    flow: &'a Arc<Flow>,
    context: &'a Context,
}

impl Driver<'_> {
    /// Polls hyper until the connection ends or a deadline of ours passes.
    async fn drive<S: Service>(
        &self,
        connection: &mut Connection<S>,
        drain_began: &mut Option<Instant>,
    ) -> Turn {
        let mut draining = std::pin::pin!(self.context.phase.reached(Phase::Draining));
        let mut cut = std::pin::pin!(self.context.phase.reached(Phase::Cut));
        let mut broken = std::pin::pin!(self.socket.broken());
        let mut is_cut = false;
        let mut timer = std::pin::pin!(sleep_until(self.deadline(*drain_began).0));
        std::future::poll_fn(|task| {
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(task) {
                return Poll::Ready(Turn::Ended(self.ended(result)));
            }
            if drain_began.is_none() && draining.as_mut().poll(task).is_ready() {
                *drain_began = Some(Instant::now());
            }
            is_cut = is_cut || cut.as_mut().poll(task).is_ready();
            if is_cut {
                return self.cut(task, timer.as_mut());
            }
            if self.flow.active() > 0 && broken.as_mut().poll(task).is_ready() {
                return Poll::Ready(Turn::Ended(End::Gone));
            }
            self.check_deadline(task, timer.as_mut(), *drain_began)
        })
        .await
    }

    /// The next deadline and what is due then. Recomputed from the state, so that no timer has to
    /// be touched by every request.
    fn deadline(&self, drain_began: Option<Instant>) -> (Instant, Due) {
        let limits = &self.context.limits;
        let state = self.flow.state();
        if let Some(since) = state.write_blocked {
            return (since + limits.stall, Due::Stalled);
        }
        if self.flow.active() > 0 {
            // The exchange has deadlines of its own.
            return (Instant::now() + limits.keep_alive, Due::CloseIdle);
        }
        if let Some(since) = state.half_head_since() {
            return (since + limits.head, Due::HeadTooSlow);
        }
        let patience = if state.served == 0 { limits.head } else { limits.keep_alive };
        let mut until = state.idle_since + patience;
        if let Some(began) = drain_began {
            until = until.min(began.max(state.idle_since) + limits.linger);
        }
        (until, Due::CloseIdle)
    }

    fn check_deadline(
        &self,
        task: &mut Task<'_>,
        mut timer: Pin<&mut Sleep>,
        drain_began: Option<Instant>,
    ) -> Poll<Turn> {
        loop {
            let (deadline, due) = self.deadline(drain_began);
            if deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(task).is_pending() {
                return Poll::Pending;
            }
            if deadline > Instant::now() {
                timer.as_mut().reset(deadline);
                continue;
            }
            match due {
                Due::Stalled => return Poll::Ready(Turn::Ended(End::Dropped)),
                Due::HeadTooSlow => {
                    return Poll::Ready(Turn::Ended(End::Refused(Refusal::HeadTooSlow)));
                }
                Due::CloseIdle => return self.close_idle(task),
            }
        }
    }

    /// Closes an idle connection, unless the kernel has a request that the reactor has not told us
    /// about yet: then hyper gets to see it first.
    fn close_idle(&self, task: &Task<'_>) -> Poll<Turn> {
        if self.request_has_begun() {
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Turn::Idle)
    }

    /// The stop cuts: idle connections close, half a head is told, exchanges have a moment to
    /// break off.
    fn cut(&self, task: &mut Task<'_>, mut timer: Pin<&mut Sleep>) -> Poll<Turn> {
        if self.flow.owes() {
            let latest = Instant::now() + CUT_FLUSH;
            if timer.deadline() > latest {
                timer.as_mut().reset(latest);
            }
            return timer.poll(task).map(|()| Turn::Ended(End::Dropped));
        }
        if self.request_has_begun() {
            return Poll::Ready(Turn::Ended(End::Refused(Refusal::Stopping)));
        }
        Poll::Ready(Turn::Idle)
    }

    /// Whether part of a request is here: in hyper, in the wire or in the kernel. What is left of a
    /// body that was answered already is none.
    fn request_has_begun(&self) -> bool {
        let state = self.flow.state();
        state.half_head_since().is_some()
            || (state.awaits_head()
                && (!state.ahead.is_empty() || self.socket.unread() == Unread::Bytes))
    }

    fn ended(&self, result: Result<(), hyper::Error>) -> End {
        match result {
            // hyper has answered a malformed head by itself: 400, 414 or 431.
            Err(why) if why.is_parse() => End::Finished,
            Err(why) if !self.flow.is_broken() && !why.is_user() => End::Gone,
            Ok(()) if !self.flow.is_broken() => End::Finished,
            Ok(()) | Err(_) => {
                if self.flow.ends_by_close() {
                    self.socket.reset_on_close();
                }
                End::Broken
            }
        }
    }
}

/// Stands between hyper and the service: keeps the flow's books and tells peers to leave.
struct Adapter<S> {
    inner: S,
    flow: Arc<Flow>,
    socket: Arc<Socket>,
    phase: PhaseWatch,
}

impl<S: Service> hyper::service::Service<Request<Incoming>> for Adapter<S> {
    type Response = Response<Tracked<S::Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let body = match request.body().size_hint().exact() {
            Some(left) => Reading::Body { left },
            None => Reading::chunked(),
        };
        let old = request.version() == Version::HTTP_10;
        let active = self.flow.begin(body);
        let expects = request.headers().contains_key(EXPECT);
        let answer = self.inner.call(request);
        let (socket, phase) = (self.socket.clone(), self.phase.clone());
        Box::pin(async move {
            let mut response = answer.await;
            let flow = active.flow();
            let says_close = phase.is_leaving()
                && (pipelined_enough(flow, &phase) || !next_request_waits(flow, &socket));
            // What a peer holds back until it is asked for may never come: hyper closes then.
            let held_back = expects && !flow.state().request_is_complete();
            if says_close || held_back {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            flow.set_ends_by_close(old);
            Ok(response.map(|body| Tracked::new(body, active)))
        })
    }
}

/// A peer that always has its next request under way is told all the same after this.
const PIPELINED_AT_MOST: Duration = Duration::from_secs(1);

/// Whether a peer has had its time for requests under way. What it has sent behind the answer that
/// says `Connection: close` it may send again (RFC 9112 §9.6).
fn pipelined_enough(flow: &Flow, phase: &PhaseWatch) -> bool {
    let mut state = flow.state();
    // A lame duck before this one, taken back since, is not counted.
    let since = phase.leaving_since();
    let leaving = state.leaving.filter(|leaving| since.is_none_or(|since| *leaving >= since));
    state.leaving.insert(leaving.unwrap_or_else(Instant::now)).elapsed() > PIPELINED_AT_MOST
}

/// Whether the peer has already sent its next request behind this one. It may not be answered any
/// more once we have said `Connection: close` (RFC 9112 §9.6), so then we do not say it yet.
fn next_request_waits(flow: &Flow, socket: &Socket) -> bool {
    let state = flow.state();
    state.request_is_complete() && (!state.ahead.is_empty() || socket.unread() == Unread::Bytes)
}
