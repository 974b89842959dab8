//! Drives hyper's connection, and owns the deadlines that hyper has not.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use hyper::server::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};

use super::exchange::Adapter;
use super::frames::{GOAWAY, frame};
use super::shared::H2Shared;
use super::stream_task::StreamExecutor;
use crate::connection_end::{CUT_FLUSH, ConnectionEnd};
use crate::context::ConnectionContext;
use crate::out_rate::OutRate;
use crate::process_events::{ProcessEvent, ProcessEvents};
use crate::registry::ConnectionEntry;
use crate::scarcity::Hurry;
use crate::service::Service;
use crate::socket::{LOOKS, REACTOR_TURN, Unread};
use crate::timer::poll_until;
use crate::wire::Wire;

/// After the first GOAWAY, a peer that answers no PING is closed when it owes nothing and this has
/// passed. Longer than any round trip that matters.
const GOAWAY_PATIENCE: Duration = Duration::from_secs(1);

/// Error codes (RFC 9113 §7): all is well, and send less.
const NO_ERROR: u32 = 0;
const ENHANCE_YOUR_CALM: u32 = 0xb;

type Connection<S> = http2::Connection<TokioIo<Wire<H2Shared>>, Adapter<S>, StreamExecutor>;

/// Drives one connection from its first stream to its end.
pub(super) struct Driver<'a> {
    shared: &'a H2Shared,
    entry: &'a ConnectionEntry,
    context: &'a ConnectionContext,
    /// Streams whose peer waits until it is asked for a body that is wanted now.
    asked: mpsc::Receiver<u32>,
    hurry: Hurry,
    /// Others wait for what the peer holds up by taking nothing.
    is_hurried: bool,
    /// When the stop has cut.
    cut: Option<Instant>,
    /// Looks into the kernel, since bytes went at that moment, that have found something of which the
    /// reactor had not told.
    looks: (Instant, u32),
}

/// What is due when a deadline has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deadline {
    LookAgain,
    Drop,
    Tell,
    Leave,
}

impl<'a> Driver<'a> {
    /// `asked` gives streams whose peer waits until it is asked for a body.
    pub(super) fn new(
        shared: &'a H2Shared,
        entry: &'a ConnectionEntry,
        context: &'a ConnectionContext,
        asked: mpsc::Receiver<u32>,
    ) -> Self {
        Self {
            shared,
            entry,
            context,
            asked,
            hurry: Hurry::default(),
            is_hurried: false,
            cut: None,
            looks: (Instant::now(), 0),
        }
    }

    /// Polls hyper until the connection ends or a deadline ends it. `service` is told of requests that h2 has answered
    /// itself.
    pub(super) async fn drive<S: Service>(
        mut self,
        mut connection: Pin<&mut Connection<S>>,
        service: &S,
    ) -> ConnectionEnd {
        let mut events = ProcessEvents::new(&self.context.phase, self.entry);
        let mut timer = pin!(sleep_until(Instant::now() + self.context.limits.head));
        std::future::poll_fn(|task| {
            let left = self.turn(connection.as_mut(), &mut events, timer.as_mut(), task);
            self.tell_of_refusals(service);
            left
        })
        .await
    }

    /// Tells the service of requests that h2 has answered.
    fn tell_of_refusals(&self, service: &impl Service) {
        let answered = self.shared.traffic().streams.take_answered_by_h2();
        for _ in 0..answered {
            service.answered_by_hyper(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
    }

    fn turn<S: Service>(
        &mut self,
        mut connection: Pin<&mut Connection<S>>,
        events: &mut ProcessEvents<'_>,
        timer: Pin<&mut Sleep>,
        task: &mut Context<'_>,
    ) -> Poll<ConnectionEnd> {
        self.shared.traffic().now = Instant::now();
        if let Poll::Ready(result) = connection.as_mut().poll(task) {
            return Poll::Ready(self.ended(&result));
        }
        self.ask_for_bodies(task);
        if self.shared.traffic().streams.is_flooded() {
            self.goodbye(ENHANCE_YOUR_CALM);
            return Poll::Ready(ConnectionEnd::Flooded);
        }
        if self.had_better_leave() {
            self.tell(connection.as_mut(), task);
        }
        while let Some(event) = events.poll_next(task) {
            match event {
                ProcessEvent::RoomWanted if self.shared.owes() => self.entry.declines(),
                ProcessEvent::Draining | ProcessEvent::RoomWanted => {
                    self.tell(connection.as_mut(), task);
                }
                ProcessEvent::Cut => self.cut = Some(Instant::now()),
                // It ends by the lame duck: what both ends know of its headers cannot go over.
                ProcessEvent::GoesOver => {}
            }
        }
        let held_up = self.shared.active() > 0 && self.shared.traffic().output.is_blocked();
        self.is_hurried = self.hurry.poll(&self.shared.scarcity, held_up, task);
        let left = self.decide(connection, task, timer);
        self.entry.publish(self.shared.standing());
        left
    }

    /// Whether the peer is told to leave, which it can without a loss: it takes its requests back, or it has what it
    /// asked for and others want its place.
    fn had_better_leave(&self) -> bool {
        let is_done = || self.shared.has_served() && !self.shared.owes();
        let (told, takes_back) = {
            let traffic = self.shared.traffic();
            (traffic.told, traffic.streams.takes_requests_back())
        };
        told.is_none() && (takes_back || self.context.room.is_wanted() && is_done())
    }

    /// Sends `100 Continue` to who waits for it. If the connection breaks, hyper sees it.
    fn ask_for_bodies(&mut self, task: &mut Context<'_>) {
        while let Poll::Ready(Some(stream)) = self.asked.poll_recv(task) {
            self.shared.traffic().interim.ask(stream);
        }
        if let Poll::Ready(Ok(true)) = self.shared.poll_interim(task) {
            // Only hyper knows whether all that it had to write is taken.
            task.waker().wake_by_ref();
        }
    }

    /// Sends GOAWAY, once.
    fn tell<S: Service>(&self, connection: Pin<&mut Connection<S>>, task: &Context<'_>) {
        if self.shared.traffic().told.is_none() {
            self.shared.traffic().told = Some(Instant::now());
            connection.graceful_shutdown();
            task.waker().wake_by_ref();
        }
    }

    /// Says beside hyper that this is the end and which stream was the last, if that can be said between two
    /// frames.
    fn goodbye(&self, code: u32) {
        let traffic = self.shared.traffic();
        if traffic.streams.is_between_frames() && !traffic.output.is_blocked() {
            let last = traffic.streams.newest().to_be_bytes();
            let goaway = frame(GOAWAY, 0, 0, &[last, code.to_be_bytes()].concat());
            // It is on its way out; what the kernel does not take now it would not read.
            if self.shared.stream.try_write(&goaway).is_ok() {
                self.context.counts.goaway(code);
            }
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
        task: &mut Context<'_>,
    ) -> Poll<ConnectionEnd> {
        if let Poll::Ready(result) = connection.poll(task) {
            return Poll::Ready(self.ended(&result));
        }
        if self.shared.owes() {
            return Poll::Pending;
        }
        let last_is_said = self.shared.traffic().streams.last_is_said();
        if !last_is_said {
            self.goodbye(NO_ERROR);
        }
        Poll::Ready(ConnectionEnd::Finished)
    }

    /// What is due next, and when. A connection that owes something has the deadlines of its exchanges,
    /// and that of a peer that takes no bytes.
    fn next_deadline(&self) -> (Instant, Deadline) {
        let limits = &self.context.limits;
        let owes = self.shared.owes();
        if let Some(cut) = self.cut {
            return if owes { (cut + CUT_FLUSH, Deadline::Drop) } else { (cut, Deadline::Leave) };
        }
        let idle_since = self.shared.idle_since();
        let mut traffic = self.shared.traffic();
        let (now, told) = (traffic.now, traffic.told);
        if let Some(until) = traffic.output.deadline(self.is_hurried) {
            return (until, Deadline::Drop);
        }
        if self.shared.active() > 0 {
            return (now + limits.keep_alive, Deadline::LookAgain);
        }
        // Other exchanges may begin meanwhile: so the peer is told before it is left.
        let leave = |until: Instant, leave: Deadline| match told {
            Some(told) => (until.max(told + GOAWAY_PATIENCE), leave),
            None => (until, Deadline::Tell),
        };
        let rate = || OutRate::new(limits.stall, limits.min_rate);
        if let Some(until) = traffic.streams.late(now, rate) {
            // All is handed over, and the peer gives no window for the rest.
            return leave(until, Deadline::Drop);
        }
        if let Some(since) = traffic.half_head.or(traffic.half_record) {
            return leave(since + limits.head, Deadline::Leave);
        }
        if let Some(told) = told {
            return (told + GOAWAY_PATIENCE, Deadline::Leave);
        }
        let is_fresh = !self.shared.has_served();
        let patience = if is_fresh { limits.head } else { limits.keep_alive };
        // GOAWAY first, so that a request crossing it is safe to send again.
        (idle_since + patience, Deadline::Tell)
    }

    fn decide<S: Service>(
        &mut self,
        mut connection: Pin<&mut Connection<S>>,
        task: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<ConnectionEnd> {
        loop {
            let (until, due) = self.next_deadline();
            let now = ready!(poll_until(timer.as_mut(), until, task));
            match due {
                Deadline::LookAgain => self.shared.traffic().now = now,
                Deadline::Drop if self.cut.is_none() && self.kernel_is_ahead() => {
                    timer.as_mut().reset(now + REACTOR_TURN);
                    return timer.poll(task).map(|()| ConnectionEnd::Dropped);
                }
                Deadline::Drop => return Poll::Ready(ConnectionEnd::Dropped),
                Deadline::Leave if self.cut.is_none() && self.request_waits() => {
                    timer.as_mut().reset(now + REACTOR_TURN);
                    return timer.poll(task).map(|()| ConnectionEnd::Finished);
                }
                Deadline::Leave => {
                    if let Poll::Ready(end) = self.leave(connection.as_mut(), task) {
                        return Poll::Ready(end);
                    }
                    // A stream has begun meanwhile: it has another deadline.
                    timer.as_mut().reset(self.next_deadline().0);
                }
                Deadline::Tell => {
                    self.tell(connection.as_mut(), task);
                    timer.as_mut().reset(self.next_deadline().0);
                }
            }
        }
    }

    /// Whether the kernel takes bytes, or has some, of which the reactor has not told yet and may still do so.
    fn kernel_is_ahead(&mut self) -> bool {
        self.may_look()
            && (self.shared.stream.takes_bytes() && self.shared.traffic().output.is_blocked()
                || self.finds_input())
    }

    /// The same, of bytes that may be a request.
    fn request_waits(&mut self) -> bool {
        self.may_look() && self.finds_input()
    }

    /// Looks for bytes of the peer. A part of a record may have come of which hyper is not told.
    fn finds_input(&self) -> bool {
        let unread = self.shared.stream.unread();
        let mut traffic = self.shared.traffic();
        let is_new = traffic.half_record.is_none();
        traffic.set_half_record(unread == Unread::Part);
        unread == Unread::Bytes || unread == Unread::Part && is_new
    }

    /// Whether it makes sense to look into the kernel once more, before bytes go either way.
    fn may_look(&mut self) -> bool {
        let moved = self.shared.traffic().moved;
        let (since, looks) = &mut self.looks;
        if *since != moved {
            (*since, *looks) = (moved, 0);
        }
        *looks += 1;
        *looks <= LOOKS
    }

    fn ended(&self, result: &Result<(), hyper::Error>) -> ConnectionEnd {
        match result {
            Ok(()) => ConnectionEnd::Finished,
            Err(_) if self.shared.owes() => ConnectionEnd::Gone,
            // A protocol error was answered with GOAWAY; its bytes must not be erased by a reset.
            Err(_) => ConnectionEnd::Finished,
        }
    }
}
