//! Hands idle connections on, as many in one message as the kernel takes.

use std::mem;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use host_handover::{
    Channel, ChannelError, ConnectionFacts, HandoverMessage, MOST_DESCRIPTORS, StopPoint,
};
use host_lifecycle::Tracker;
use host_net::{Handing, IdleConnection};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::offers::Offers;

/// Connections that were idle come within this time. A worker may be busy with guests meanwhile; who comes later goes over
/// while the old host drains.
const IDLE_WITHIN: Duration = Duration::from_secs(5);

/// Between two looks at who is still to come.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Idle connections on their way over.
#[derive(Debug)]
pub(super) struct IdleConnections {
    pub(super) coming: UnboundedReceiver<IdleConnection>,
    /// Those that were sent, one message after the other, until it is known that they have arrived.
    pub(super) sent: Vec<Vec<IdleConnection>>,
}

impl IdleConnections {
    /// Has the connections of `tracker` go over.
    pub(super) fn begin(handing: &Handing, tracker: &Tracker) -> Self {
        Self { coming: handing.begin(tracker), sent: Vec::new() }
    }

    /// Sends all that are idle now, and keeps them.
    pub(super) async fn send_all(
        &mut self,
        channel: &Channel,
        offers: &Offers,
        tracker: &Tracker,
    ) -> Result<(), ChannelError> {
        let deadline = Instant::now() + IDLE_WITHIN;
        let mut batch = Vec::with_capacity(MOST_DESCRIPTORS);
        loop {
            let more = self.coming.recv_many(&mut batch, MOST_DESCRIPTORS);
            if timeout(LOOK_AGAIN, more).await.is_err() {
                if !Handing::is_awaited(tracker) {
                    return Ok(());
                }
                if Instant::now() >= deadline {
                    debug!("upgrade: some idle connections come later");
                    return Ok(());
                }
                continue;
            }
            let sent = send(channel, offers, &batch).await;
            self.sent.push(mem::replace(&mut batch, Vec::with_capacity(MOST_DESCRIPTORS)));
            sent?;
            StopPoint::OldConnections.reached();
        }
    }

    /// The messages of these numbers have not arrived, the others have.
    pub(super) fn arrived_but(&mut self, lost: &[usize]) {
        let mut number = 0;
        self.sent.retain(|_| {
            number += 1;
            lost.contains(&(number - 1))
        });
    }

    /// Sends what becomes idle, to the end of the process. What the successor does not take stays and is told to leave, as
    /// in any drain.
    pub(super) async fn send_later(
        mut self,
        channel: Arc<Channel>,
        offers: Offers,
        handing: Handing,
    ) {
        if !self.sent.is_empty() {
            let connections = self.sent.iter().map(Vec::len).sum::<usize>();
            warn!(
                connections,
                "upgrade: the new process has no descriptors for connections that were idle"
            );
            // What becomes idle would find none either.
            handing.end();
            offers.adopt_all_again(self.sent.into_iter().flatten());
            while let Some(idle) = self.coming.recv().await {
                offers.adopt_all_again([idle]);
            }
            return;
        }
        let mut batch = Vec::with_capacity(MOST_DESCRIPTORS);
        while self.coming.recv_many(&mut batch, MOST_DESCRIPTORS).await > 0 {
            if let Err(why) = send(&channel, &offers, &batch).await {
                debug!(%why, "the successor takes no more connections");
                handing.end();
                offers.adopt_all_again(batch.drain(..));
            }
            batch.clear();
        }
    }
}

async fn send(
    channel: &Channel,
    offers: &Offers,
    batch: &[IdleConnection],
) -> Result<(), ChannelError> {
    let facts = batch.iter().map(|idle| ConnectionFacts {
        listener: offers.place_of(&idle.listener),
        peer: idle.peer.address,
        proxy: idle.peer.proxy,
        is_secured_by_proxy: idle.peer.is_secured_by_proxy,
        served: idle.served,
        ahead: idle.ahead.to_vec(),
    });
    let message = HandoverMessage::Connections(facts.collect());
    let sockets: Vec<_> = batch.iter().map(|idle| idle.socket.as_fd()).collect();
    channel.send(&message, &sockets).await
}
