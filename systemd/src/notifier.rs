//! The way to the service manager: a datagram for each message, and no wait.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{self, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, sendmsg_addr, socket_with,
};
use tracing::{debug, warn};

use super::message::Message;

const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Messages that wait until the service manager reads. It reads soon, or is gone.
const MOST_WAITING: usize = 64;

/// Tells the service manager. Without one it tells nobody. Cheap to clone. No call ever waits: what the service manager
/// does not take now goes before the next message.
#[derive(Clone, Debug, Default)]
pub struct Notifier(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    socket: OwnedFd,
    address: SocketAddrUnix,
    state: Mutex<LineState>,
}

#[derive(Debug, Default)]
struct LineState {
    waiting: VecDeque<Parcel>,
    /// It is said once that the service manager cannot be reached.
    failed: bool,
    /// Another process is the service now.
    silent: bool,
}

#[derive(Debug)]
struct Parcel {
    message: Message,
    descriptor: Option<OwnedFd>,
}

impl Notifier {
    /// The way that the environment names. If there is none, or it cannot be used, which is logged, nobody is told.
    #[must_use]
    pub fn from_env() -> Self {
        let Some(name) = env::var_os(NOTIFY_SOCKET).filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        Self::to(&name).unwrap_or_else(|why| {
            warn!(?name, %why, "the service manager is told nothing: {NOTIFY_SOCKET} cannot be used");
            Self::default()
        })
    }

    /// The way to the socket of this name: a path, or `@` and the name of an abstract one.
    ///
    /// # Errors
    /// The name is of another kind (`vsock:`), or no socket can be made.
    pub fn to(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
            [b'/', ..] => SocketAddrUnix::new(name)?,
            _ => {
                let why = "neither a path nor an abstract name";
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        Ok(Self(Some(Arc::new(Line { socket, address, state: Mutex::default() }))))
    }

    /// Whether there is somebody to tell.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// Tells `message`.
    pub fn tell(&self, message: Message) {
        self.send(Parcel { message, descriptor: None });
    }

    /// Tells what waits, and gives whether nothing waits any more.
    pub fn flush(&self) -> bool {
        self.0.as_ref().is_none_or(|line| {
            let mut state = line.state();
            line.flush(&mut state);
            state.waiting.is_empty()
        })
    }

    /// Has the service manager keep another handle of `descriptor` for the process that comes after this one, which gets
    /// it among its [`HandedSockets`](super::HandedSockets).
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn store(&self, name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        if self.is_heard() {
            let descriptor = Some(descriptor.try_clone_to_owned()?);
            self.send(Parcel { message: Message::new().store(name), descriptor });
        }
        Ok(())
    }

    /// Makes another process the service. From now on this one says nothing: a service that hands over does not stop.
    /// The service manager listens to the new one once it has read this (`NotifyAccess=main`), so it has to be told
    /// before the new one says that it is ready. What is given says when it has read it.
    pub fn main_pid(&self, pid: u32) -> Barrier {
        let Some(line) = &self.0 else { return Barrier::default() };
        self.tell(Message::new().main_pid(pid));
        // Without a descriptor it is known only that the message has left.
        let pipe = io::pipe().ok().map(|(ours, theirs)| (ours.into(), theirs.into()));
        let (ours, theirs): (Option<OwnedFd>, Option<OwnedFd>) = pipe.unzip();
        if theirs.is_some() {
            self.send(Parcel { message: Message::new().barrier(), descriptor: theirs });
        }
        if pid != process::id() {
            line.state().silent = true;
        }
        Barrier { notifier: self.clone(), open: ours }
    }

    fn send(&self, parcel: Parcel) {
        let Some(line) = &self.0 else { return };
        let mut state = line.state();
        if state.silent {
            return;
        }
        debug!(message = ?parcel.message, "the service manager is told");
        state.waiting.push_back(parcel);
        line.flush(&mut state);
        if state.waiting.len() > MOST_WAITING {
            state.waiting.pop_front();
            line.complain(&mut state, &"it does not read");
        }
    }
}

/// Whether the service manager has read what it was told.
#[derive(Debug, Default)]
pub struct Barrier {
    notifier: Notifier,
    /// The other end of it was sent: it is closed once nobody has it any more.
    open: Option<OwnedFd>,
}

impl Barrier {
    /// Tells what waits, and gives whether everything has been read.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.notifier.flush() && self.open.as_ref().is_none_or(is_hung_up)
    }
}

fn is_hung_up(pipe: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(pipe, PollFlags::IN)];
    poll(&mut asked, Some(&Timespec::default())).is_ok_and(|found| found > 0)
}

impl Line {
    fn state(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what waits, in its order, as far as it is taken.
    fn flush(&self, state: &mut LineState) {
        while let Some(parcel) = state.waiting.pop_front() {
            match self.try_send(&parcel) {
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => {
                    state.waiting.push_front(parcel);
                    return;
                }
                Err(why) => self.complain(state, &why),
            }
        }
    }

    fn try_send(&self, Parcel { message, descriptor }: &Parcel) -> Result<(), Errno> {
        let descriptors: Vec<_> = descriptor.iter().map(|it| it.as_fd()).collect();
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut room);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let bytes = [IoSlice::new(message.bytes())];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        sendmsg_addr(&self.socket, &self.address, &bytes, &mut control, flags).map(drop)
    }

    fn complain(&self, state: &mut LineState, why: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut state.failed, true) {
            warn!(address = ?self.address, %why, "the service manager cannot be told; this is logged once");
        }
    }
}

/// Prepares the environment of a process that is to become the service in place of this one ([`Notifier::main_pid`]): it
/// has the same service manager, and is to give signs of life as often. Sockets are handed to it in another way.
pub fn prepare_successor(command: &mut Command) {
    for name in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        command.env_remove(name);
    }
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn read(manager: &UnixDatagram) -> String {
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = [0; 4096];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_path_and_an_abstract_name_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        Notifier::to(path.as_os_str()).unwrap().tell(Message::new().ready());
        assert_eq!(read(&manager), "READY=1");
        let name = format!("host-systemd-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        Notifier::to(format!("@{name}").as_ref()).unwrap().tell(Message::new().stopping());
        assert_eq!(read(&manager), "STOPPING=1");
    }

    #[test]
    fn another_kind_of_address_is_refused_and_nobody_is_told_without_one() {
        let why = Notifier::to("vsock:2:9".as_ref()).unwrap_err();
        assert_eq!(why.kind(), io::ErrorKind::Unsupported);
        let nobody = Notifier::default();
        nobody.tell(Message::new().ready());
        assert!(!nobody.is_heard());
    }

    /// A service manager that does not read for a while, and one that is gone: a stop must not wait for either.
    #[test]
    fn nothing_waits_for_a_service_manager_that_does_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str()).unwrap();
        // More than the kernel queues (net.unix.max_dgram_qlen is 10 to 512).
        let waiting = || notifier.0.as_ref().unwrap().state().waiting.len();
        let mut told = 0;
        while waiting() == 0 {
            told += 1;
            notifier.tell(Message::new().status(&told.to_string()));
        }
        notifier.tell(Message::new().stopping());
        for number in 1..=told {
            notifier.flush();
            assert_eq!(read(&manager), format!("STATUS={number}"), "none is lost");
        }
        notifier.flush();
        assert_eq!(read(&manager), "STOPPING=1");
        drop(manager);
        notifier.tell(Message::new().ready());
        assert!(notifier.0.as_ref().unwrap().state().failed);
    }

    #[test]
    fn what_is_stored_comes_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str()).unwrap();
        notifier.store("kept-http", notifier.0.as_ref().unwrap().socket.as_fd()).unwrap();
        assert_eq!(read(&manager), "FDSTORE=1\nFDNAME=kept-http");
    }

    /// It drains on, and would say that the service stops.
    #[test]
    fn who_has_handed_over_says_nothing_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str()).unwrap();
        drop(notifier.main_pid(process::id()));
        let barrier = notifier.main_pid(1);
        notifier.tell(Message::new().stopping());
        Notifier::to(path.as_os_str()).unwrap().tell(Message::new().ready());
        let pid = process::id();
        for expected in
            [&format!("MAINPID={pid}"), "BARRIER=1", "MAINPID=1", "BARRIER=1", "READY=1"]
        {
            assert_eq!(barrier.is_passed(), expected == "READY=1");
            assert_eq!(read(&manager), expected);
        }
    }

    #[test]
    fn who_has_no_service_manager_waits_for_none() {
        assert!(Notifier::default().main_pid(1).is_passed());
    }
}
