//! The host that this process is to take over from.

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, anyhow, bail};
use bytes::BytesMut;
use host_certs::TicketKeys;
use host_handover::{
    Channel, ChannelError, ConnectionFacts, HandoverMessage, Hello, ListenerFacts, ListenerKind,
    ListenerOrigin, PROTOCOL, StopPoint,
};
use host_lifecycle::AcceptGate;
use host_net::{IdleConnection, Peer, SocketOrigin};
use tokio::runtime::Handle;
use tracing::{debug, info, warn};

use super::STEP_WITHIN;
use super::offers::Offers;

/// A host that has this in its environment takes over from the one at the other end of its standard input.
pub(super) const TAKE_OVER: &str = "HOST_TAKE_OVER";

/// The host that this one takes over from. Dropping it leaves everything to that one.
#[derive(Debug)]
pub(crate) struct Predecessor {
    channel: Channel,
    hello: Hello,
    given: Mutex<Vec<Given>>,
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
        let HandoverMessage::Hello(hello) = said else { bail!(unexpected(&said, "hello")) };
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
                bail!(unexpected(&said, "listeners"))
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
        Ok(Self { channel, hello, given: Mutex::new(given) })
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
        let uses = self.uses();
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
            Err(ChannelError::Closed) => {
                warn!(pid, version, "upgrade: the old host has ended; takes over");
            }
            Ok((said, _)) => bail!(unexpected(&said, "yours")),
            Err(why) => return Err(anyhow!(why).context("the host that is to be taken over from")),
        }
        gate.open();
        StopPoint::NewOpen.reached();
        // Where nobody listens any more, nobody has to know.
        self.channel.send(&HandoverMessage::Accepting, &[]).await.ok();
        StopPoint::NewAccepting.reached();
        Ok(())
    }

    /// Goes on with its connections, until it has ended. `settled` is called once there is no way back.
    pub(crate) async fn outlive(&self, offers: &Offers, settled: impl FnOnce() + Send) {
        let (mut connections, mut settled) = (0, Some(settled));
        loop {
            match self.channel.receive_next().await {
                Ok((HandoverMessage::Connections(facts), sockets)) => {
                    connections += self.adopt(offers, facts, sockets);
                    StopPoint::NewConnections.reached();
                }
                Ok((HandoverMessage::Done, _)) => {
                    StopPoint::NewDone.reached();
                    self.channel.send(&HandoverMessage::Taken { connections }, &[]).await.ok();
                    StopPoint::NewTaken.reached();
                }
                Ok((HandoverMessage::Settled, _)) => {
                    if let Some(settled) = settled.take() {
                        settled();
                    }
                }
                Ok((said, _)) => warn!(said = said.name(), "upgrade: not understood"),
                Err(ChannelError::Closed) => break,
                Err(why) => {
                    warn!(%why, "upgrade: the old host is not listened to any more");
                    break;
                }
            }
        }
        if let Some(settled) = settled {
            settled();
        }
        info!(connections, "upgrade: the old host has ended");
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

    fn uses(&self) -> Vec<usize> {
        let given = self.given();
        let taken = given.iter().enumerate().filter(|(_, given)| given.descriptors.is_none());
        taken.map(|(place, _)| place).collect()
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

fn unexpected(said: &HandoverMessage, expected: &'static str) -> ChannelError {
    ChannelError::Unexpected { said: said.name().to_owned(), expected }
}
