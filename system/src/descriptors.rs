//! File descriptors: as many as the process may have, and shared out, because whoever takes the last
//! one takes it from a probe, an operator or a reload.
//!
//! ```text
//!  0 ─────────────── guests: files, sockets, requests ──────────┐
//!  0 ─────────────── connections ───────────────────────────────┼──────────┐
//!  0 ─────────────── the host itself ───────────────────────────┼──────────┼───────── limit
//!                                              three quarters ──┘   less what is kept
//! ```
//!
//! The kernel gives the lowest number that is free, so a number tells how many are taken.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for the host itself: 64 probes of health, 32 operators, and as many for a reload, databases,
/// names to be looked up.
const KEPT: u64 = 128;

/// What it has open from the start: listeners, runtimes, the log, databases.
const OWN: u64 = 64;

/// Connections that are beyond their limit for a moment: those that wait for a place, and those that leave
/// (`net/room.rs`).
const COMING_AND_GOING: u64 = 256;

/// Of few it is a quarter.
fn kept(limit: u64) -> u64 {
    KEPT.min(limit / 4)
}

/// Of few it is an eighth.
fn own(limit: u64) -> u64 {
    OWN.min(limit / 8)
}

/// What guests leave.
fn not_for_guests(limit: u64) -> u64 {
    limit / 4
}

/// The most that the process may have open (`ulimit -n`). None: as many as it likes.
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Takes as many as the system lets us have: the soft limit is that of programs which use select(2), and
/// we do not. Gives the limit before.
pub fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Where it may not be raised it stays, and is counted with.
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
    }
    current
}

/// Held back for a stop that finds none left, or a limit that somebody has lowered since (prlimit(1)): what
/// was opened first has the lowest numbers, and it is the number that the limit bounds.
#[derive(Debug)]
struct Reserve {
    /// For asking the kernel who is in a queue.
    asking: Option<File>,
    /// For the queue itself, one peer after the other.
    accepting: Option<File>,
}

/// As many as that.
const HELD_BACK: u64 = 2;

static RESERVE: Mutex<Reserve> = Mutex::new(Reserve { asking: None, accepting: None });

fn reserve() -> MutexGuard<'static, Reserve> {
    RESERVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that is open: there is always a root.
fn open() -> Option<File> {
    File::open("/").ok()
}

/// Takes the reserve. To be called before anything else is opened.
pub fn hold_back() {
    *reserve() = Reserve { asking: open(), accepting: open() };
}

/// Asks the kernel for something that takes a descriptor for as long as it is asked: one of the reserve, if
/// there is no other.
pub fn asking<T>(ask: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match ask() {
        Err(why) if why.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {}
        asked => return asked,
    }
    let mut reserve = reserve();
    drop(reserve.asking.take());
    let asked = ask();
    reserve.asking = open();
    asked
}

/// Gives the reserve for accepting away, for good. False if it has been given already.
pub fn give_for_accepting() -> bool {
    reserve().accepting.take().is_some()
}

/// Connections that there is room for beside what the host needs for itself and, if they may open
/// anything, guests.
pub fn for_connections(limit: Option<u64>, beside_guests: bool) -> usize {
    let Some(limit) = limit else { return usize::MAX };
    let guests = if beside_guests { not_for_guests(limit) } else { 0 };
    let left = limit - kept(limit) - own(limit) - guests;
    let left = left - COMING_AND_GOING.min(left / 2);
    usize::try_from(left).unwrap_or(usize::MAX).max(1)
}

/// Tells how many are taken.
struct Probe {
    file: File,
    limit: u64,
}

static PROBE: LazyLock<Option<Probe>> = LazyLock::new(|| {
    let limit = limit()?;
    Some(Probe { file: File::open("/dev/null").ok()?, limit })
});

/// Whether the next one is below so many. False if there is none at all.
fn is_next_below(bound: impl FnOnce(u64) -> u64) -> bool {
    let Some(probe) = &*PROBE else { return true };
    let bound = RawFd::try_from(bound(probe.limit)).unwrap_or(RawFd::MAX);
    probe.file.try_clone().is_ok_and(|next| next.as_raw_fd() < bound)
}

/// Whether a guest may have another one. Guests that ask in the same instant may get a few more.
pub fn are_left_for_guests() -> bool {
    is_next_below(|limit| limit - not_for_guests(limit))
}

/// Whether another connection may have one. Of what is kept the reserve is taken already.
pub fn are_left_for_connections() -> bool {
    is_next_below(|limit| limit - kept(limit).saturating_sub(HELD_BACK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_host_and_for_guests() {
        assert_eq!(for_connections(Some(1024), false), 576);
        assert_eq!(for_connections(Some(1024), true), 320);
        assert_eq!(for_connections(Some(64), true), 12);
        assert_eq!(for_connections(Some(1), true), 1);
        assert_eq!(for_connections(None, true), usize::MAX);
        assert!(for_connections(Some(20_000), true) > 10_000, "the default of --max-connections");
    }

    #[test]
    fn there_are_some_left_here() {
        assert!(are_left_for_guests() && are_left_for_connections());
    }
}
