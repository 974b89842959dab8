//! Which host is meant: the one that was named, or the only one that runs.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use host_system::unix_socket;
use thiserror::Error;

use crate::config::CtlTarget;
use crate::control;

/// Why there is no host to ask.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum NotFound {
    #[error(
        "no host is running for this user; start one with `host serve`, or say where its control \
         socket is with --socket PATH"
    )]
    NoHost,
    #[error(
        "this user has no directory for control sockets (XDG_RUNTIME_DIR is not set); say where \
         the socket is with --socket PATH"
    )]
    NoDirectory,
    #[error("{} hosts are running: {}; say which with --pid", .0.len(), list(.0))]
    Several(Vec<u32>),
    #[error(
        "no host answers at {}: {why}; is it running, and as this user?", .socket.display()
    )]
    NotThere { socket: PathBuf, why: String },
}

fn list(pids: &[u32]) -> String {
    pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The control socket of the host that is meant.
pub(super) fn socket(target: &CtlTarget) -> Result<PathBuf, NotFound> {
    if let CtlTarget::Socket(path) = target {
        return Ok(path.clone());
    }
    let directory = control::default_directory().ok_or(NotFound::NoDirectory)?;
    if let CtlTarget::Pid(pid) = target {
        return Ok(control::path_of(&directory, *pid));
    }
    let mut pids = running(&directory);
    match pids.pop() {
        None => Err(NotFound::NoHost),
        Some(pid) if pids.is_empty() => Ok(control::path_of(&directory, pid)),
        Some(pid) => {
            pids.push(pid);
            Err(NotFound::Several(pids))
        }
    }
}

/// Numbers of the hosts in `directory` that live, in order. The socket of a dead one refuses.
fn running(directory: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut pids: Vec<u32> = entries
        .filter_map(|entry| pid(&entry.ok()?.path()))
        .filter(|pid| unix_socket::is_alive(&control::path_of(directory, *pid)).unwrap_or(false))
        .collect();
    pids.sort_unstable();
    pids
}

fn pid(path: &Path) -> Option<u32> {
    let is_socket = path.extension() == Some(OsStr::new("sock"));
    path.file_stem().filter(|_| is_socket)?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_sockets_of_living_hosts_count() {
        let name = format!("host-find-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let living = UnixListener::bind(directory.join("20.sock")).unwrap();
        drop(UnixListener::bind(directory.join("3.sock")).unwrap());
        fs::write(directory.join("4.sock"), "").unwrap();
        let stranger = UnixListener::bind(directory.join("other.sock")).unwrap();
        assert_eq!(running(&directory), [20]);
        let second = UnixListener::bind(directory.join("5.sock")).unwrap();
        assert_eq!(running(&directory), [5, 20]);
        fs::remove_dir_all(&directory).unwrap();
        assert!(running(&directory).is_empty());
        drop((living, stranger, second));
    }
}
