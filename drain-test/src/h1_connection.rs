//! A connection of HTTP/1, with each byte accounted for.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::{sleep, timeout};

use super::fate::LossKind;
use super::http1::{BodyDecoder, ResponseHead};
use super::round::Round;
use super::stream::{AnyStream, KernelHolds};

/// The most bytes of one read.
const READ: usize = 16 * 1024;
/// How long a server that has said `Connection: close` may take to close. Nothing is lost if it takes longer.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// An open connection.
#[derive(Debug)]
pub(crate) struct H1Connection {
    stream: AnyStream,
    /// What has come and was not read yet.
    buffer: Vec<u8>,
    /// Whether a look at it has found a reset, which is then told to nobody else.
    pub(crate) is_reset: bool,
    round: Arc<Round>,
}

/// What an idle connection looks like.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// As it should.
    Quiet,
    /// It has ended.
    Ended,
    /// Bytes have come that nobody asked for; this is how they begin.
    Bytes(String),
}

/// The bytes could not all be sent.
#[derive(Debug)]
pub(crate) struct NotSent {
    /// So many were.
    pub(crate) sent: usize,
    /// Whether a reset is why.
    pub(crate) is_reset: bool,
    pub(crate) why: String,
}

/// A whole response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Whether the connection ends with it.
    pub(crate) says_close: bool,
}

/// There is no whole response.
#[derive(Debug)]
pub(crate) struct NoAnswer {
    pub(crate) kind: LossKind,
    pub(crate) why: String,
}

impl NotSent {
    fn new(sent: usize, why: &str) -> Self {
        Self { sent, is_reset: false, why: why.to_owned() }
    }

    /// A write fails only on a connection that the peer has reset.
    fn reset(sent: usize, error: &io::Error) -> Self {
        Self { sent, is_reset: true, why: error.to_string() }
    }
}

impl NoAnswer {
    fn new(kind: LossKind, why: impl Into<String>) -> Self {
        Self { kind, why: why.into() }
    }
}

impl H1Connection {
    pub(crate) fn new(stream: AnyStream, round: Arc<Round>) -> Self {
        Self { stream, buffer: Vec::new(), is_reset: false, round }
    }

    fn patience(&self) -> Duration {
        self.round.course.plan.patience
    }

    /// The last look before a request is sent, or between two pieces of it.
    pub(crate) async fn glance(&mut self) -> Idle {
        if self.buffer.is_empty() {
            match self.stream.held() {
                KernelHolds::Nothing => return Idle::Quiet,
                KernelHolds::Reset => {
                    self.is_reset = true;
                    return Idle::Ended;
                }
                KernelHolds::Fin if matches!(self.stream, AnyStream::Plain(_)) => {
                    return Idle::Ended;
                }
                KernelHolds::Fin | KernelHolds::Bytes => {}
            }
            // Over TLS, what the kernel holds may be a ticket, which is no answer.
            match self.read_what_is_there().await {
                Ok(None) => return Idle::Quiet,
                Ok(Some(0)) | Err(_) => return Idle::Ended,
                Ok(Some(_)) => {}
            }
        }
        // RFC 9110, section 15.5.9: how some servers close an idle connection.
        if self.buffer.starts_with(b"HTTP/1.1 408") || self.buffer.starts_with(b"HTTP/1.0 408") {
            return Idle::Ended;
        }
        let begin: Vec<u8> = self.buffer.iter().take(60).copied().collect();
        Idle::Bytes(format!("bytes behind the response: {:?}", String::from_utf8_lossy(&begin)))
    }

    /// Sends all of them.
    ///
    /// # Errors
    /// With the number of those that the kernel, or the TLS session, has taken.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), NotSent> {
        let patience = self.patience();
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match timeout(patience, self.stream.write(rest)).await {
                Ok(Ok(0)) => return Err(NotSent::new(sent, "nothing is taken")),
                Ok(Ok(taken)) => sent += taken,
                Ok(Err(e)) => return Err(NotSent::reset(sent, &e)),
                Err(_) => return Err(NotSent::new(sent, "nothing is taken in time")),
            }
        }
        match timeout(patience, self.stream.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(NotSent::reset(sent, &e)),
            Err(_) => Err(NotSent::new(sent, "not flushed in time")),
        }
    }

    /// Reads a whole response. With a pace, it waits so long after each read of the body.
    pub(crate) async fn answer(&mut self, pace: Option<Duration>) -> Result<Answer, NoAnswer> {
        let head = self.final_head().await?;
        if head.status == 101 {
            return Err(NoAnswer::new(LossKind::Malformed, "status 101, which nobody asked for"));
        }
        let mut body = BodyDecoder::new(head.ends);
        loop {
            let taken = body.take(&mut self.buffer);
            taken.map_err(|why| NoAnswer::new(LossKind::Malformed, why))?;
            if body.is_whole() {
                break;
            }
            if self.round.is_overdue() {
                return Err(NoAnswer::new(LossKind::Timeout, "it goes on after the load"));
            }
            if let Some(pace) = pace {
                sleep(pace).await;
            }
            match self.more().await {
                Ok(0) if body.ends_with_connection() => break,
                Ok(0) => return Err(NoAnswer::new(LossKind::Truncated, "end within the body")),
                Ok(_) => {}
                Err(e) => return Err(within(&e, "the body")),
            }
        }
        Ok(Answer { status: head.status, says_close: head.says_close })
    }

    /// Reads heads until one is not interim.
    async fn final_head(&mut self) -> Result<ResponseHead, NoAnswer> {
        let mut has_begun = false;
        loop {
            let head = ResponseHead::read(&self.buffer);
            let head = head.map_err(|why| NoAnswer::new(LossKind::Malformed, why))?;
            if let Some(head) = head {
                self.buffer.drain(..head.length);
                if !head.is_interim() {
                    return Ok(head);
                }
                // It says nothing on whether the request is answered.
                has_begun = false;
                continue;
            }
            has_begun |= !self.buffer.is_empty();
            match self.more().await {
                Ok(0) if has_begun => {
                    return Err(NoAnswer::new(LossKind::Truncated, "end within the head"));
                }
                Ok(0) => return Err(NoAnswer::new(LossKind::Eof, "end without a response")),
                Ok(_) => {}
                Err(e) if has_begun => return Err(within(&e, "the head")),
                // rustls calls an end without `close_notify` so. There is no byte of a response all the same.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(NoAnswer::new(LossKind::Eof, e.to_string()));
                }
                Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                    return Err(NoAnswer::new(LossKind::Timeout, "no response in time"));
                }
                Err(e) => return Err(NoAnswer::new(LossKind::Reset, e.to_string())),
            }
        }
    }

    /// Waits for the end that `Connection: close` has announced. Gives what came instead.
    pub(crate) async fn wait_end(&mut self) -> Option<String> {
        if self.buffer.is_empty() {
            // A reset here costs nothing: the response is whole.
            drop(timeout(CLOSE_PATIENCE, self.more()).await);
        }
        if self.buffer.is_empty() {
            return None;
        }
        match self.glance().await {
            Idle::Bytes(what) => Some(what),
            Idle::Quiet | Idle::Ended => None,
        }
    }

    /// Reads once. Gives how many bytes came.
    async fn more(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ);
        let patience = self.patience();
        let read = timeout(patience, self.stream.read_buf(&mut self.buffer)).await;
        read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads what the kernel holds. None if it is nothing for us.
    async fn read_what_is_there(&mut self) -> io::Result<Option<usize>> {
        // The kernel holds something, so this is only the runtime catching up.
        match timeout(self.patience(), self.stream.tcp().readable()).await {
            Ok(ready) => ready?,
            Err(_) => return Ok(None),
        }
        let Self { stream, buffer, .. } = self;
        poll_fn(|cx| {
            let mut piece = [0; READ];
            let mut into = ReadBuf::new(&mut piece);
            Poll::Ready(match Pin::new(&mut *stream).poll_read(cx, &mut into) {
                Poll::Ready(read) => read.map(|()| {
                    buffer.extend(into.filled());
                    Some(into.filled().len())
                }),
                Poll::Pending => Ok(None),
            })
        })
        .await
    }
}

/// A response that has begun and cannot be read on.
fn within(error: &io::Error, part: &str) -> NoAnswer {
    if error.kind() == io::ErrorKind::TimedOut {
        return NoAnswer::new(LossKind::Timeout, format!("nothing more of {part} in time"));
    }
    NoAnswer::new(LossKind::Truncated, format!("{error} within {part}"))
}
