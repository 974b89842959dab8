//! Where whole lines leave the process: a file, a pipe, stdout, or the log of the host.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;

use crate::stderr::Stderr;

/// A pipe takes so many bytes as one piece or not at all (`PIPE_BUF`, pipe(7)). No line is longer, so that each is
/// whole even where other processes write to the same pipe.
pub(crate) const LONGEST_LINE: usize = 4096;

/// A pipe that has no room is asked this often whether anything else has been asked for meanwhile.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Its owner reads and writes, its group reads: as a tool that rotates logs expects it.
const MODE: u32 = 0o640;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// To the end of a file, which is made if it is not there.
    File(PathBuf),
    /// To stdout.
    Stdout,
    /// Among the lines of the log.
    Log,
}

/// A [`Target`], open.
#[derive(Debug)]
pub(crate) enum Sink {
    Descriptor(Descriptor),
    Log(&'static Stderr),
}

/// What became of some lines.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Lines that were not written.
    pub(crate) lost: u64,
    /// Why.
    pub(crate) why: Option<io::Error>,
}

impl Sink {
    /// Opens it. Never waits for a reader.
    pub(crate) fn open(target: &Target) -> io::Result<Self> {
        Ok(match target {
            Target::File(path) => Self::Descriptor(Descriptor::at(path)?),
            Target::Stdout => Self::Descriptor(Descriptor::stdout()?),
            Target::Log => Self::Log(Stderr::of_process()?),
        })
    }

    #[cfg(test)]
    pub(crate) fn of(fd: OwnedFd) -> io::Result<Self> {
        Descriptor::new(fd).map(Self::Descriptor)
    }

    /// Writes whole lines. Waits for a pipe with no room, until `gives_up`, which is told how many bytes are written, says
    /// that it is to be left.
    pub(crate) fn write(&mut self, lines: &[u8], gives_up: impl Fn(usize) -> bool) -> Outcome {
        match self {
            Self::Descriptor(descriptor) => descriptor.write(lines, gives_up),
            Self::Log(stderr) => {
                stderr.push(lines);
                Outcome::default()
            }
        }
    }

    /// Opens a file again: it may have been moved away. What is open stays if that fails.
    pub(crate) fn reopen(&mut self) -> io::Result<Outcome> {
        match self {
            Self::Descriptor(descriptor) => descriptor.reopen(),
            Self::Log(_) => Ok(Outcome::default()),
        }
    }
}

/// Something open, to whose end lines are added.
#[derive(Debug)]
pub(crate) struct Descriptor {
    fd: OwnedFd,
    /// A file on a disk: takes any number of lines at once, and nobody else's get between them.
    is_file: bool,
    path: Option<PathBuf>,
    /// The rest of a line of which only the beginning found room.
    torn: Vec<u8>,
}

impl Descriptor {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: Some(path.to_owned()), ..Self::new(open(path)?.into())? })
    }

    fn stdout() -> io::Result<Self> {
        Self::new(io::stdout().as_fd().try_clone_to_owned()?)
    }

    fn new(fd: OwnedFd) -> io::Result<Self> {
        let is_file = FileType::from_raw_mode(fstat(&fd)?.st_mode) == FileType::RegularFile;
        Ok(Self { fd, is_file, path: None, torn: Vec::new() })
    }

    fn reopen(&mut self) -> io::Result<Outcome> {
        let Some(path) = &self.path else { return Ok(Outcome::default()) };
        let new = Self::at(path)?;
        let lost = u64::from(!self.torn.is_empty());
        *self = new;
        Ok(Outcome { lost, why: None })
    }

    fn write(&mut self, lines: &[u8], gives_up: impl Fn(usize) -> bool) -> Outcome {
        let torn = std::mem::take(&mut self.torn);
        let (written, failed) = self.write_all(&torn, |_| gives_up(0));
        let rest = torn.get(written..).unwrap_or_default();
        if let Err(why) = failed {
            self.torn = rest.to_vec();
            return Outcome { lost: count_lines(lines), why: Some(why) };
        }
        let (written, failed) = self.write_all(lines, &gives_up);
        let Err(why) = failed else { return Outcome::default() };
        let rest = lines.get(written..).unwrap_or_default();
        let is_torn = written > 0 && lines.get(written - 1) != Some(&b'\n');
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        let (torn, rest) = rest.split_at(if is_torn { end } else { 0 });
        self.torn = torn.to_vec();
        Outcome { lost: count_lines(rest), why: Some(why) }
    }

    /// Writes bytes, and says how many of them it has written.
    fn write_all(&self, bytes: &[u8], gives_up: impl Fn(usize) -> bool) -> (usize, io::Result<()>) {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            let piece = if self.is_file { rest } else { whole_lines(rest) };
            match rustix::io::write(&self.fd, piece) {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if gives_up(written) {
                        return (written, Err(io::ErrorKind::TimedOut.into()));
                    }
                    self.wait_for_room();
                }
                Err(why) => return (written, Err(why.into())),
            }
        }
        (written, Ok(()))
    }

    fn wait_for_room(&self) {
        let patience = Timespec::try_from(LOOK_UP).ok();
        // What the kernel says of it, the next write will.
        poll(&mut [PollFd::new(&self.fd, PollFlags::OUT)], patience.as_ref()).ok();
    }
}

/// Not blocking, because opening a pipe without a reader would wait, and so would a write to a full one.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(MODE)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path)
        .map_err(|why| match Errno::from_io_error(&why) {
            Some(Errno::NOENT) => io::Error::new(why.kind(), "its folder is not there"),
            Some(Errno::NXIO) => {
                io::Error::new(why.kind(), "nobody reads this pipe; start its reader first")
            }
            _ => why,
        })
}

/// As many whole lines as are one piece for a pipe.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let piece = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let end = piece.iter().rposition(|byte| *byte == b'\n').map_or(piece.len(), |end| end + 1);
    piece.get(..end).unwrap_or(piece)
}

/// Whole lines.
pub(super) fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
