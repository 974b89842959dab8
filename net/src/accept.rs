//! Accepting: one loop per listener, which nothing but the drain ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use host_lifecycle::{GateWatch, Phase};
use host_system::descriptors;
use host_system::shortage::{PastShortage, Shortage};
use socket2::Socket as RawSocket;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, info, warn};

use super::adopt::Adopter;
use super::context::ConnectionContext;
use super::listener::Listener;
use super::proxy_protocol::ExpectedHeader;
use super::queue::{ListenerHandle, Queue, QueueSocket};
use super::registry::ConnectionEntry;
use super::room::Turn;
use super::service::Service;
use super::socket::Socket;
use super::tls::TlsConfigs;
use super::{connection, listener_drain};

/// When the process or the machine is out of something that connections need, accepting again at
/// once would only spin.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// After an error of one connection: nothing to a server, and enough not to spin if it lasts.
const FAILED_PAUSE: Duration = Duration::from_millis(1);

/// Accepts connections of one listener and starts their tasks.
#[derive(Debug)]
pub struct Acceptor<S> {
    queue: Arc<Queue>,
    name: Arc<str>,
    context: ConnectionContext,
    service: S,
    tls: Option<TlsConfigs>,
    header: Option<Arc<ExpectedHeader>>,
    shortage: Shortage,
}

impl<S: Service> Acceptor<S> {
    /// Takes over a listener. To be called inside the runtime that will run it.
    ///
    /// # Errors
    /// When the reactor does not take the socket.
    pub fn new(listener: Listener, context: ConnectionContext, service: S) -> io::Result<Self> {
        let name = listener.address().into();
        let (tls, header) = (listener.tls.clone(), listener.header.clone());
        let queue = Queue::new(listener, &context.gate)?;
        Ok(Self { queue, name, context, service, tls, header, shortage: Shortage::default() })
    }

    /// A handle of the listener, for who hands it on.
    #[must_use]
    pub fn handle(&self) -> ListenerHandle {
        ListenerHandle::new(&self.queue)
    }

    /// Takes in connections that were accepted elsewhere.
    #[must_use]
    pub fn adopter(&self) -> Adopter<S> {
        Adopter::new(self.name.clone(), self.context.clone(), self.service.clone())
    }

    /// Accepts until the drain begins, then closes the door without losing who is in the queue; while the gate is shut
    /// another process accepts, and while that one may take the listener back the door stays open. `open` is dropped when
    /// the door is closed.
    pub async fn run(self, open: TaskTrackerToken) {
        let mut gate = self.queue.gate.watch();
        let mut may_accept = false;
        loop {
            if !self.queue.gate.is_open() && !self.stand_by(&mut gate).await {
                break;
            }
            if !may_accept {
                may_accept = self.context.clients.wait_for_accept(&self.context.phase).await;
            }
            tokio::select! {
                biased;
                () = self.may_close() => break,
                () = gate.until(false) => {}
                accepted = self.accept() => match accepted {
                    Ok((socket, turn)) => {
                        may_accept = false;
                        self.spare().await;
                        self.start(socket, turn);
                    }
                    Err(why) => self.pause(&why).await,
                },
            }
        }
        self.close().await;
        drop(open);
    }

    /// Waits until the drain has begun and the door is ours, or all is cut.
    async fn may_close(&self) {
        self.context.phase.reached(Phase::Draining).await;
        let mut gate = self.queue.gate.watch();
        tokio::select! {
            () = gate.settled() => {}
            () = self.context.phase.reached(Phase::Cut) => {}
        }
    }

    /// Waits while another process accepts, or until the drain begins. Gives whether this one accepts: who does has the
    /// path.
    async fn stand_by(&self, gate: &mut GateWatch) -> bool {
        tokio::select! {
            biased;
            () = self.context.phase.reached(Phase::Draining) => false,
            () = gate.until(true) => {
                self.queue.path.as_ref().inspect(|path| path.own());
                true
            }
        }
    }

    /// Takes the next connection from the queue, when it is its turn. Cancel-safe.
    async fn accept(&self) -> io::Result<(Socket, Turn)> {
        let turn = self.context.room.turn().await;
        Ok((self.queue.accept().await?, turn))
    }

    /// Starts a connection's task. Its guard in the tracker says that it is alive; the task owns
    /// the socket and ends with the connection.
    fn start(&self, socket: Socket, turn: Turn) {
        if let Err(why) = socket.no_delay() {
            debug!(%why, "a connection was gone before it began");
            return;
        }
        self.context.counts.accepted(self.queue.transport());
        let entry = entry(&socket, &self.name);
        let guard = self.context.connections.guard(entry.clone());
        let (context, service) = (self.context.clone(), self.service.clone());
        let socket = (socket, self.header.clone(), self.tls.clone());
        tokio::spawn(connection::serve(socket, context, service, turn, entry, guard));
    }

    /// Starts one that was taken from the queue past the reactor.
    fn start_raw(&self, socket: io::Result<Socket>) {
        match socket {
            Ok(socket) => self.start(socket, self.context.room.turn_now()),
            Err(why) => warn!(%why, "a connection from the queue cannot be served"),
        }
    }

    /// An error of accept(2) is that of one connection, which is gone, or of the whole process,
    /// which needs a moment; none ends the loop.
    async fn pause(&self, why: &io::Error) {
        if !listener_drain::is_exhaustion(why) {
            debug!(%why, "a connection was gone before it was accepted");
            sleep(FAILED_PAUSE).await;
            return;
        }
        self.wait_for_more(why).await;
    }

    /// Keeps what has just been accepted waiting as long as it has a descriptor that the host keeps for
    /// itself: guests have taken too many. A drain asks for none.
    async fn spare(&self) {
        while !descriptors::are_left_for_connections() {
            if self.context.phase.now() >= Phase::Draining {
                return;
            }
            self.wait_for_more(&io::Error::from_raw_os_error(libc::EMFILE)).await;
        }
        if let Some(PastShortage { lasted, times }) = self.shortage.take_past() {
            info!(addr = &*self.name, ?lasted, times, "accepts again");
        }
    }

    /// Says once that there is a shortage, until it is over.
    async fn wait_for_more(&self, why: &io::Error) {
        if self.shortage.met() {
            warn!(%why, addr = &*self.name, "cannot accept; tried again every {EXHAUSTED_PAUSE:?}");
        }
        tokio::select! {
            () = sleep(EXHAUSTED_PAUSE) => {}
            () = self.context.phase.reached(Phase::Draining) => {}
        }
    }

    /// Empties the queue and closes. A cut ends the wait for what cannot be reached. What is others' is left to them.
    async fn close(&self) {
        if self.queue.is_others() {
            self.queue.path.as_ref().inspect(|path| path.disown());
            info!(addr = &*self.name, "stop: listener left to who holds it too");
            return;
        }
        let lost = tokio::select! {
            biased;
            (from_queue, lost) = self.empty() => {
                info!(addr = &*self.name, from_queue, "stop: listener closed");
                lost
            }
            () = self.context.phase.reached(Phase::Cut) => {
                warn!(addr = &*self.name, "stop: listener closed with its queue out of reach");
                self.left_in().await
            }
        };
        self.count(lost);
    }

    /// How many were taken from the queue, and how many peers the close may reset.
    async fn empty(&self) -> (usize, usize) {
        let mut admitted = 0;
        let queue = self.queue.sock_ref();
        let lost = match self.queue.socket() {
            QueueSocket::Tcp(_) => {
                let admit = |socket| {
                    admitted += 1;
                    self.start_raw(tcp(socket));
                };
                listener_drain::empty_tcp(&queue, admit).await
            }
            QueueSocket::Unix(_) => {
                self.queue.path.as_ref().inspect(|path| path.remove());
                let admit = |socket| {
                    admitted += 1;
                    self.start_raw(unix(socket));
                };
                listener_drain::empty_unix(&queue, admit).await;
                0
            }
        };
        (admitted, lost)
    }

    /// How many peers are reset by a close in the middle of all that.
    async fn left_in(&self) -> usize {
        listener_drain::left_in(&self.queue.sock_ref()).await
    }

    /// Takes peers whose connection the close may reset for connections that are dropped with bytes
    /// owed on them: they may have sent a request.
    fn count(&self, lost: usize) {
        if lost == 0 {
            return;
        }
        warn!(addr = &*self.name, lost, "stop: connections given up before they were accepted");
        for _ in 0..lost {
            self.context.counts.accepted(self.queue.transport());
            let mut gone =
                self.context.connections.guard(ConnectionEntry::new(None, self.name.clone()));
            gone.mark_cut();
        }
    }
}

/// Hands a raw socket to tokio.
fn tcp(socket: RawSocket) -> io::Result<Socket> {
    socket.set_nonblocking(true)?;
    TcpStream::from_std(socket.into()).map(Socket::Tcp)
}

fn unix(socket: RawSocket) -> io::Result<Socket> {
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket.into()).map(Socket::Unix)
}

/// The entry of a connection in the registry.
fn entry(socket: &Socket, listener: &Arc<str>) -> Arc<ConnectionEntry> {
    let peer = match socket {
        Socket::Tcp(stream) => stream.peer_addr().ok(),
        Socket::Unix(_) => None,
    };
    ConnectionEntry::new(peer, listener.clone())
}
