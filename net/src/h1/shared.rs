//! What hyper's ends of an HTTP/1 connection share with its driver.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use atomic_refcell::{AtomicRefCell, AtomicRefMut};
use bytes::BufMut as _;
use host_lifecycle::PhaseWatch;
use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::connection_state::ConnectionState;
use super::request_reader::{Due, Framing};
use crate::context::ConnectionContext;
use crate::handing::Handing;
use crate::request_body::Pump;
use crate::room::Room;
use crate::stream::ByteStream;
use crate::wire::Transport;

/// What hyper's ends of a connection, which are the wire, the service and the bodies of answers, share with
/// its driver. All of them are polled and dropped by the connection's task, one after the other, and none
/// keeps what it borrows: so no borrow ever meets another, and nothing is locked.
#[derive(Debug)]
pub(super) struct H1Shared {
    pub(super) stream: Arc<ByteStream>,
    pub(super) phase: PhaseWatch,
    pub(super) room: Arc<Room>,
    handing: Handing,
    state: AtomicRefCell<ConnectionState>,
    /// The body of the request that is being read.
    upload: AtomicRefCell<Option<Pump>>,
}

impl H1Shared {
    pub(super) fn new(
        stream: Arc<ByteStream>,
        context: &ConnectionContext,
        state: ConnectionState,
    ) -> Arc<Self> {
        let (state, upload) = (AtomicRefCell::new(state), AtomicRefCell::new(None));
        let (phase, room) = (context.phase.clone(), context.room.clone());
        Arc::new(Self { stream, phase, room, handing: context.handing.clone(), state, upload })
    }

    #[inline]
    pub(super) fn state(&self) -> AtomicRefMut<'_, ConnectionState> {
        self.state.borrow_mut()
    }

    /// Whether another process goes on with this connection once it is idle.
    #[inline]
    pub(super) fn goes_over(&self) -> bool {
        self.handing.is_on() && !self.stream.is_tls()
    }

    /// hyper has read a head: an exchange begins, as [`ConnectionState::request`] says. Gives the moment.
    pub(super) fn request(&self, framing: Framing, is_last: bool) -> Instant {
        let mut state = self.state();
        if state.has_served_in_turn() {
            // The turn began before the guest of another request computed in it.
            state.tick(Instant::now());
        }
        state.request(framing, is_last)
    }

    /// A request begins that has this body, or none.
    pub(super) fn set_upload(&self, upload: Option<Pump>) {
        *self.upload.borrow_mut() = upload;
    }

    /// Lets go of a body that the service has dropped, unless all of it is here. hyper closes then.
    pub(super) fn drop_abandoned(&self) -> bool {
        let mut upload = self.upload.borrow_mut();
        let abandoned =
            upload.as_ref().is_some_and(Pump::is_abandoned) && !self.state().request_is_complete();
        if abandoned {
            *upload = None;
        }
        abandoned
    }

    /// Whether the peer waits for nothing of ours before it sends its body (RFC 9110 §10.1.1).
    #[inline]
    pub(super) fn is_asked_for(&self) -> bool {
        self.upload.borrow().as_ref().is_none_or(Pump::is_asked_for)
    }

    /// Passes on what has come of a request's body.
    #[inline]
    pub(super) fn pump(&self, task: &mut Context<'_>) {
        let mut upload = self.upload.borrow_mut();
        if upload.as_mut().is_some_and(|pump| pump.poll(task).is_ready()) {
            *upload = None;
        }
    }

    /// The exchange is over. What is still to come of its request is read and thrown away.
    pub(super) fn answered(&self) {
        self.drop_abandoned();
        let mut upload = self.upload.borrow_mut();
        // Behind the last answer nothing more is read, nor what the peer was never asked for.
        let is_last = self.state().is_last();
        let rest = upload.take().filter(|rest| !is_last && rest.is_asked_for());
        *upload = rest.map(Pump::discarding);
        self.state().answered();
    }
}

/// HTTP/1's byte stream: what the state says is due, and no more.
impl Transport for H1Shared {
    fn poll_read(&self, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let most = match self.state().due(buffer.remaining()) {
                // The driver polls hyper again when something is.
                Due::Nothing => return Poll::Pending,
                Due::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                Due::UpTo(most) => most,
            };
            let ahead = self.state().take_ahead(most);
            if !ahead.is_empty() {
                buffer.put_slice(&ahead);
                return Poll::Ready(Ok(()));
            }
            if self.state().has_ahead() {
                // Malformed from its first byte.
                continue;
            }
            let before = buffer.filled().len();
            let read = self.stream.poll_read(task, &mut (&mut *buffer).limit(most));
            if self.stream.is_tls() {
                self.state().set_half_record(self.stream.has_half_record());
            }
            ready!(read)?;
            let fresh = &buffer.filled()[before..];
            if fresh.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let given = self.state().receive(fresh);
            buffer.set_filled(before + given);
            // Nothing at all would tell hyper of the end.
            if given > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_write(
        &self,
        task: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write(task, slices, |sending| self.state().sending(sending))
    }

    fn poll_flush(&self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream.poll_flush(task, |sending| self.state().sending(sending)))?;
        self.state().flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_finish(task, |sending| self.state().sending(sending))
    }
}
