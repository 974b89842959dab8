//! Our stdout and stderr, written to as if they blocked. Whether they do is a flag of the pipe, and
//! any process with the same pipe may set it: then a write that finds no room is refused instead of
//! waiting, and the end of the log is lost.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use host_manifest::escape;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// A pipe takes so many bytes as one piece or not at all (`PIPE_BUF`, pipe(7)): less room than this is
/// none, and more in one write may wait in its middle.
const PIECE: usize = 4096;

/// After a refusal by what has just said that it has room.
const AGAIN: Duration = Duration::from_millis(1);

/// Where bytes leave the process. Each write waits for room, at most for the patience it is given.
#[derive(Debug)]
pub struct Outlet<F> {
    fd: F,
    patience: Option<Duration>,
}

/// The stdout of the process. Waits for as long as its reader likes, until [`Outlet::within`].
#[must_use]
pub fn stdout() -> Outlet<io::Stdout> {
    Outlet { fd: io::stdout(), patience: None }
}

/// The stderr of the process. Waits for as long as its reader likes, until [`Outlet::within`].
#[must_use]
pub fn stderr() -> Outlet<io::Stderr> {
    Outlet { fd: io::stderr(), patience: None }
}

/// Writes `text` to stdout from a thread of its own, and waits for that at most for `patience`: a terminal
/// that is held takes part of a line and keeps its writer waiting for the rest. A reader that comes later gets it.
///
/// # Errors
/// What the kernel says, and [`io::ErrorKind::TimedOut`].
pub async fn to_stdout(text: String, patience: Duration) -> io::Result<()> {
    let (send, written) = oneshot::channel();
    let line = text.clone();
    let write = move || drop(send.send(stdout().write_all(line.as_bytes())));
    if thread::Builder::new().name("stdout".into()).spawn(write).is_err() {
        return stdout().within(patience).write_all(text.as_bytes());
    }
    let written = timeout(patience, written).await.map_err(|_| io::ErrorKind::TimedOut)?;
    written.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

/// Prints `text` to stdout. What strangers have put into it is no command to a terminal.
///
/// # Errors
/// What the kernel says. A reader that has gone is no error.
pub fn print(text: &str) -> io::Result<()> {
    pass(escape::lines(text).as_bytes())
}

/// The same for JSON, which stays JSON.
///
/// # Errors
/// As [`print()`].
pub fn print_json(json: &[u8]) -> io::Result<()> {
    pass(escape::json(&String::from_utf8_lossy(json)).as_bytes())
}

/// The same for bytes that are for programs, as they are.
///
/// # Errors
/// As [`print()`].
pub fn pass(bytes: &[u8]) -> io::Result<()> {
    match stdout().write_all(bytes) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => Err(why),
        _ => Ok(()),
    }
}

/// Says `text` on stderr, as a line, in the same way. If stderr is closed, there is no reader.
pub fn complain(text: &str) {
    drop(stderr().write_all(format!("{}\n", escape::lines(text)).as_bytes()));
}

impl<F: AsFd> Outlet<F> {
    /// The same, giving up a write that has found no room for so long.
    #[must_use]
    pub fn within(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// Waits for room, or for an error that the next write will tell.
    fn room(&self, until: Option<Instant>) -> io::Result<()> {
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut [PollFd::new(&self.fd, PollFlags::OUT)], left.as_ref()) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(why) => return Err(why.into()),
            }
        }
    }
}

impl<F: AsFd> Write for Outlet<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let until = self.patience.map(|patience| Instant::now() + patience);
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        // One that blocks would wait for ever: it is asked first.
        if until.is_some() {
            self.room(until)?;
        }
        loop {
            match rustix::io::write(&self.fd, piece) {
                Ok(written) => return Ok(written),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.room(until)?;
                    if until.is_some_and(|until| Instant::now() >= until) {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    thread::sleep(AGAIN);
                }
                Err(why) => return Err(why.into()),
            }
        }
    }

    /// Nothing is kept back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// A pipe that does not block its writer and has no room left, and what fills it.
    fn full() -> (io::PipeReader, io::PipeWriter, usize) {
        let (reader, mut writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let mut filled = 0;
        while let Ok(more) = writer.write(&[b'.'; PIECE]) {
            filled += more;
        }
        (reader, writer, filled)
    }

    fn outlet(writer: &io::PipeWriter, patience: Option<Duration>) -> Outlet<io::PipeWriter> {
        Outlet { fd: writer.try_clone().unwrap(), patience }
    }

    /// The pipe of the log was made non-blocking by another process that shares it: `write` said EAGAIN, and
    /// the line was lost.
    #[test]
    fn a_pipe_that_refuses_to_block_is_waited_for() {
        let (mut reader, writer, filled) = full();
        let mut outlet = outlet(&writer, None);
        let writing = thread::spawn(move || outlet.write_all(&[b'!'; 3 * PIECE]));
        let mut read = vec![0; filled + 3 * PIECE];
        reader.read_exact(&mut read).unwrap();
        writing.join().unwrap().unwrap();
        assert!(read[filled..].iter().all(|byte| *byte == b'!'));
    }

    #[test]
    fn reader_that_does_not_read_is_given_up_in_time() {
        let (_reader, writer, _) = full();
        for blocks in [false, true] {
            rustix::io::ioctl_fionbio(&writer, !blocks).unwrap();
            let mut outlet = outlet(&writer, Some(Duration::from_millis(10)));
            let why = outlet.write_all(b"last line\n").unwrap_err();
            assert_eq!(why.kind(), io::ErrorKind::TimedOut, "blocks: {blocks}");
        }
    }

    #[test]
    fn reader_that_has_gone_is_an_error_at_once() {
        let (reader, writer, _) = full();
        drop(reader);
        let why = outlet(&writer, None).write_all(b"line\n").unwrap_err();
        assert_eq!(why.kind(), io::ErrorKind::BrokenPipe);
    }
}
