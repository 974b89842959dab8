//! Drives hyper's connection, and does what its state decides.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep, sleep_until};

use super::connection_state::{Decision, Side};
use super::exchange::Adapter;
use super::shared::H1Shared;
use crate::connection_end::ConnectionEnd;
use crate::context::ConnectionContext;
use crate::process_events::{ProcessEvent, ProcessEvents};
use crate::registry::ConnectionEntry;
use crate::scarcity::Hurry;
use crate::service::Service;
use crate::socket::Unread;
use crate::timer::poll_until;
use crate::wire::Wire;

type Connection<S> = http1::Connection<TokioIo<Wire<H1Shared>>, Adapter<S>>;

/// Turns of hyper in one turn of the connection's task, before others get theirs.
const TURNS_IN_A_ROW: usize = 16;

/// Drives one connection from its first request to its end.
pub(super) struct Driver<'a> {
    pub(super) shared: &'a H1Shared,
    pub(super) entry: &'a ConnectionEntry,
    pub(super) context: &'a ConnectionContext,
}

/// What hyper has told the peer of a head that it did not take.
fn status_of(why: &hyper::Error) -> StatusCode {
    match why.is_parse_too_large() {
        // Two kinds of error, which only their text tells apart.
        true if why.to_string().contains("URI") => StatusCode::URI_TOO_LONG,
        true => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        false => StatusCode::BAD_REQUEST,
    }
}

impl Driver<'_> {
    /// Polls hyper until the connection ends or the state says that it is to.
    pub(super) async fn drive<S: Service>(&self, connection: &mut Connection<S>) -> ConnectionEnd {
        let mut events = ProcessEvents::new(&self.context.phase, self.entry);
        let mut hurry = Hurry::default();
        let mut broken = pin!(self.shared.stream.broken());
        let mut timer = pin!(sleep_until(Instant::now() + self.context.limits.head));
        std::future::poll_fn(|task| {
            {
                let mut state = self.shared.state();
                state.tick(Instant::now());
                state.set_goes_over(self.shared.goes_over());
            }
            while let Some(event) = events.poll_next(task) {
                let mut state = self.shared.state();
                match event {
                    ProcessEvent::Draining => state.drain(),
                    ProcessEvent::Cut => state.cut(),
                    ProcessEvent::RoomWanted if state.make_room() => {}
                    ProcessEvent::RoomWanted => self.entry.declines(),
                    // Looked at in each turn.
                    ProcessEvent::GoesOver => {}
                }
            }
            if let Poll::Ready(end) = self.turn(connection, task) {
                return Poll::Ready(end);
            }
            let held_up = self.shared.state().is_held_up();
            let hurry = hurry.poll(&self.context.scarcity, held_up, task);
            self.shared.state().set_hurry(hurry);
            let in_flight = self.shared.state().in_flight();
            if in_flight && broken.as_mut().poll(task).is_ready() {
                return Poll::Ready(ConnectionEnd::Gone);
            }
            let decided = self.decide(task, timer.as_mut());
            self.entry.publish(self.shared.state().standing());
            decided
        })
        .await
    }

    /// Gives hyper its turn, and another one while there is something for it that it was refused.
    fn turn<S: Service>(
        &self,
        connection: &mut Connection<S>,
        task: &mut Context<'_>,
    ) -> Poll<ConnectionEnd> {
        for _ in 0..TURNS_IN_A_ROW {
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(task) {
                return Poll::Ready(self.ended(result));
            }
            self.shared.pump(task);
            if !self.shared.state().is_due_again() {
                return Poll::Pending;
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what the state says, until that is to wait.
    fn decide(&self, task: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<ConnectionEnd> {
        loop {
            let decision = self.shared.state().decide();
            match decision {
                Decision::Leave(end) => return Poll::Ready(end),
                Decision::Look(side) => {
                    let something = match side {
                        Side::Input => self.finds_input(),
                        Side::Output => self.shared.stream.takes_bytes(),
                    };
                    self.shared.state().looked(something);
                }
                Decision::Wait(until) => {
                    let now = ready!(poll_until(timer.as_mut(), until, task));
                    self.shared.state().tick(now);
                }
            }
        }
    }

    /// Looks for bytes of the peer. A part of a record may have come of which hyper is not told.
    fn finds_input(&self) -> bool {
        let unread = self.shared.stream.unread();
        self.shared.state().set_half_record(unread == Unread::Part);
        unread == Unread::Bytes
    }

    fn ended(&self, result: Result<(), hyper::Error>) -> ConnectionEnd {
        let state = self.shared.state();
        match result {
            Err(why) if why.is_parse() => ConnectionEnd::AnsweredByHyper(status_of(&why)),
            Err(why) if !state.is_broken() && !why.is_user() => ConnectionEnd::Gone,
            Ok(()) if !state.is_broken() => ConnectionEnd::Finished,
            Ok(()) | Err(_) => {
                if state.breaks_by_reset() {
                    self.shared.stream.reset_on_close();
                }
                ConnectionEnd::Broken
            }
        }
    }
}
