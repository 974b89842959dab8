//! What hyper's ends of an HTTP/2 connection share with its driver.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use atomic_refcell::{AtomicRefCell, AtomicRefMut};
use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::traffic::Traffic;
use crate::registry::{Activity, Standing};
use crate::scarcity::Scarcity;
use crate::stream::ByteStream;
use crate::wire::Transport;

/// What hyper's ends of a connection share with its driver.
#[derive(Debug)]
pub(super) struct H2Shared {
    pub(super) stream: Arc<ByteStream>,
    pub(super) scarcity: Arc<Scarcity>,
    /// Touched by the connection's task only, like that of HTTP/1.
    traffic: AtomicRefCell<Traffic>,
    /// Streams are tasks of their own: what they count is shared.
    active: AtomicUsize,
    served: AtomicU64,
    accepted: Instant,
    /// When the last stream ended, in milliseconds after `accepted`.
    ended: AtomicU64,
}

impl H2Shared {
    pub(super) fn new(
        stream: Arc<ByteStream>,
        scarcity: Arc<Scarcity>,
        accepted: Instant,
        traffic: Traffic,
    ) -> Arc<Self> {
        Arc::new(Self {
            stream,
            scarcity,
            traffic: AtomicRefCell::new(traffic),
            active: AtomicUsize::new(0),
            served: AtomicU64::new(0),
            accepted,
            ended: AtomicU64::new(0),
        })
    }

    #[inline]
    pub(super) fn traffic(&self) -> AtomicRefMut<'_, Traffic> {
        self.traffic.borrow_mut()
    }

    /// An exchange begins; it is in flight until the guard drops.
    pub(super) fn begin(self: &Arc<Self>) -> ActiveExchange {
        self.active.fetch_add(1, Ordering::AcqRel);
        self.served.fetch_add(1, Ordering::Relaxed);
        ActiveExchange(self.clone())
    }

    /// Writes what is to be said beside hyper, as far as that may be said now. Gives whether something was.
    pub(super) fn poll_interim(&self, task: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut any = false;
        loop {
            let bytes = {
                let Traffic { interim, streams, .. } = &mut *self.traffic();
                interim.next(streams)
            };
            if bytes.is_empty() {
                return Poll::Ready(Ok(any));
            }
            let written = ready!(self.poll_write_now(task, &[IoSlice::new(&bytes)]))?;
            self.traffic().interim.wrote(written);
            any = true;
        }
    }

    /// Writes what the kernel takes, and takes note of it.
    fn poll_write_now(
        &self,
        task: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tell = |sending| self.traffic().sending(sending);
        let written = ready!(self.stream.poll_write(task, slices, tell))?;
        self.traffic().sent(slices, written);
        Poll::Ready(Ok(written))
    }

    #[inline]
    pub(super) fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// Whether an exchange has begun.
    pub(super) fn has_served(&self) -> bool {
        self.served.load(Ordering::Relaxed) > 0
    }

    /// Whether bytes are owed to the peer: an unfinished exchange, or an answer not yet written.
    pub(super) fn owes(&self) -> bool {
        let traffic = self.traffic();
        self.active() > 0 || traffic.output.is_blocked() || traffic.streams.open() > 0
    }

    pub(super) fn idle_since(&self) -> Instant {
        let ended = Duration::from_millis(self.ended.load(Ordering::Relaxed));
        self.traffic().delivered.max(self.accepted + ended)
    }

    pub(super) fn standing(&self) -> Standing {
        let (active, traffic) = (self.active(), self.traffic());
        // An answer that is handed over whole, and for which the peer gives no window.
        let held_up = active == 0 && traffic.streams.open() > 0;
        let doing = if traffic.output.is_blocked() || held_up {
            Activity::Writing
        } else if active > 0 {
            Activity::Serving
        } else {
            Activity::Idle
        };
        let served = self.served.load(Ordering::Relaxed);
        Standing { doing, moved: traffic.moved, served, in_flight: active }
    }
}

/// An exchange in flight on a connection. Dropping it ends the exchange.
#[derive(Debug)]
#[must_use = "the exchange ends when this drops"]
pub(super) struct ActiveExchange(Arc<H2Shared>);

impl Drop for ActiveExchange {
    fn drop(&mut self) {
        let link = &self.0;
        if link.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            let ended = Instant::now().saturating_duration_since(link.accepted).as_millis();
            link.ended.store(u64::try_from(ended).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

/// HTTP/2's byte stream. What goes through is followed, to know which streams are open.
impl Transport for H2Shared {
    fn poll_read(&self, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.traffic().take_ahead(buffer) {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = self.stream.poll_read(task, buffer);
        if self.stream.is_tls() {
            self.traffic().set_half_record(self.stream.has_half_record());
        }
        ready!(read)?;
        self.traffic().received(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &self,
        task: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(task))?;
        self.poll_write_now(task, slices)
    }

    fn poll_flush(&self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream.poll_flush(task, |sending| self.traffic().sending(sending)))?;
        let traffic = &mut *self.traffic();
        if traffic.output.flushed() {
            traffic.delivered = traffic.now;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_finish(task, |sending| self.traffic().sending(sending))
    }
}
