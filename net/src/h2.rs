//! HTTP/2: hyper speaks the protocol, we own its deadlines.
//!
//! A stop sends GOAWAY twice (RFC 9113 §6.8): first with the highest id, so that streams under way
//! are still served, then, a round trip later, with the last one served. hyper measures the round
//! trip with a PING; a peer that never answers it would hold the connection for ever, so we close
//! it ourselves when it owes nothing.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use atomic_refcell::{AtomicRefCell, AtomicRefMut};
use bytes::{Bytes, BytesMut};
use host_manifest::MinRate;
use http::header::EXPECT;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::connection::{CUT_FLUSH, End, LOOKS, REACTOR_TURN, reached};
use super::h2_frames::{GOAWAY, frame};
use super::h2_streams::Given;
use super::h2_timer::FairTimer;
use super::h2_wire::{Traffic, Wire};
use super::out_rate::OutRate;
use super::registry::{Doing, Entry, Standing};
use super::request_body::{self, Pump};
use super::socket::{Socket, Unread};
use super::{Context, Hurry, Scarcity, Service};
use host_lifecycle::Phase;

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

/// A peer that sends nothing for so long has heard the answer, or will not send the rest of its request. Until
/// then its stream counts as one of [`MAX_STREAMS`].
const REST_PAUSE: Duration = Duration::from_secs(1);

/// After the first GOAWAY, a peer that answers no PING is closed when it owes nothing and this has
/// passed. Longer than any round trip that matters.
const GOAWAY_PATIENCE: Duration = Duration::from_secs(1);

/// Error codes (RFC 9113 §7): all is well, and send less.
const NO_ERROR: u32 = 0;
const ENHANCE_YOUR_CALM: u32 = 0xb;

type Connection<S> = http2::Connection<TokioIo<Wire>, Adapter<S>, Streams>;

/// What hyper's ends of a connection share with its driver.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: Arc<Socket>,
    scarcity: Arc<Scarcity>,
    /// Touched by the connection's task only, like that of HTTP/1.
    traffic: AtomicRefCell<Traffic>,
    /// Streams are tasks of their own: what they count is shared.
    active: AtomicUsize,
    served: AtomicU64,
    accepted: Instant,
    /// When the last stream ended, in milliseconds after `accepted`.
    ended: AtomicU64,
}

impl Link {
    pub(super) fn traffic(&self) -> AtomicRefMut<'_, Traffic> {
        self.traffic.borrow_mut()
    }

    /// An exchange begins; it is in flight until the guard drops.
    fn begin(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::AcqRel);
        self.served.fetch_add(1, Ordering::Relaxed);
        Active(self.clone())
    }

    /// Writes what is to be said beside hyper, as far as that may be said now. Gives whether something was.
    pub(super) fn poll_interim(&self, task: &mut Task<'_>) -> Poll<io::Result<bool>> {
        let mut any = false;
        loop {
            let bytes = {
                let Traffic { interim, streams, .. } = &mut *self.traffic();
                interim.next(streams)
            };
            if bytes.is_empty() {
                return Poll::Ready(Ok(any));
            }
            let written = ready!(self.poll_write(task, &[IoSlice::new(&bytes)]))?;
            self.traffic().interim.wrote(written);
            any = true;
        }
    }

    /// Writes what the kernel takes, and takes note of it.
    pub(super) fn poll_write(
        &self,
        task: &mut Task<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let held_up = || self.traffic().held_up();
        let written = ready!(self.socket.poll_write(task, slices, held_up))?;
        self.traffic().sent(slices, written);
        Poll::Ready(Ok(written))
    }

    fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// Whether bytes are owed to the peer: an unfinished exchange, or an answer not yet written.
    fn owes(&self) -> bool {
        let traffic = self.traffic();
        self.active() > 0 || traffic.output.is_blocked() || traffic.streams.open() > 0
    }

    fn idle_since(&self) -> Instant {
        let ended = Duration::from_millis(self.ended.load(Ordering::Relaxed));
        self.traffic().delivered.max(self.accepted + ended)
    }

    fn standing(&self) -> Standing {
        let (active, traffic) = (self.active(), self.traffic());
        // An answer that is handed over whole, and for which the peer gives no window.
        let held_up = active == 0 && traffic.streams.open() > 0;
        let doing = if traffic.output.is_blocked() || held_up {
            Doing::Writing
        } else if active > 0 {
            Doing::Serving
        } else {
            Doing::Idle
        };
        let served = self.served.load(Ordering::Relaxed);
        Standing { doing, moved: traffic.moved, served, in_flight: active }
    }
}

/// An exchange in flight on a connection. Dropping it ends the exchange.
#[derive(Debug)]
#[must_use = "the exchange ends when this drops"]
struct Active(Arc<Link>);

impl Drop for Active {
    fn drop(&mut self) {
        let link = &self.0;
        if link.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            let ended = Instant::now().saturating_duration_since(link.accepted).as_millis();
            link.ended.store(u64::try_from(ended).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

/// Serves HTTP/2 on a socket that was accepted at `accepted` and has sent `ahead` already, the preface at
/// least.
pub(super) async fn serve<S: Service>(
    socket: &Arc<Socket>,
    entry: &Entry,
    (accepted, ahead): (Instant, BytesMut),
    context: &Context,
    service: &S,
) -> End {
    let limits = &context.limits;
    let link = Arc::new(Link {
        socket: socket.clone(),
        scarcity: context.scarcity.clone(),
        traffic: AtomicRefCell::new(Traffic::new(limits, accepted, ahead)),
        active: AtomicUsize::new(0),
        served: AtomicU64::new(0),
        accepted,
        ended: AtomicU64::new(0),
    });
    let newest = Newest::default();
    let (stall, min_rate) = (limits.stall, limits.min_rate);
    let streams = Streams { newest: newest.clone(), link: link.clone(), stall, min_rate };
    let wire = TokioIo::new(Wire::new(link.clone()));
    let (ask, asked) = mpsc::channel(MAX_STREAMS as usize);
    let adapter = Adapter { inner: service.clone(), link: link.clone(), newest, ask };
    let list_size = u32::try_from(limits.header_size).unwrap_or(u32::MAX);
    let mut connection = pin!(
        http2::Builder::new(streams)
            .timer(FairTimer)
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
    Driver {
        link: &link,
        entry,
        context,
        asked,
        hurry: Hurry::default(),
        is_hurried: false,
        told: None,
        cut: None,
        looks: (accepted, 0),
    }
    .drive(connection.as_mut())
    .await
}

struct Driver<'a> {
    link: &'a Link,
    entry: &'a Entry,
    context: &'a Context,
    /// Streams whose peer waits until it is asked for a body that is wanted now.
    asked: mpsc::Receiver<u32>,
    hurry: Hurry,
    /// Others wait for what the peer holds up by taking nothing.
    is_hurried: bool,
    /// When GOAWAY was sent.
    told: Option<Instant>,
    /// When the stop has cut.
    cut: Option<Instant>,
    /// Looks into the kernel, since bytes went at that moment, that have found something of which the
    /// reactor had not told.
    looks: (Instant, u32),
}

/// What is due when a deadline has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    LookAgain,
    Drop,
    Tell,
    Leave,
}

impl Driver<'_> {
    async fn drive<S: Service>(mut self, mut connection: Pin<&mut Connection<S>>) -> End {
        let mut draining = Some(Box::pin(self.context.phase.reached(Phase::Draining)));
        let mut cut = Some(Box::pin(self.context.phase.reached(Phase::Cut)));
        let mut room = Some(Box::pin(self.entry.room_is_wanted()));
        let mut timer = pin!(sleep_until(Instant::now() + self.context.limits.head));
        std::future::poll_fn(|task| {
            self.link.traffic().now = Instant::now();
            if let Poll::Ready(result) = connection.as_mut().poll(task) {
                return Poll::Ready(self.ended(&result));
            }
            self.ask_for_bodies(task);
            if self.link.traffic().streams.is_flooded() {
                self.goodbye(ENHANCE_YOUR_CALM);
                return Poll::Ready(End::Flooded);
            }
            if reached(&mut draining, task) {
                self.tell(connection.as_mut(), task);
            }
            while reached(&mut room, task) {
                room = Some(Box::pin(self.entry.room_is_wanted()));
                match self.link.owes() {
                    true => self.entry.declines(),
                    false => self.tell(connection.as_mut(), task),
                }
            }
            if reached(&mut cut, task) {
                self.cut = Some(Instant::now());
            }
            let held_up = self.link.active() > 0 && self.link.traffic().output.is_blocked();
            self.is_hurried = self.hurry.poll(&self.link.scarcity, held_up, task);
            let left = self.decide(connection.as_mut(), task, timer.as_mut());
            self.entry.publish(self.link.standing());
            left
        })
        .await
    }

    /// Sends `100 Continue` to who waits for it. If the connection breaks, hyper sees it.
    fn ask_for_bodies(&mut self, task: &mut Task<'_>) {
        while let Poll::Ready(Some(stream)) = self.asked.poll_recv(task) {
            self.link.traffic().interim.ask(stream);
        }
        if let Poll::Ready(Ok(true)) = self.link.poll_interim(task) {
            // Only hyper knows whether all that it had to write is taken.
            task.waker().wake_by_ref();
        }
    }

    /// Sends GOAWAY, once.
    fn tell<S: Service>(&mut self, connection: Pin<&mut Connection<S>>, task: &Task<'_>) {
        if self.told.is_none() {
            self.told = Some(Instant::now());
            connection.graceful_shutdown();
            task.waker().wake_by_ref();
        }
    }

    /// Says beside hyper that this is the end and which stream was the last, if that can be said between two
    /// frames.
    fn goodbye(&self, code: u32) {
        let traffic = self.link.traffic();
        if traffic.streams.is_between_frames() && !traffic.output.is_blocked() {
            let last = traffic.streams.newest().to_be_bytes();
            let goaway = frame(GOAWAY, 0, 0, &[last, code.to_be_bytes()].concat());
            // It is on its way out; what the kernel does not take now it would not read.
            let sent = self.link.socket.try_write(&goaway);
            drop(sent);
        }
    }

    /// Leaves a connection on which nothing is in flight, once the last frames are written: a
    /// stream may have ended between hyper's turn and ours, so hyper has another one.
    ///
    /// hyper says which stream was the last one when its PING is answered. A peer that has not answered it
    /// has to know too: what it sends from now on is not served, and may be sent again.
    fn leave<S: Service>(
        &self,
        connection: Pin<&mut Connection<S>>,
        task: &mut Task<'_>,
    ) -> Poll<End> {
        if let Poll::Ready(result) = connection.poll(task) {
            return Poll::Ready(self.ended(&result));
        }
        if self.link.owes() {
            return Poll::Pending;
        }
        let last_is_said = self.link.traffic().streams.last_is_said();
        if !last_is_said {
            self.goodbye(NO_ERROR);
        }
        Poll::Ready(End::Finished)
    }

    /// What is due next, and when. A connection that owes something has the deadlines of its exchanges,
    /// and that of a peer that takes no bytes.
    fn due(&self) -> (Instant, Due) {
        let limits = &self.context.limits;
        let owes = self.link.owes();
        if let Some(cut) = self.cut {
            return if owes { (cut + CUT_FLUSH, Due::Drop) } else { (cut, Due::Leave) };
        }
        let idle_since = self.link.idle_since();
        let mut traffic = self.link.traffic();
        let now = traffic.now;
        if let Some(until) = traffic.output.deadline(self.is_hurried) {
            return (until, Due::Drop);
        }
        if self.link.active() > 0 {
            return (now + limits.keep_alive, Due::LookAgain);
        }
        // Other exchanges may begin meanwhile: so the peer is told before it is left.
        let leave = |until: Instant, leave: Due| match self.told {
            Some(told) => (until.max(told + GOAWAY_PATIENCE), leave),
            None => (until, Due::Tell),
        };
        let rate = || OutRate::new(limits.stall, limits.min_rate);
        if let Some(until) = traffic.streams.late(now, rate) {
            // All is handed over, and the peer gives no window for the rest.
            return leave(until, Due::Drop);
        }
        if let Some(since) = traffic.half_head {
            return leave(since + limits.head, Due::Leave);
        }
        if let Some(told) = self.told {
            return (told + GOAWAY_PATIENCE, Due::Leave);
        }
        let is_fresh = self.link.served.load(Ordering::Relaxed) == 0;
        let patience = if is_fresh { limits.head } else { limits.keep_alive };
        // GOAWAY first, so that a request crossing it is safe to send again.
        (idle_since + patience, Due::Tell)
    }

    fn decide<S: Service>(
        &mut self,
        mut connection: Pin<&mut Connection<S>>,
        task: &mut Task<'_>,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<End> {
        loop {
            let (until, due) = self.due();
            if until < timer.deadline() {
                timer.as_mut().reset(until);
            }
            if timer.as_mut().poll(task).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if until > now {
                timer.as_mut().reset(until);
                continue;
            }
            match due {
                Due::LookAgain => self.link.traffic().now = now,
                Due::Drop if self.cut.is_none() && self.kernel_is_ahead() => {
                    timer.as_mut().reset(now + REACTOR_TURN);
                    return timer.poll(task).map(|()| End::Dropped);
                }
                Due::Drop => return Poll::Ready(End::Dropped),
                Due::Leave if self.cut.is_none() && self.request_waits() => {
                    timer.as_mut().reset(now + REACTOR_TURN);
                    return timer.poll(task).map(|()| End::Finished);
                }
                Due::Leave => {
                    if let Poll::Ready(end) = self.leave(connection.as_mut(), task) {
                        return Poll::Ready(end);
                    }
                    // A stream has begun meanwhile: it has another deadline.
                    timer.as_mut().reset(self.due().0);
                }
                Due::Tell => {
                    self.tell(connection.as_mut(), task);
                    timer.as_mut().reset(self.due().0);
                }
            }
        }
    }

    /// Whether the kernel takes bytes, or has some, of which the reactor has not told yet and may still do so.
    fn kernel_is_ahead(&mut self) -> bool {
        self.may_look()
            && (self.link.socket.takes_bytes() && self.link.traffic().output.is_blocked()
                || self.link.socket.unread() == Unread::Bytes)
    }

    /// The same, of bytes that may be a request.
    fn request_waits(&mut self) -> bool {
        self.may_look() && self.link.socket.unread() == Unread::Bytes
    }

    /// Whether it makes sense to look into the kernel once more, before bytes go either way.
    fn may_look(&mut self) -> bool {
        let moved = self.link.traffic().moved;
        let (since, looks) = &mut self.looks;
        if *since != moved {
            (*since, *looks) = (moved, 0);
        }
        *looks += 1;
        *looks <= LOOKS
    }

    fn ended(&self, result: &Result<(), hyper::Error>) -> End {
        match result {
            Ok(()) => End::Finished,
            Err(_) if self.link.owes() => End::Gone,
            // A protocol error was answered with GOAWAY; its bytes must not be erased by a reset.
            Err(_) => End::Finished,
        }
    }
}

/// Stands between hyper and the service: counts exchanges.
struct Adapter<S> {
    inner: S,
    link: Arc<Link>,
    newest: Newest,
    ask: mpsc::Sender<u32>,
}

impl<S: Service> hyper::service::Service<Request<Incoming>> for Adapter<S> {
    type Response = Response<Watched<S::Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let given = Arc::new(Given::default());
        let expects = request.headers().contains_key(EXPECT);
        let (parts, body) = request.into_parts();
        let active = self.link.begin();
        let mut traffic = self.link.traffic();
        let (body, upload) = request_body::split(body, expects, Some(&traffic.holds_back));
        let stream = traffic.streams.call(&given);
        drop(traffic);
        let ask = stream.filter(|_| expects).map(|stream| (self.ask.clone(), stream));
        self.newest.put(Mark { given: given.clone(), upload, ask, _active: active });
        let answer = self.inner.call(Request::from_parts(parts, body));
        Box::pin(async move {
            let response = answer.await;
            // hyper asks for a body only once the peer has given a window.
            given.taken.store(response.body().is_end_stream(), Ordering::Release);
            Ok(response.map(|body| Watched { body, rest: Bytes::new(), given }))
        })
    }
}

/// What is known of a stream beside hyper's future of it.
struct Mark {
    given: Arc<Given>,
    /// The body of its request: ends with the stream.
    upload: Option<Pump>,
    /// Whom to tell that the body is wanted, which its peer holds back until then.
    ask: Option<(mpsc::Sender<u32>, u32)>,
    /// In flight until hyper's future has handed over the end of the stream.
    _active: Active,
}

impl Mark {
    /// Passes on what has come of the request's body.
    fn pump(&mut self, task: &mut Task<'_>) {
        // What nobody wants is read once the stream is answered.
        let Some(pump) = self.upload.as_mut().filter(|pump| !pump.is_abandoned()) else { return };
        let is_over = pump.poll(task).is_ready();
        if pump.is_asked_for()
            && let Some((ask, stream)) = self.ask.take()
        {
            // There is a place for each stream. A peer that is not asked has a patience of its own.
            ask.try_send(stream).ok();
        }
        if is_over {
            self.upload = None;
        }
    }
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
        given: Arc<Given>,
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
            this.given.taken.store(true, Ordering::Release);
            let frame = ready!(this.body.poll_frame(task));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => *this.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(why)) => return Poll::Ready(Some(Err(why))),
                None => return Poll::Ready(None),
            }
        }
        let slice = this.rest.split_to(this.rest.len().min(SLICE));
        this.given.bytes.fetch_add(slice.len() as u64, Ordering::AcqRel);
        this.given.taken.store(false, Ordering::Release);
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

impl Given {
    /// Bytes that the peer has let go. Where it is not known which stream this is, that of slices that are
    /// gone for certain.
    fn gone(&self) -> u64 {
        let slices = self.bytes.load(Ordering::Acquire).saturating_sub(SLICE as u64);
        slices.max(self.written.load(Ordering::Acquire))
    }
}

/// Runs the streams of one connection, each as a task, and gives up one whose peer takes nothing, or less
/// than the least rate. A stream's task ends with its connection: hyper's future sees the connection go.
#[derive(Clone)]
struct Streams {
    newest: Newest,
    link: Arc<Link>,
    stall: Duration,
    min_rate: Option<MinRate>,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let stream = Stream {
            stream,
            mark: self.newest.take(),
            rate: OutRate::new(self.stall, self.min_rate),
            hurry: Hurry::default(),
            counted: 0,
            looks: 0,
            link: self.link.clone(),
            stalled: None,
        };
        let patience = self.stall;
        // Owned by the connection: it ends when the connection's future has ended.
        tokio::spawn(async move {
            if let Some(rest) = stream.await {
                read_rest(rest, patience).await;
            }
        });
    }
}

/// Reads what is still to come of a request that is answered, for a while. Then the stream is reset, which is
/// no error (RFC 9113 §8.1), but for which clients throw the answer away while they are sending: curl 7.88.
async fn read_rest(rest: Pump, patience: Duration) {
    timeout(patience, rest.read_away(REST_PAUSE)).await.ok();
}

pin_project_lite::pin_project! {
    /// One stream. Completes with what is still to come of its request; without hyper's future having done so,
    /// dropping that resets the stream.
    struct Stream<F> {
        #[pin]
        stream: F,
        mark: Option<Mark>,
        rate: OutRate,
        hurry: Hurry,
        // Bytes that the rate has seen.
        counted: u64,
        looks: u32,
        link: Arc<Link>,
        stalled: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = Option<Pump>;

    fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Pump>> {
        let this = self.project();
        if let Some(mark) = this.mark {
            mark.pump(task);
        }
        if this.stream.poll(task).is_ready() {
            return Poll::Ready(this.mark.take().and_then(|mark| mark.upload));
        }
        let Some(given) = this.mark.as_ref().map(|mark| &mark.given) else { return Poll::Pending };
        if given.taken.load(Ordering::Acquire) {
            this.rate.flushed();
            *this.hurry = Hurry::default();
            *this.stalled = None;
            return Poll::Pending;
        }
        let (now, gone) = (Instant::now(), given.gone());
        this.rate.blocked(now);
        let fresh = gone.saturating_sub(*this.counted);
        if fresh > 0 {
            this.rate.wrote(now, usize::try_from(fresh).unwrap_or(usize::MAX));
            (*this.counted, *this.looks) = (gone, 0);
        }
        let hurry = this.hurry.poll(&this.link.scarcity, true, task);
        let Some(mut until) = this.rate.deadline(hurry) else { return Poll::Pending };
        if until <= now && *this.looks <= LOOKS {
            // What lets it go on may lie in the kernel: the connection reads it in the reactor's next turn,
            // and wakes this stream in the one after it.
            let is_first = *this.looks == 0;
            *this.looks += 1;
            if is_first || this.link.socket.unread() == Unread::Bytes {
                until = now + REACTOR_TURN;
            }
        }
        let stalled = this.stalled.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if stalled.deadline() != until {
            stalled.as_mut().reset(until);
        }
        stalled.as_mut().poll(task).map(|()| None)
    }
}
