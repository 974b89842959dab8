//! The host that is upgraded: starts its successor, hands everything over, and takes it back if the other fails.

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use host_certs::CertificateStore;
use host_handover::{Channel, ChannelError, HandoverMessage, StopPoint};
use host_keyvalue::Stores;
use host_lifecycle::{
    AcceptGate, Commander, ListenerGate, Phase, PhaseWatch, SignalWatch, Trackers,
};
use host_net::Handing;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use super::STEP_WITHIN;
use super::idle::IdleConnections;
use super::offers::{Gathered, Offers};
use super::order::{OwnProgram, ToldOfUpgrade, UpgradeError, UpgradeOrder, Upgraded};
use super::outlives::outlives_us;
use super::successor::Successor;
use super::talk::{WHILE_TAKING, failed, given_up, greet, send, send_listeners};

/// From the start of the new process until it is ready, unless something else is asked for. It is more than one compile
/// may take (`compile-timeout`, 5 min).
const READY_WITHIN: Duration = Duration::from_secs(360);

/// Upgrades this process. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Upgrader(pub(super) Arc<UpgradeParts>);

/// What an upgrade moves.
#[derive(Debug)]
pub(crate) struct UpgradeParts {
    pub(crate) own: OwnProgram,
    pub(crate) offers: Offers,
    pub(crate) gate: AcceptGate,
    pub(crate) handing: Handing,
    pub(crate) stores: Stores,
    pub(crate) phase: PhaseWatch,
    pub(crate) trackers: Trackers,
    pub(crate) commander: Commander,
    /// Empty while the process starts.
    pub(crate) certificates: OnceLock<Arc<CertificateStore>>,
    /// Who tells the service manager.
    pub(crate) told: ToldOfUpgrade,
    /// Held by the upgrade that is under way.
    pub(crate) running: Mutex<()>,
    /// The number of the process that has taken over, and the channel, whose end tells that one of the end of this process.
    pub(crate) succeeded_by: OnceLock<(u32, Arc<Channel>)>,
}

const OUT_OF_SERVICE: &str = "the host was taken out of service by hand, and a new process would be in service: put it \
                              back first (host ctl undrain)";

impl Upgrader {
    /// What upgrades with these parts.
    pub(crate) fn new(parts: UpgradeParts) -> Self {
        Self(Arc::new(parts))
    }

    /// The listeners that a successor may take.
    pub(crate) fn offers(&self) -> &Offers {
        &self.0.offers
    }

    /// Whether this process accepts.
    pub(crate) fn gate(&self) -> &AcceptGate {
        &self.0.gate
    }

    /// The gate of one listener, which a predecessor holds too, or does not.
    pub(crate) fn gate_of(&self, is_shared: bool) -> ListenerGate {
        self.0.gate.of_listener(is_shared)
    }

    /// Where connections learn that they go over.
    pub(crate) fn handing(&self) -> &Handing {
        &self.0.handing
    }

    /// Takes note of the certificates, whose tickets a successor is to open too.
    pub(crate) fn set_certificates(&self, certificates: Arc<CertificateStore>) {
        // They are loaded once.
        self.0.certificates.set(certificates).ok();
    }

    /// Those, if they are loaded.
    pub(crate) fn certificates(&self) -> Option<&Arc<CertificateStore>> {
        self.0.certificates.get()
    }

    /// Why this process is not the one to ask any more, if another one has taken over.
    pub(crate) fn succeeded(&self) -> Option<UpgradeError> {
        self.0.succeeded_by.get().map(|(pid, _)| UpgradeError::Succeeded(*pid))
    }

    /// Upgrades at each of these signals, to what is now at the place of this program.
    pub(crate) async fn upgrade_on(self, signals: SignalWatch) {
        loop {
            signals.next().await;
            // It is in the log.
            drop(self.upgrade(UpgradeOrder::default()).await);
        }
    }

    /// Has a new process take over, and leaves. Ends when there is no way back: what is still in flight here finishes
    /// behind that.
    ///
    /// # Errors
    /// When no process has taken over. This one goes on as if nothing had been asked.
    pub(crate) async fn upgrade(&self, order: UpgradeOrder) -> Result<Upgraded, UpgradeError> {
        let upgraded = self.try_upgrade(order).await;
        match &upgraded {
            Ok(Upgraded { pid, version, connections, took }) => {
                info!(
                    pid,
                    version,
                    connections,
                    ?took,
                    "upgrade: the new process has taken over; draining"
                );
            }
            Err(why) => error!("upgrade: this process goes on: {why}"),
        }
        upgraded
    }

    async fn try_upgrade(&self, order: UpgradeOrder) -> Result<Upgraded, UpgradeError> {
        let Self(parts) = self;
        let _alone = parts.running.try_lock().map_err(|_| UpgradeError::UnderWay)?;
        self.succeeded().map_or(Ok(()), Err)?;
        parts.check_phase()?;
        // One after the other: the predecessor says *settled* as it tells that it has left.
        timeout(STEP_WITHIN, parts.gate.settled())
            .await
            .map_err(|_| UpgradeError::NotNow("the old process has not left yet"))?;
        let (began, changes) = (Instant::now(), parts.changes());
        // A stop that comes meanwhile waits until the new process is gone, or is told to stop as well.
        let under_way = parts.trackers.upgrades.guard(Arc::new("an upgrade"));
        let gathered = parts.offers.gather().map_err(UpgradeError::NoDescriptors)?;
        let mut successor = tokio::select! {
            biased;
            started = Successor::start(&parts.own, &order) => started?,
            // It finds the channel closed.
            _ = parts.phase.stop_asked() => return Err(UpgradeError::Stopped),
        };
        let pid = successor.pid();
        info!(pid, "upgrade: a new process starts");
        StopPoint::OldSpawned.reached();
        let within = order.within.unwrap_or(READY_WITHIN);
        let prepared = parts.prepare(&mut successor, gathered, within).await;
        let Prepared { version, uses } = match prepared {
            Ok(prepared) => prepared,
            Err(why) => {
                parts.dismiss(&successor).await;
                return Err(why);
            }
        };
        let (connections, idle) = parts.hand_over(&mut successor, &uses).await?;
        let took = began.elapsed();
        self.leave(successor, idle, (changes, under_way)).await;
        Ok(Upgraded { pid, version, connections, took })
    }
}

/// A successor that is ready.
struct Prepared {
    version: String,
    /// The places of the listeners that it uses.
    uses: Vec<usize>,
}

impl UpgradeParts {
    fn check_phase(&self) -> Result<(), UpgradeError> {
        if self.phase.stopping().is_some() {
            return Err(UpgradeError::NotNow("the host is stopping"));
        }
        match self.phase.now() {
            Phase::Starting => {
                Err(UpgradeError::NotNow("the host is not ready yet; ask again when it is"))
            }
            Phase::Ready => outlives_us().map_err(UpgradeError::EndsService),
            Phase::LameDuck => Err(UpgradeError::NotNow(OUT_OF_SERVICE)),
            Phase::Draining | Phase::Cut => Err(UpgradeError::NotNow("the host is stopping")),
        }
    }

    /// Tells the successor what there is, and waits until it is ready. A stop ends the wait.
    async fn prepare(
        &self,
        successor: &mut Successor,
        gathered: Gathered,
        within: Duration,
    ) -> Result<Prepared, UpgradeError> {
        let prepare = async {
            let version = greet(successor, within.min(STEP_WITHIN)).await?;
            send_listeners(successor, gathered).await?;
            self.stores.share();
            StopPoint::OldListeners.reached();
            let said = successor.channel.receive("ready", within).await;
            match said {
                Ok((HandoverMessage::Ready { uses }, _)) => Ok(Prepared { version, uses }),
                said => Err(given_up(successor, said, "ready").await),
            }
        };
        let prepared = tokio::select! {
            biased;
            prepared = prepare => prepared?,
            _ = self.phase.stop_asked() => return Err(UpgradeError::Stopped),
        };
        StopPoint::OldReady.reached();
        match self.phase.now() {
            _ if self.phase.stopping().is_some() => Err(UpgradeError::Stopped),
            Phase::LameDuck => Err(UpgradeError::NotNow(OUT_OF_SERVICE)),
            _ => Ok(prepared),
        }
    }

    /// The successor accepts, this process does not any more, and idle connections go over. Takes all of it back if the
    /// successor fails.
    async fn hand_over(
        &self,
        successor: &mut Successor,
        uses: &[usize],
    ) -> Result<(u64, IdleConnections), UpgradeError> {
        self.offers.set_shared(uses);
        if let Err(why) = self.open_successor(successor).await {
            self.give_up(successor).await;
            return Err(why);
        }
        self.gate.shut();
        (self.told.hands_over)(true);
        StopPoint::OldShut.reached();
        // A stop that was asked for meanwhile is one of the successor too.
        self.commander.drain().ok();
        let mut idle = IdleConnections::begin(&self.handing, &self.trackers.connections);
        match self.send_idle(successor, &mut idle).await {
            Ok(connections) => Ok((connections, idle)),
            Err(why) => {
                self.give_up(successor).await;
                self.take_back(idle).await;
                Err(why)
            }
        }
    }

    /// Says *yours*. From here to the answer both accept.
    async fn open_successor(&self, successor: &mut Successor) -> Result<(), UpgradeError> {
        let certificates = self.certificates.get().filter(|store| !store.is_empty());
        let tickets = certificates.map(|store| store.tickets().export().to_vec());
        let yours = HandoverMessage::Yours { tickets: tickets.unwrap_or_default() };
        send(successor, &yours, &[], "before it took over").await?;
        StopPoint::OldYours.reached();
        match self.hear(successor, "accepting").await {
            Ok((HandoverMessage::Accepting, _)) => {
                StopPoint::OldAccepting.reached();
                Ok(())
            }
            said => Err(given_up(successor, said, "accepting").await),
        }
    }

    /// What the successor says next. It serves already, so a stop leaves it its time, and only a cut does not.
    async fn hear(
        &self,
        successor: &Successor,
        expected: &'static str,
    ) -> Result<(HandoverMessage, Vec<OwnedFd>), ChannelError> {
        let began = Instant::now();
        tokio::select! {
            biased;
            said = successor.channel.receive(expected, STEP_WITHIN) => said,
            () = self.phase.reached(Phase::Cut) => {
                Err(ChannelError::Late { within: began.elapsed(), expected })
            }
        }
    }

    async fn send_idle(
        &self,
        successor: &mut Successor,
        idle: &mut IdleConnections,
    ) -> Result<u64, UpgradeError> {
        let channel = &successor.channel;
        let sent = idle.send_all(channel, &self.offers, &self.trackers.connections).await;
        let sent = match sent {
            Ok(()) => channel.send(&HandoverMessage::Done, &[]).await,
            failed => failed,
        };
        if let Err(why) = sent {
            return Err(failed(successor, why, WHILE_TAKING).await);
        }
        StopPoint::OldDone.reached();
        match self.hear(successor, "taken").await {
            Ok((HandoverMessage::Taken { connections, lost }, _)) => {
                StopPoint::OldTaken.reached();
                // Behind this nobody knows how it ends.
                if !successor.channel.is_closed() {
                    successor.release().await;
                }
                // The last look back.
                match successor.channel.is_closed() {
                    false => {
                        idle.arrived_but(&lost);
                        Ok(connections)
                    }
                    true => Err(failed(successor, ChannelError::Closed, WHILE_TAKING).await),
                }
            }
            said => Err(given_up(successor, said, "taken").await),
        }
    }

    /// Ends a successor that serves nobody yet.
    async fn dismiss(&self, successor: &Successor) {
        successor.end_start().await;
        self.give_up(successor).await;
    }

    /// Ends the successor: listeners and databases are this process's alone again.
    async fn give_up(&self, successor: &Successor) {
        successor.kill().await;
        self.offers.set_shared(&[]);
        self.stores.keep();
    }

    /// The successor is gone. This process accepts again, and goes on with the connections that were on their way.
    async fn take_back(&self, idle: IdleConnections) {
        self.handing.end();
        self.gate.open();
        (self.told.hands_over)(false);
        self.commander.undrain().ok();
        let IdleConnections { mut coming, sent } = idle;
        let mut sent: Vec<_> = sent.into_iter().flatten().collect();
        while let Some(connection) = coming.recv().await {
            sent.push(connection);
        }
        let connections = sent.len();
        self.offers.adopt_all_again(sent);
        warn!(connections, "upgrade: taken back");
    }
}
