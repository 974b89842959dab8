//! Stdout and stderr of guests: lines in the log under the component's name.
//!
//! The stream is our own, because wasmtime 48.0.8's adapter keeps a buffer that empty writes grow without
//! bound (advisory 5m8g), and its built-in stdout blocks the thread. Ours holds one line of bounded length
//! per stream and never blocks. Lines without room in the bucket of the [`GuestLog`](super::guest_log::GuestLog) are
//! left out.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use host_log::GuestLine;
use host_manifest::escape;
use tokio::io::AsyncWrite;
use tracing::warn;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::identity::Identity;
use super::served::Served;

/// A longer line is cut here and goes on in the next.
const LINE_BYTES: usize = 1024;

/// Lines of one exchange and stream. Further lines are dropped.
const MAX_LINES: usize = 1000;

/// Bytes that one write may bring. The guest offers the rest again.
const WRITE_BYTES: usize = 64 << 10;

/// Which stream of a guest.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OutputKind {
    Stdout,
    Stderr,
}

impl OutputKind {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One output stream of one instance. Dropping it logs an unfinished line.
#[derive(Clone)]
pub(crate) struct GuestOutput(Arc<Mutex<Lines>>);

struct Lines {
    identity: Identity,
    served: Served,
    stream: OutputKind,
    line: Vec<u8>,
    printed: usize,
    swallowed: u64,
    panic: Panic,
}

/// What a guest in Rust says when it panics: a line with the place, and one with the reason.
#[derive(Default)]
enum Panic {
    #[default]
    None,
    At(String),
    Said(String),
}

impl Panic {
    fn next(&mut self, line: &str) {
        let place =
            line.split_once(" panicked at ").filter(|(thread, _)| thread.starts_with("thread "));
        match (place, &*self) {
            (Some((_, at)), _) => *self = Self::At(at.trim_end_matches(':').to_owned()),
            (None, Self::At(at)) => *self = Self::Said(format!("panicked at {at}: {line}")),
            (None, _) => {}
        }
    }
}

impl GuestOutput {
    /// An output of a guest that serves these exchanges.
    pub(crate) fn new(identity: Identity, served: Served, stream: OutputKind) -> Self {
        Self(Arc::new(Mutex::new(Lines {
            identity,
            served,
            stream,
            line: Vec::new(),
            printed: 0,
            swallowed: 0,
            panic: Panic::None,
        })))
    }

    /// Allows as many lines again.
    pub(crate) fn renew(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).printed = 0;
    }

    /// What it has printed of a panic, in one line. A guest that is made to panic prints nothing after that.
    pub(crate) fn panic(&self) -> Option<String> {
        match &self.0.lock().unwrap_or_else(PoisonError::into_inner).panic {
            Panic::None => None,
            Panic::At(at) => Some(format!("panicked at {at}")),
            Panic::Said(said) => Some(said.clone()),
        }
    }

    fn take(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
    }
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(LINE_BYTES) {
                if self.line.len() + part.len() > LINE_BYTES {
                    self.print();
                }
                self.line.extend_from_slice(part);
            }
            if piece.ends_with(b"\n") {
                self.print();
            }
        }
    }

    fn print(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        self.panic.next(&escape::harmless(&text));
        if self.printed >= MAX_LINES {
            self.swallowed += 1;
            return;
        }
        self.printed += 1;
        let exchange = self.served.exchange();
        self.identity.log.print(&GuestLine {
            component: &self.identity.component,
            generation: self.identity.number,
            stream: self.stream.name(),
            exchange: exchange.map(|exchange| exchange.number),
            trace: exchange.map(|exchange| exchange.trace.trace),
            text: text.trim_end_matches(['\n', '\r']),
        });
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.print();
        }
        let (component, log) = (&self.identity.component, &self.identity.log);
        let lines = self.swallowed;
        if lines > 0 && log.has_room(0) {
            let exchange = self.served.exchange().map(|exchange| exchange.number);
            let component = &**component;
            warn!(target: "guest", exchange, component, lines, "guest printed too much; the rest is not shown");
        } else {
            log.leave_out(component, lines);
        }
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for GuestOutput {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let part = &bytes[..bytes.len().min(WRITE_BYTES)];
        self.take(part);
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl OutputStream for GuestOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for GuestOutput {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::sandbox::guest_log::GuestLog;
    use crate::component::sandbox::retirement::Retirement;

    #[test]
    fn output_in_memory_is_bounded_for_any_writes() {
        let (log, retirement) = (GuestLog::unbounded(), Retirement::default());
        let identity =
            Identity::new((1, "1f2e3d4c"), "test".into(), log, retirement.watch(), Arc::default());
        let output = GuestOutput::new(identity, Served::shared(), OutputKind::Stdout);
        for _ in 0..100_000 {
            output.take(b"");
        }
        output.take(&vec![b'x'; 10 << 20]);
        let lines = output.0.lock().unwrap();
        assert!(lines.line.capacity() <= 2 * LINE_BYTES);
        assert_eq!(lines.printed, MAX_LINES);
        assert!(lines.swallowed > 0);
    }
}
