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
        if self.traffic().waits_for_driver() {
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixStream;

    use super::super::frames::{END_HEADERS, END_STREAM, HEADERS, RST_STREAM, frame};
    use super::*;
    use crate::context::PeerLimits;
    use crate::counts::NetCounts;
    use crate::socket::Socket;

    /// A peer that was always a request ahead of hyper was told to leave only when hyper paused: after 540 requests that
    /// it took back, where 500 are enough.
    #[tokio::test]
    async fn nothing_is_read_of_a_peer_that_is_to_be_told_until_it_is_told() {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let taken_back = |number: u32| {
            let stream = 2 * number + 1;
            let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, b"abc");
            [head, frame(RST_STREAM, 0, stream, &[0; 4])].concat()
        };
        peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        peer.write_all(&(0..2000).flat_map(taken_back).collect::<Vec<_>>()).await.unwrap();
        let limits = PeerLimits::TEST;
        let traffic = Traffic::new((&limits, NetCounts::default()), Instant::now(), <_>::default());
        let stream = Arc::new(ByteStream::Plain(Socket::Unix(ours)));
        let shared = H2Shared::new(stream, Scarcity::new(), Instant::now(), traffic);
        let read_on = async || {
            let mut read = 0;
            let whole = std::future::poll_fn(|task| {
                let mut bytes = [0; 64];
                let mut buffer = ReadBuf::new(&mut bytes);
                match shared.poll_read(task, &mut buffer) {
                    Poll::Pending if shared.traffic().waits_for_driver() => Poll::Ready(read),
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(result) => {
                        result.unwrap();
                        read += buffer.filled().len();
                        task.waker().wake_by_ref();
                        Poll::Pending
                    }
                }
            });
            whole.await / taken_back(0).len()
        };
        let told_at = read_on().await;
        assert!((500..510).contains(&told_at), "{told_at}");
        assert!(!shared.traffic().streams.is_flooded());
        shared.traffic().told = Some(Instant::now());
        let ended_at = told_at + read_on().await;
        assert!((1000..1010).contains(&ended_at), "{ended_at}");
        assert_eq!(read_on().await, 0, "the driver ends it");
    }
}
