//! HTTP/2: hyper speaks the protocol, we own its deadlines.
//!
//! A stop sends GOAWAY twice (RFC 9113 §6.8): first with the highest id, so that streams under way
//! are still served, then, a round trip later, with the last one served. hyper measures the round
//! trip with a PING; a peer that never answers it would hold the connection for ever, so we close
//! it ourselves when it owes nothing.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::{CUT_FLUSH, End};
use super::flow::{Active, Flow, Reading};
use super::socket::Socket;
use super::wire::Wire;
use super::{Context, Service};
use crate::lifecycle::Phase;

/// Streams at once on one connection, as Envoy's guide for edges says.
const MAX_STREAMS: u32 = 100;

/// Resets of streams that were never served: the Rapid Reset attack (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;

/// Resets that a peer provokes from us: the MadeYouReset attack (CVE-2025-8671).
const MAX_LOCAL_RESETS: usize = 100;

/// What one stream, and one connection, may have under way to us before a guest reads it.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What we hold of one answer that the peer does not read.
const SEND_BUFFER: usize = 256 * 1024;

/// A dead peer is found by an unanswered PING.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// After the first GOAWAY, a peer that answers no PING is closed when it owes nothing and this has
/// passed. Longer than any round trip that matters.
const GOAWAY_PATIENCE: Duration = Duration::from_secs(1);

type Connection<S> = http2::Connection<TokioIo<Wire>, Adapter<S>, Streams>;

/// Serves HTTP/2 on a socket whose preface is in `flow` already.
pub(super) async fn serve<S: Service>(
    socket: &Arc<Socket>,
    flow: &Arc<Flow>,
    context: &Context,
    service: &S,
) -> End {
    let newest = Newest::default();
    let streams = Streams { newest: newest.clone(), patience: context.limits.stall };
    let wire = TokioIo::new(Wire::new(socket.clone(), flow.clone()));
    let adapter = Adapter { inner: service.clone(), flow: flow.clone(), newest };
    let list_size = u32::try_from(context.limits.header_size).unwrap_or(u32::MAX);
    let mut connection = std::pin::pin!(
        http2::Builder::new(streams)
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_LOCAL_RESETS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(list_size)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(wire, adapter)
    );
    Driver { flow, context, told: None, is_cut: false }.drive(connection.as_mut()).await
}

struct Driver<'a> {
    flow: &'a Flow,
    context: &'a Context,
    /// When GOAWAY was sent.
    told: Option<Instant>,
    is_cut: bool,
}

impl Driver<'_> {
    async fn drive<S: Service>(mut self, mut connection: Pin<&mut Connection<S>>) -> End {
        let mut draining = std::pin::pin!(self.context.phase.reached(Phase::Draining));
        let mut cut = std::pin::pin!(self.context.phase.reached(Phase::Cut));
        let mut timer = std::pin::pin!(sleep_until(self.deadline()));
        std::future::poll_fn(|task| {
            if let Poll::Ready(result) = connection.as_mut().poll(task) {
                return Poll::Ready(self.ended(&result));
            }
            if self.told.is_none() && draining.as_mut().poll(task).is_ready() {
                self.tell(connection.as_mut(), task);
            }
            if !self.is_cut && cut.as_mut().poll(task).is_ready() {
                self.is_cut = true;
                timer.as_mut().reset(Instant::now() + CUT_FLUSH);
            }
            if self.is_cut {
                return self.cut(connection.as_mut(), task, timer.as_mut());
            }
            self.check_deadline(connection.as_mut(), task, timer.as_mut())
        })
        .await
    }

    fn tell<S: Service>(&mut self, connection: Pin<&mut Connection<S>>, task: &Task<'_>) {
        self.told = Some(Instant::now());
        connection.graceful_shutdown();
        task.waker().wake_by_ref();
    }

    fn cut<S: Service>(
        &self,
        connection: Pin<&mut Connection<S>>,
        task: &mut Task<'_>,
        timer: Pin<&mut Sleep>,
    ) -> Poll<End> {
        if !self.flow.owes()
            && let Poll::Ready(end) = self.leave(connection, task)
        {
            return Poll::Ready(end);
        }
        timer.poll(task).map(|()| End::Dropped)
    }

    /// Leaves a connection on which nothing is in flight, once the last frames are written: a
    /// stream may have ended between hyper's turn and ours, so hyper has another one.
    fn leave<S: Service>(
        &self,
        connection: Pin<&mut Connection<S>>,
        task: &mut Task<'_>,
    ) -> Poll<End> {
        if let Poll::Ready(result) = connection.poll(task) {
            return Poll::Ready(self.ended(&result));
        }
        if self.flow.owes() { Poll::Pending } else { Poll::Ready(End::Finished) }
    }

    /// When to look again. A connection that owes something has the deadlines of its exchanges,
    /// and that of a peer that takes no bytes.
    fn deadline(&self) -> Instant {
        let limits = &self.context.limits;
        let state = self.flow.state();
        if let Some(since) = state.write_blocked {
            return since + limits.stall;
        }
        if self.flow.active() > 0 {
            return Instant::now() + limits.keep_alive;
        }
        if state.open_streams() > 0 {
            // All is handed over, and the peer gives no window for the rest.
            return state.moved + limits.stall;
        }
        if let Some(told) = self.told {
            return told + GOAWAY_PATIENCE;
        }
        let patience = if state.served == 0 { limits.head } else { limits.keep_alive };
        state.idle_since + patience
    }

    fn check_deadline<S: Service>(
        &mut self,
        connection: Pin<&mut Connection<S>>,
        task: &mut Task<'_>,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<End> {
        loop {
            let deadline = self.deadline();
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
            if self.flow.owes() {
                return Poll::Ready(End::Dropped);
            }
            if self.told.is_some() {
                return self.leave(connection, task);
            }
            // Idle for too long: GOAWAY first, so that a request crossing it is safe to send again.
            self.tell(connection, task);
            timer.as_mut().reset(self.deadline());
            return timer.poll(task).map(|()| End::Finished);
        }
    }

    fn ended(&self, result: &Result<(), hyper::Error>) -> End {
        match result {
            Ok(()) => End::Finished,
            Err(_) if self.flow.owes() => End::Gone,
            // A protocol error was answered with GOAWAY; its bytes must not be erased by a reset.
            Err(_) => End::Finished,
        }
    }
}

/// Stands between hyper and the service: keeps the flow's books.
struct Adapter<S> {
    inner: S,
    flow: Arc<Flow>,
    newest: Newest,
}

impl<S: Service> hyper::service::Service<Request<Incoming>> for Adapter<S> {
    type Response = Response<Watched<S::Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let taken = Arc::new(AtomicBool::new(true));
        let active = self.flow.begin(Reading::Free);
        self.newest.put(Mark { taken: taken.clone(), _active: active });
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await;
            Ok(response.map(|body| Watched { body, rest: Bytes::new(), taken }))
        })
    }
}

/// What is known of a stream beside hyper's future of it.
struct Mark {
    /// Whether the peer has taken what the body gave last.
    taken: Arc<AtomicBool>,
    /// In flight until hyper's future has handed over the end of the stream.
    _active: Active,
}

/// The mark of the stream whose service was called last: hyper calls the service and hands the
/// stream to the executor one right after the other, on the same task.
#[derive(Clone, Default)]
struct Newest(Arc<Mutex<Option<Mark>>>);

impl Newest {
    fn put(&self, mark: Mark) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
    }

    fn take(&self) -> Option<Mark> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

pin_project_lite::pin_project! {
    /// A response body that marks whether the peer has taken what it gave.
    struct Watched<B> {
        #[pin]
        body: B,
        rest: Bytes,
        taken: Arc<AtomicBool>,
    }
}

impl<B: Body<Data = Bytes>> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    /// Gives slices, so that a peer which takes few bytes at a time is seen to take some.
    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if this.rest.is_empty() {
            // Asked for more, so what was given is taken; from here on it is the guest's turn.
            this.taken.store(true, Ordering::Release);
            let frame = ready!(this.body.poll_frame(task));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => *this.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(why)) => return Poll::Ready(Some(Err(why))),
                None => return Poll::Ready(None),
            }
        }
        this.taken.store(false, Ordering::Release);
        let slice = this.rest.split_to(this.rest.len().min(SLICE));
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        match self.body.size_hint().exact() {
            Some(exact) => SizeHint::with_exact(exact + rest),
            None => SizeHint::default(),
        }
    }
}

/// One HTTP/2 frame of the usual size (RFC 9113 §6.5.2).
const SLICE: usize = 16 * 1024;

/// Runs the streams of one connection, each as a task, and gives up one whose peer takes nothing.
/// A stream's task ends with its connection: hyper's future sees the connection go.
#[derive(Clone)]
struct Streams {
    newest: Newest,
    patience: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let stream =
            Stream { stream, mark: self.newest.take(), patience: self.patience, stalled: None };
        // Owned by the connection: it ends when the connection's future has ended.
        tokio::spawn(stream);
    }
}

pin_project_lite::pin_project! {
    /// One stream. When it completes without hyper's future having done so, dropping that resets
    /// the stream.
    struct Stream<F> {
        #[pin]
        stream: F,
        mark: Option<Mark>,
        patience: Duration,
        stalled: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(task).is_ready() {
            return Poll::Ready(());
        }
        let taken = this.mark.as_ref().is_none_or(|mark| mark.taken.load(Ordering::Acquire));
        if taken {
            *this.stalled = None;
            return Poll::Pending;
        }
        let patience = *this.patience;
        let stalled =
            this.stalled.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        stalled.as_mut().poll(task)
    }
}
