//! The sockets that the process was started with: `LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`
//! ([sd_listen_fds(3)](https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html)).

use std::env;
use std::os::fd::OwnedFd;
use std::process;

use listenfd::ListenFd;
use socket2::Socket;
use thiserror::Error;

use super::place::SocketPlace;

const FIRST: usize = 3;

/// More than any unit has, and few enough to be counted.
const MOST: usize = 4096;

/// Why the sockets cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandedError {
    /// The number of them cannot be read.
    #[error("LISTEN_FDS={0}: not a number of sockets")]
    BadCount(String),
    /// There are not as many names as sockets.
    #[error(
        "LISTEN_FDS={sockets} and LISTEN_FDNAMES={names}: there has to be a name for each socket"
    )]
    Names {
        /// How many sockets there are.
        sockets: usize,
        /// What there is of names.
        names: String,
    },
    /// One is of no use.
    #[error(
        "descriptor {descriptor} of LISTEN_FDS{name} is no listening socket for a stream, TCP or Unix (systemd: \
         ListenStream= and Accept=no)"
    )]
    NotListening {
        /// Its number.
        descriptor: usize,
        /// Its name, as the text has it.
        name: String,
    },
}

/// A listening socket that others hold too.
#[derive(Debug)]
pub struct HandedSocket {
    /// What the service manager calls it; none if it says none.
    pub name: Option<String>,
    /// Where it is.
    pub place: SocketPlace,
    /// The socket. What is set on it is set for all who hold it.
    pub socket: Socket,
}

/// What the process was handed.
#[derive(Debug, Default)]
pub struct HandedSockets {
    /// The sockets, in their order.
    pub sockets: Vec<HandedSocket>,
    /// Sockets were handed to another process, of this number: a shell, for example, which started this one.
    pub for_another: Option<String>,
}

impl HandedSockets {
    /// Takes the sockets that the environment names. To be called before the process has a second thread, because it
    /// changes the environment, and before it opens anything: it owns what it is told of.
    ///
    /// `LISTEN_PID` may be missing: what starts a server again and again while it is written has no way to know it.
    ///
    /// # Errors
    /// [`HandedError`].
    pub fn take() -> Result<Self, HandedError> {
        let Some(count) = env::var_os("LISTEN_FDS").filter(|count| !count.is_empty()) else {
            return Ok(Self::default());
        };
        let count = count.to_string_lossy().into_owned();
        if !count.parse().is_ok_and(|number: usize| number <= MOST) {
            return Err(HandedError::BadCount(count));
        }
        let pid = env::var("LISTEN_PID").ok().filter(|pid| !pid.is_empty());
        let names = env::var("LISTEN_FDNAMES").ok().filter(|names| !names.is_empty());
        // Takes both out of the environment.
        let mut handed = ListenFd::from_env();
        if let Some(pid) = pid
            && pid.parse() != Ok(process::id())
        {
            return Ok(Self { for_another: Some(pid), ..Self::default() });
        }
        let names = names_of(handed.len(), names)?;
        let sockets = names.into_iter().enumerate();
        let sockets = sockets
            .map(|(index, name)| take(&mut handed, index, name))
            .collect::<Result<_, _>>()?;
        Ok(Self { sockets, for_another: None })
    }
}

/// A name for each of `sockets`, or none.
fn names_of(sockets: usize, names: Option<String>) -> Result<Vec<Option<String>>, HandedError> {
    let Some(names) = names else { return Ok(vec![None; sockets]) };
    let each: Vec<_> = names
        .split(':')
        // What systemd says where there is no name.
        .map(|name| Some(name).filter(|name| !["", "unknown"].contains(name)).map(str::to_owned))
        .collect();
    if each.len() == sockets { Ok(each) } else { Err(HandedError::Names { sockets, names }) }
}

fn take(
    handed: &mut ListenFd,
    index: usize,
    name: Option<String>,
) -> Result<HandedSocket, HandedError> {
    let socket = match handed.take_tcp_listener(index) {
        Ok(Some(socket)) => Some(OwnedFd::from(socket)),
        _ => handed.take_unix_listener(index).ok().flatten().map(OwnedFd::from),
    };
    let socket = socket.map(Socket::from).filter(|socket| socket.is_listener().unwrap_or_default());
    let Some(socket) = socket else {
        let name = name.map_or_else(String::new, |name| format!(" ({name})"));
        return Err(HandedError::NotListening { descriptor: FIRST + index, name });
    };
    Ok(HandedSocket { name, place: SocketPlace::of(&socket), socket })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_many_as_sockets() {
        let names = |count, names: &str| names_of(count, Some(names.to_owned()));
        assert_eq!(
            names(2, "http:host.socket").unwrap(),
            [Some("http".into()), Some("host.socket".into())]
        );
        assert_eq!(names(3, "unknown::a").unwrap(), [None, None, Some("a".into())]);
        assert_eq!(names_of(2, None).unwrap(), [None, None]);
        let why = names(2, "http").unwrap_err().to_string();
        assert!(why.contains("LISTEN_FDS=2 and LISTEN_FDNAMES=http"), "{why}");
    }
}
