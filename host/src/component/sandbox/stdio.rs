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
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = LINE_BYTES - self.line.len();
            // Its end needs no room.
            let end = bytes.iter().take(room + 1).position(|byte| *byte == b'\n');
            let (part, rest) = bytes.split_at(end.unwrap_or_else(|| bytes.len().min(room)));
            self.line.extend_from_slice(part);
            bytes = rest;
            if end.is_some() {
                self.print();
                bytes = rest.get(1..).unwrap_or_default();
            } else if !rest.is_empty() {
                // A letter whose end is still to come stands in the next one.
                let next = self.line.split_off(whole_letters(&self.line));
                self.print();
                self.line = next;
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
            text: text.trim_end_matches('\r'),
        });
    }
}

/// The bytes of `line` without the beginning of a letter whose end is not there.
fn whole_letters(line: &[u8]) -> usize {
    let (before, tail) = line.split_at(line.len().saturating_sub(3));
    let begins = tail.iter().rposition(|byte| byte & 0xc0 != 0x80);
    let is_half =
        |letter: &[u8]| std::str::from_utf8(letter).is_err_and(|why| why.error_len().is_none());
    let half = begins.filter(|at| tail.get(*at..).is_some_and(is_half));
    half.map_or(line.len(), |at| before.len() + at)
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
            log.count_dropped(lines);
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
    use std::time::Duration;

    use host_manifest::LogFormat;
    use tokio::time::Instant;

    use super::*;
    use crate::component::sandbox::guest_log::{GuestLog, GuestLogs};
    use crate::component::sandbox::retirement::Retirement;

    #[test]
    fn lines_are_cut_between_letters() {
        for (line, whole) in [("", 0), ("abc", 3), ("ab\u{fc}", 4), ("\u{fc}\u{6f22}\u{1f980}", 9)]
        {
            assert_eq!(whole_letters(line.as_bytes()), whole, "{line}");
        }
        for (line, whole) in [
            (&b"ab\xc3"[..], 2),
            (b"ab\xe6\xbc", 2),
            (b"ab\xf0\x9f\xa6", 2),
            (b"\xf0", 0),
            // No letter at all.
            (b"ab\xff", 3),
            (b"ab\xbc\xbc", 4),
            (b"\xbc\xbc\xbc\xbc", 4),
        ] {
            assert_eq!(whole_letters(line), whole, "{line:?}");
        }
    }

    /// What a guest that writes these pieces has in its file.
    fn printed(pieces: &[&[u8]]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let (logs, path) = (GuestLogs::new(LogFormat::Json), folder.path().join("log"));
        let log = logs.component(&"test".into(), None, Some(&path)).unwrap();
        let retirement = Retirement::default();
        let identity = Identity::new(
            (1, "1f2e3d4c"),
            "test".into(),
            log.clone(),
            retirement.watch(),
            Arc::default(),
        );
        let output = GuestOutput::new(identity, Served::shared(), OutputKind::Stdout);
        pieces.iter().for_each(|piece| output.take(piece));
        drop(output);
        logs.end(Instant::now() + Duration::from_secs(30));
        // As long as somebody holds the log, its file is open.
        drop(log);
        let body = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| body(line)["body"].as_str().unwrap().to_owned()).collect()
    }

    /// They were cut between two writes, in the middle of a letter, and with an empty line behind one that fitted.
    #[test]
    fn lines_that_are_too_long_are_cut_where_they_are_full() {
        let full = "x".repeat(LINE_BYTES);
        let text = full.as_bytes();
        assert_eq!(printed(&[text, b"\n", b"next\n"]), [&*full, "next"]);
        assert_eq!(
            printed(&[b"12345", text, b"\r\n"]),
            [&*format!("12345{}", full.split_at(5).1), "xxxxx"]
        );
        assert_eq!(printed(&[text, b"\r\n", b"\n", b"end"]), [&*full, "", "", "end"]);
        let letters = "\u{fc}".repeat(LINE_BYTES);
        let odd = printed(&[b"x", letters.as_bytes()]);
        assert_eq!(odd.concat(), format!("x{letters}"));
        assert!(odd.iter().all(|line| line.len() <= LINE_BYTES), "{odd:?}");
        let binary = printed(&[&[0xbc; 3 * LINE_BYTES]]);
        assert_eq!(binary.len(), 3, "bytes that are no letters are lost nowhere");
    }

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
