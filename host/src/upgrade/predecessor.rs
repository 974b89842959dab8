//! The host that this process is to take over from.

use std::convert::Infallible;
use std::env;
use std::future::pending;
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, anyhow, bail};
use bytes::BytesMut;
use host_certs::TicketKeys;
use host_handover::{
    Channel, ChannelError, ConnectionFacts, HandoverMessage, Hello, ListenerFacts, ListenerKind,
    ListenerOrigin, PROTOCOL, StopPoint,
};
use host_lifecycle::{AcceptGate, Cause, Commander, Phase, PhaseWatch};
use host_net::{IdleConnection, Peer, SocketOrigin};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::STEP_WITHIN;
use super::first_to_kill::FirstToKill;
use super::offers::Offers;
use super::process_handle::ProcessHandle;

/// A host that has this in its environment takes over from the one at the other end of its standard input.
pub(super) const TAKE_OVER: &str = "HOST_TAKE_OVER";

/// The host that this one takes over from. Dropping it leaves everything to that one.
#[derive(Debug)]
pub(crate) struct Predecessor {
    channel: Channel,
    hello: Hello,
    given: Mutex<Vec<Given>>,
    process: io::Result<ProcessHandle>,
    /// While there is somebody else who serves.
    spared: Mutex<Option<FirstToKill>>,
}

/// A listener that the predecessor has.
#[derive(Debug)]
struct Given {
    facts: ListenerFacts,
    /// None once it is taken.
    descriptors: Option<(OwnedFd, Option<OwnedFd>)>,
}

/// A listener that is taken over.
#[derive(Debug)]
pub(crate) struct GivenListener {
    pub(crate) socket: OwnedFd,
    pub(crate) lock: Option<OwnedFd>,
    pub(crate) origin: SocketOrigin,
}

impl Predecessor {
    /// Whether the environment names one.
    pub(crate) fn is_named() -> bool {
        env::var_os(TAKE_OVER).is_some()
    }

    /// Meets the one that the environment speaks of, if it speaks of one. Blocks; what follows runs on `runtime`.
    ///
    /// # Errors
    /// When it cannot be understood, or has ended.
    pub(crate) fn meet(runtime: &Handle) -> anyhow::Result<Option<Self>> {
        if !Self::is_named() {
            return Ok(None);
        }
        StopPoint::NewStarted.reached();
        let socket = rustix::stdio::stdin().try_clone_to_owned()?;
        let met = runtime.block_on(async {
            let channel = Channel::new(socket).context("its standard input")?;
            hide_stdin()?;
            Self::greet(channel).await
        });
        met.map(Some).with_context(|| {
            format!("{TAKE_OVER} is set, which a host does that is upgraded, and there is none to take over from")
        })
    }

    async fn greet(channel: Channel) -> anyhow::Result<Self> {
        let (said, _) = channel.receive("hello", STEP_WITHIN).await?;
        let HandoverMessage::Hello(hello) = said else {
            bail!(ChannelError::unexpected(&said, "hello"))
        };
        let ours = Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").into(),
            pid: process::id(),
        };
        channel.send(&HandoverMessage::Hello(ours), &[]).await?;
        StopPoint::NewHello.reached();
        let mut given = Vec::new();
        loop {
            let (said, descriptors) = channel.receive("listeners", STEP_WITHIN).await?;
            let HandoverMessage::Listeners(part) = said else {
                bail!(ChannelError::unexpected(&said, "listeners"))
            };
            if part.is_empty() {
                break;
            }
            let mut descriptors = descriptors.into_iter();
            for facts in part {
                let socket = descriptors.next().context("a listener came without its socket")?;
                let lock = if facts.has_lock { descriptors.next() } else { None };
                given.push(Given { facts, descriptors: Some((socket, lock)) });
            }
        }
        StopPoint::NewListeners.reached();
        let spared = Mutex::new(Some(FirstToKill::begin()));
        let pid = i32::try_from(hello.pid).ok().and_then(Pid::from_raw);
        let process = pid.ok_or(Errno::SRCH).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let process = process.map_err(io::Error::from).and_then(ProcessHandle::new);
        Ok(Self { channel, hello, given: Mutex::new(given), process, spared })
    }

    /// The number of its process, and its version.
    pub(crate) fn who(&self) -> (u32, &str) {
        (self.hello.pid, &self.hello.version)
    }

    /// The listener of this kind that is configured to be at this address, if the predecessor has it.
    pub(crate) fn take(&self, kind: ListenerKind, address: &str) -> Option<GivenListener> {
        let mut given = self.given();
        let is_it = |given: &&mut Given| {
            let facts = &given.facts;
            given.descriptors.is_some() && facts.kind == kind && facts.address == address
        };
        let found = given.iter_mut().find(is_it)?;
        let (socket, lock) = found.descriptors.take()?;
        let origin = match found.facts.origin {
            ListenerOrigin::Bound => SocketOrigin::Bound,
            ListenerOrigin::Inherited => SocketOrigin::Inherited,
        };
        Some(GivenListener { socket, lock, origin })
    }

    /// Tells the one that the environment speaks of why this process will not even meet it. Blocks.
    pub(crate) fn refuse(why: &str) {
        let tell = async {
            let socket = rustix::stdio::stdin().try_clone_to_owned()?;
            let no = HandoverMessage::No { why: why.to_owned() };
            anyhow::Ok(Channel::new(socket)?.send(&no, &[]).await?)
        };
        // It may be threads that there are none of.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Err(why) = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(tell)) {
            debug!(%why, "upgrade: the old host cannot be told");
        }
    }

    /// Tells it that this process will not come up.
    pub(crate) async fn say_no(&self, why: &str) {
        let told = self.channel.send(&HandoverMessage::No { why: why.to_owned() }, &[]).await;
        drop(told);
    }

    /// Says that everything serves, and waits for its word; then accepts. Returns once this process accepts.
    ///
    /// # Errors
    /// When it says neither, or something else. If it has ended, its listeners are nobody's but ours.
    pub(crate) async fn take_over(
        &self,
        gate: &AcceptGate,
        tickets: Option<&TicketKeys>,
    ) -> anyhow::Result<()> {
        let uses = self.leave_the_rest();
        match self.channel.send(&HandoverMessage::Ready { uses }, &[]).await {
            Ok(()) => StopPoint::NewReady.reached(),
            Err(why) => debug!(%why, "upgrade: the old host is gone"),
        }
        let (pid, version) = self.who();
        match self.channel.receive("yours", STEP_WITHIN).await {
            Ok((HandoverMessage::Yours { tickets: keys }, _)) => {
                StopPoint::NewYours.reached();
                if let Some(tickets) = tickets.filter(|_| !keys.is_empty())
                    && !tickets.replace(&keys)
                {
                    warn!("upgrade: the keys of TLS tickets cannot be read; sessions begin anew");
                }
                info!(pid, version, "upgrade: takes over");
            }
            Err(ChannelError::Closed) if self.has_ended().await => {
                warn!(pid, version, "upgrade: the old host has ended; takes over");
            }
            Err(ChannelError::Closed) => {
                bail!("the old host serves on, and has given this process up")
            }
            Ok((said, _)) => bail!(ChannelError::unexpected(&said, "yours")),
            Err(why) => return Err(anyhow!(why).context("the host that is to be taken over from")),
        }
        gate.open();
        drop(self.spared.lock().unwrap_or_else(PoisonError::into_inner).take());
        StopPoint::NewOpen.reached();
        // Where nobody listens any more, nobody has to know.
        self.channel.send(&HandoverMessage::Accepting, &[]).await.ok();
        StopPoint::NewAccepting.reached();
        Ok(())
    }

    /// Whether it is its end that has closed the channel: a process closes what it has a moment before it is gone.
    async fn has_ended(&self) -> bool {
        match &self.process {
            Ok(process) => timeout(STEP_WITHIN, process.gone()).await.is_ok(),
            Err(why) => Errno::from_io_error(why) == Some(Errno::SRCH),
        }
    }

    /// Goes on with its connections until it has ended, and gives how many there were; none if it lives, and hands on
    /// nothing more. `settled` is called once there is no way back. When this process is cut, the other one is too; if the
    /// other one was to stop, this one is.
    pub(crate) async fn outlive(
        &self,
        offers: &Offers,
        (phase, commander): (&PhaseWatch, &Commander),
        settled: impl FnOnce() + Send,
    ) -> Option<u64> {
        let (mut connections, mut settled) = (0, Some(settled));
        // Messages with connections, and those that found no descriptors.
        let (mut messages, mut lost) = (0, Vec::new());
        let mut cut = pin!(self.cut_with(phase));
        let ended = loop {
            let said = tokio::select! {
                said = self.channel.receive_next() => said,
                never = &mut cut => match never {},
            };
            match said {
                Ok((HandoverMessage::Connections(facts), sockets)) => {
                    connections += self.adopt(offers, facts, sockets);
                    messages += 1;
                    StopPoint::NewConnections.reached();
                }
                Ok((HandoverMessage::Done, _)) => {
                    self.say_taken(connections, mem::take(&mut lost)).await;
                }
                Ok((HandoverMessage::Settled, _)) => {
                    if let Some(settled) = settled.take() {
                        settled();
                    }
                }
                Ok((HandoverMessage::Stop, _)) => commander.stop(Cause::Predecessor),
                Ok((HandoverMessage::Drained, _)) => {
                    info!(connections, "upgrade: the old host serves nobody any more");
                    break None;
                }
                Ok((said, _)) => warn!(said = said.name(), "upgrade: not understood"),
                Err(ChannelError::Closed) => break Some(connections),
                Err(why) if why.is_of_one_message() => {
                    // Up to *done* the other one has them still.
                    warn!(%why, "upgrade: connections of the old host cannot be taken");
                    lost.push(messages);
                    messages += 1;
                }
                Err(why) => {
                    warn!(%why, "upgrade: the old host is not listened to any more");
                    // So it keeps its connections.
                    self.channel.close();
                    break None;
                }
            }
        };
        if let Some(settled) = settled {
            settled();
        }
        ended
    }

    async fn say_taken(&self, connections: u64, lost: Vec<usize>) {
        StopPoint::NewDone.reached();
        self.channel.send(&HandoverMessage::Taken { connections, lost }, &[]).await.ok();
        StopPoint::NewTaken.reached();
    }

    /// Ends it at once when this process is cut.
    async fn cut_with(&self, phase: &PhaseWatch) -> Infallible {
        phase.reached(Phase::Cut).await;
        warn!(pid = self.hello.pid, "upgrade: cuts the old host");
        match self.process.as_ref().map(|process| process.signal(Signal::QUIT)) {
            Ok(Ok(())) => {}
            Ok(Err(why)) => debug!(%why, "upgrade: the old host cannot be told"),
            Err(why) => debug!(%why, "upgrade: the old host cannot be told"),
        }
        pending().await
    }

    /// Gives how many there were.
    fn adopt(&self, offers: &Offers, facts: Vec<ConnectionFacts>, sockets: Vec<OwnedFd>) -> u64 {
        let addresses: Vec<_> =
            self.given().iter().map(|given| given.facts.address.clone()).collect();
        let mut count = 0;
        for (facts, socket) in facts.into_iter().zip(sockets) {
            let address = addresses.get(facts.listener).map(String::as_str);
            if let Err(why) = offers.adopt(address, idle(&facts, socket)) {
                debug!(%why, "a connection of the old host cannot be served");
            }
            count += 1;
        }
        count
    }

    /// Gives the places of the listeners that this process uses. The others are left to the predecessor: as long as they
    /// were open here, their addresses would be taken, and nobody would answer there.
    fn leave_the_rest(&self) -> Vec<usize> {
        let mut given = self.given();
        let left = given.iter_mut().map(|given| given.descriptors.take());
        let is_used = left.map(|left| left.is_none()).enumerate();
        is_used.filter(|(_, is_used)| *is_used).map(|(place, _)| place).collect()
    }

    fn given(&self) -> MutexGuard<'_, Vec<Given>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn idle(facts: &ConnectionFacts, socket: OwnedFd) -> IdleConnection {
    let peer = Peer {
        address: facts.peer,
        proxy: facts.proxy,
        is_secured_by_proxy: facts.is_secured_by_proxy,
        tls: None,
    };
    let ahead = BytesMut::from(&*facts.ahead);
    IdleConnection::new(socket, "the old host".into(), peer, (facts.served, ahead))
}

/// Processes that this one starts are not to hold the channel.
fn hide_stdin() -> io::Result<()> {
    let nothing = std::fs::File::open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdin(nothing)?)
}
