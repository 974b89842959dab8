//! A service manager of the test's own: what a host tells it, and the sockets that it hands over.

use std::ffi::{OsStr, OsString};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::PATIENCE;
use super::process::TempPath;

/// The socket that `NOTIFY_SOCKET` names.
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    name: OsString,
    _path: Option<TempPath>,
}

/// One message.
#[derive(Debug)]
pub struct Told {
    /// All of it.
    pub text: String,
    /// What came with it.
    pub descriptors: Vec<OwnedFd>,
}

impl ServiceManager {
    /// One at a path.
    pub fn new() -> Self {
        let path = TempPath::new("notify");
        let socket = UnixDatagram::bind(&path.0).expect("a new path");
        Self { name: path.0.clone().into(), _path: Some(path), ..Self::over(socket) }
    }

    /// One at an abstract name.
    pub fn abstract_name() -> Self {
        let name = format!("host-e2e-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let socket = UnixDatagram::bind_addr(&address).expect("a new name");
        Self { name: format!("@{name}").into(), ..Self::over(socket) }
    }

    fn over(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("a time");
        Self { socket, name: OsString::new(), _path: None }
    }

    /// What `NOTIFY_SOCKET` is to say.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Fills the queue of the socket, so that it takes no more.
    pub fn fill(&self) {
        let filler = UnixDatagram::unbound().expect("a socket");
        filler.set_nonblocking(true).expect("a socket of ours");
        while filler.send_to(b"STATUS=full", &self.name).is_ok() {}
    }

    /// The next message.
    #[track_caller]
    pub fn next(&self) -> Told {
        let mut bytes = [0; 4096];
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut room);
        let into = &mut [IoSliceMut::new(&mut bytes)];
        let message = recvmsg(&self.socket, into, &mut control, RecvFlags::CMSG_CLOEXEC);
        let length =
            message.unwrap_or_else(|e| panic!("nothing is told in {PATIENCE:?}: {e}")).bytes;
        let descriptors = control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => rights.collect(),
            _ => Vec::new(),
        });
        let descriptors = descriptors.collect();
        let text = String::from_utf8(bytes[..length].to_vec()).expect("text");
        Told { text, descriptors }
    }

    /// Expects that the next message is this one, with `N` for each number that depends on the time, and `T` for each
    /// time.
    #[track_caller]
    pub fn expect(&self, wanted: &str) -> Told {
        let told = self.next();
        assert_eq!(told.timeless(), wanted);
        told
    }

    /// Expects that a change begins, and that this is the status when it is over.
    #[track_caller]
    pub fn expect_change(&self, status: &str) -> Told {
        let begun = self.expect("RELOADING=1\nMONOTONIC_USEC=N\nSTATUS=changing what is served");
        self.expect(&format!("READY=1\nSTATUS={status}"));
        begun
    }
}

impl Told {
    /// The number behind `NAME=`.
    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        let value = self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    /// The message with `N` for each number that depends on the time, and `T` for each time.
    pub fn timeless(&self) -> String {
        let line = |line: &str| match line.split_once("USEC=") {
            Some((name, number)) if number.parse::<u64>().is_ok() => format!("{name}USEC=N"),
            _ => line.split(' ').map(word).collect::<Vec<_>>().join(" "),
        };
        self.text.lines().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// `T` in place of a time: `1.234ms`.
fn word(word: &str) -> String {
    let bare = word.trim_end_matches([';', ':']);
    let is_time = bare.ends_with('s') && bare.starts_with(|each: char| each.is_ascii_digit());
    if is_time { word.replacen(bare, "T", 1) } else { word.to_owned() }
}

/// Sockets as a service manager hands them over. Whoever made them goes on holding them.
#[derive(Debug)]
pub struct Handed(Vec<(String, OwnedFd)>);

/// Numbers that no child has for anything else.
const FROM: i32 = 100;

impl Handed {
    /// These sockets, with their names.
    pub fn new(sockets: &[(&str, &dyn AsFd)]) -> Self {
        let inherited = |(name, socket): &(&str, &dyn AsFd)| {
            let copy = fcntl_dupfd_cloexec(socket.as_fd(), FROM).expect("a descriptor");
            fcntl_setfd(&copy, FdFlags::empty()).expect("it is open");
            ((*name).to_owned(), copy)
        };
        Self(sockets.iter().map(inherited).collect())
    }

    /// The words for [`Serve::under`](super::serve::Serve::under). They count as long as this lives.
    pub fn words(&self) -> [String; 3] {
        let names: Vec<_> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        let numbers = self.0.iter().map(|(_, socket)| socket.as_raw_fd());
        let moves: Vec<_> =
            numbers.zip(3..).map(|(from, to)| format!("{to}<&{from} {from}<&-")).collect();
        let script = format!(
            "exec {}; LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={} exec \"$0\" \"$@\"",
            moves.join(" "),
            names.len(),
            names.join(":")
        );
        ["bash".into(), "-c".into(), script]
    }
}
