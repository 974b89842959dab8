//! The process between a host and its successor. It starts the successor, and tells by its own end how that one has
//! ended. When it is killed, whoever reaps orphans has the successor for a child: a service manager waits for the end of
//! its main process only if that is a child of its own.

use std::ffi::{OsStr, OsString};
use std::fs::{File, metadata};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};

use nix::sys::signal::{SigSet, Signal, raise};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, getrlimit, pidfd_open, set_parent_process_death_signal,
    setrlimit,
};

use super::channel::say;
use super::message::HandoverMessage;

/// Starts `program` with these arguments, its standard input being that of this process: the successor's end of the
/// channel. Says there whether it has started, waits for its end, and ends in the same way: by the signal, or with the code that
/// is returned. Once the successor runs, no other signal than SIGKILL ends it before.
#[must_use]
pub fn launch(program: &OsStr, arguments: &[OsString]) -> u8 {
    // Who is left without a host is an orphan, and no longer this one's.
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).ok();
    match start(program, arguments) {
        Ok(child) => wait(child),
        Err(why) => {
            let unstarted = HandoverMessage::Unstarted { why: why.to_string() };
            say(rustix::stdio::stdin(), &unstarted, &[]).ok();
            FAILED
        }
    }
}

const FAILED: u8 = 1;

fn start(program: &OsStr, arguments: &[OsString]) -> io::Result<Child> {
    // The kernel would only say that permission is denied.
    if metadata(program)?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    let nothing = File::open("/dev/null")?;
    let channel = rustix::stdio::stdin().try_clone_to_owned()?;
    let mut child = Command::new(program).args(arguments).spawn()?;
    // Who signals all hosts, or the group of a terminal, does not mean this one. Not before: a child inherits it.
    SigSet::all().thread_block().ok();
    // The end of the successor is to be the end of the channel.
    rustix::stdio::dup2_stdin(nothing)?;
    let told = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
        .map_err(|why| {
            io::Error::other(format!("its end cannot be watched: {}", io::Error::from(why)))
        })
        .and_then(|process| {
            let started = HandoverMessage::Started { pid: child.id() };
            say(channel.as_fd(), &started, &[process.as_fd()])
        });
    match told {
        Ok(()) => Ok(child),
        // Nobody could end it.
        Err(why) => {
            child.kill().ok();
            child.wait().ok();
            rustix::stdio::dup2_stdin(channel)?;
            Err(why)
        }
    }
}

fn wait(mut child: Child) -> u8 {
    let Ok(status) = child.wait() else { return FAILED };
    if let Some(signal) = status.signal().and_then(|signal| Signal::try_from(signal).ok()) {
        end_by(signal);
    }
    // A code has eight bits.
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}

fn end_by(signal: Signal) {
    // The successor has left a core, if one is wanted.
    let none = Rlimit { current: Some(0), ..getrlimit(Resource::Core) };
    setrlimit(Resource::Core, none).ok();
    SigSet::from(signal).thread_unblock().ok();
    // The first one may find a handler, of the standard library, that takes itself away.
    for _ in 0..2 {
        raise(signal).ok();
    }
}
