//! Which listener gets which socket.

use thiserror::Error;

use super::message::fd_name;
use super::place::SocketPlace;
use super::sockets::HandedSocket;

/// A listener that would use a socket.
#[derive(Clone, Debug)]
pub struct WantedListener {
    /// Its name; none if it has none.
    pub name: Option<String>,
    /// Where it is to be.
    pub place: SocketPlace,
}

/// Why the sockets do not fit.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssignError {
    /// A socket has the name of a listener, and is somewhere else.
    #[error(
        "the socket {name} that the service manager hands over is at {here}, and the listener of that name is to be at \
         {wanted}: write one address in both places (systemd: ListenStream= of the socket unit), or 0.0.0.0:0 for the \
         listener, which leaves its address to the service manager"
    )]
    Elsewhere {
        /// The name of both.
        name: String,
        /// Where the socket is.
        here: String,
        /// Where the listener is to be.
        wanted: String,
    },
    /// No listener wants a socket.
    #[error(
        "no listener wants the socket {name} at {here} that the service manager hands over; those without a socket: \
         {wanted}. Give a listener that name or that address (systemd: FileDescriptorName= and ListenStream= of the \
         socket unit), or do not hand the socket over"
    )]
    Unwanted {
        /// The name of the socket.
        name: String,
        /// Where it is.
        here: String,
        /// The listeners that have none.
        wanted: String,
    },
}

/// Finds a socket for each listener: the one of its name, which has to be where the listener is to be; else one that is
/// exactly there, whatever its name. A listener may have none.
///
/// With `sole`, a listener that is the only one, and has no name, takes the only socket, wherever that is.
///
/// # Errors
/// A socket is left, or is not where its listener is to be.
pub fn assign(
    sockets: Vec<HandedSocket>,
    wanted: &[WantedListener],
    sole: bool,
) -> Result<Vec<Option<HandedSocket>>, AssignError> {
    let mut left = sockets;
    let mut found: Vec<Option<HandedSocket>> = wanted.iter().map(|_| None).collect();
    for (listener, found) in wanted.iter().zip(&mut found) {
        *found = take_named(&mut left, listener)?;
    }
    for (listener, found) in wanted.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
        let there =
            |it: &HandedSocket| listener.place.is_exact() && it.place.is_meant_by(&listener.place);
        *found = left.iter().position(there).map(|index| left.remove(index));
    }
    if let ([_], [only @ None], 1) = (wanted, found.as_mut_slice(), left.len())
        && sole
    {
        *only = left.pop();
    }
    match left.first() {
        None => Ok(found),
        Some(socket) => Err(unwanted(socket, wanted, &found)),
    }
}

/// The socket with the name of `listener`. A unit with several addresses has sockets of one name, so the one counts that
/// is at its place.
fn take_named(
    left: &mut Vec<HandedSocket>,
    listener: &WantedListener,
) -> Result<Option<HandedSocket>, AssignError> {
    let Some(name) = &listener.name else { return Ok(None) };
    let wanted = fd_name(name);
    let has_name =
        |it: &HandedSocket| it.name.as_ref() == Some(name) || it.name.as_ref() == Some(&wanted);
    let is_it = |it: &HandedSocket| has_name(it) && it.place.is_meant_by(&listener.place);
    if let Some(index) = left.iter().position(is_it) {
        return Ok(Some(left.remove(index)));
    }
    match left.iter().find(|it| has_name(it)) {
        None => Ok(None),
        Some(socket) => Err(AssignError::Elsewhere {
            name: format!("`{name}`"),
            here: socket.place.to_string(),
            wanted: listener.place.to_string(),
        }),
    }
}

fn unwanted(
    socket: &HandedSocket,
    wanted: &[WantedListener],
    found: &[Option<HandedSocket>],
) -> AssignError {
    let without = wanted.iter().zip(found).filter(|(_, found)| found.is_none());
    let without: Vec<_> = without
        .map(|(listener, _)| match &listener.name {
            Some(name) => format!("`{name}` at {}", listener.place),
            None => listener.place.to_string(),
        })
        .collect();
    AssignError::Unwanted {
        name: socket
            .name
            .as_ref()
            .map_or_else(|| "without a name".into(), |name| format!("`{name}`")),
        here: socket.place.to_string(),
        wanted: if without.is_empty() { "none".into() } else { without.join(", ") },
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::Socket;

    use super::*;

    fn place(text: &str) -> SocketPlace {
        match text.strip_prefix("unix:") {
            Some(path) => SocketPlace::Unix(path.into()),
            None => SocketPlace::Tcp(text.parse().unwrap()),
        }
    }

    /// A socket that is said to be at `text`.
    fn handed((name, text): (&str, &str)) -> HandedSocket {
        let socket = Socket::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        HandedSocket { name, place: place(text), socket }
    }

    fn wanted((name, text): (&str, &str)) -> WantedListener {
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        WantedListener { name, place: place(text) }
    }

    /// Which socket each listener has got.
    fn assigned(
        sockets: &[(&str, &str)],
        listeners: &[(&str, &str)],
        sole: bool,
    ) -> Result<Vec<String>, String> {
        let sockets = sockets.iter().copied().map(handed).collect();
        let listeners: Vec<_> = listeners.iter().copied().map(wanted).collect();
        let found = assign(sockets, &listeners, sole).map_err(|why| why.to_string())?;
        let name =
            |it: Option<HandedSocket>| it.map_or_else(|| "-".into(), |it| it.place.to_string());
        Ok(found.into_iter().map(name).collect())
    }

    #[test]
    fn a_name_decides_and_then_the_address() {
        for (sockets, listeners, expected) in [
            // By name, in whatever order; a listener without a socket is bound by us.
            (
                &[("public", "[::]:443"), ("http", "0.0.0.0:80")][..],
                &[("http", "0.0.0.0:80"), ("public", "0.0.0.0:443"), ("", "127.0.0.1:9")][..],
                &["0.0.0.0:80", "[::]:443", "-"][..],
            ),
            // A unit that gives no name gives its own.
            (&[("host.socket", "0.0.0.0:80")], &[("http", "0.0.0.0:80")], &["0.0.0.0:80"]),
            // A unit with two addresses gives one name to both.
            (
                &[("http", "0.0.0.0:80"), ("http", "unix:/run/a")],
                &[("local", "unix:/run/a"), ("http", "0.0.0.0:80")],
                &["unix:/run/a", "0.0.0.0:80"],
            ),
            // The address is left to the service manager.
            (&[("http", "127.0.0.1:80")], &[("http", "0.0.0.0:0")], &["127.0.0.1:80"]),
        ] {
            assert_eq!(assigned(sockets, listeners, false).unwrap(), expected, "{sockets:?}");
        }
    }

    #[test]
    fn the_only_listener_of_flags_takes_the_only_socket() {
        let (socket, listener) = ([("host.socket", "0.0.0.0:80")], [("", "127.0.0.1:8080")]);
        assert_eq!(assigned(&socket, &listener, true).unwrap(), ["0.0.0.0:80"]);
        assigned(&socket, &listener, false).unwrap_err();
        assigned(&[socket[0], ("", "unix:/run/a")], &listener, true).unwrap_err();
    }

    #[test]
    fn what_does_not_fit_is_told_with_both_names() {
        let why =
            assigned(&[("http", "0.0.0.0:80")], &[("http", "0.0.0.0:8080")], false).unwrap_err();
        assert!(why.contains("the socket `http`") && why.contains("is at 0.0.0.0:80"), "{why}");
        assert!(why.contains("is to be at 0.0.0.0:8080"), "{why}");
        let listeners = [("http", "0.0.0.0:80"), ("public", "0.0.0.0:0"), ("", "unix:/run/a")];
        let why = assigned(&[("htpt", "0.0.0.0:81")], &listeners, false).unwrap_err();
        assert!(why.contains("the socket `htpt` at 0.0.0.0:81"), "{why}");
        assert!(why.contains("`http` at 0.0.0.0:80, `public` at 0.0.0.0:0, unix:/run/a."), "{why}");
    }
}
