//! Accepting operators: so many at once, each in a task that is owned, and no error ends it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::yield_now;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::pace::Pace;
use super::seats::Seats;
use crate::shortage::{PastShortage, Shortage};

/// After an error of accept(2): enough not to spin when the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Where operators come in.
pub(super) trait Door: Send + Sync + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one that may come in; none if one came that may not. Cancel-safe.
    fn next(&self) -> impl Future<Output = io::Result<Option<Self::Io>>> + Send;
}

/// Tasks of a server and what ends them. Cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks {
    pub(super) all: TaskTracker,
    pub(super) end: CancellationToken,
}

/// Accepts until the end. `serve` gives the life of a connection, which ends with the server, or when
/// its seat is needed for one that comes.
pub(super) async fn run<D, S, F>(door: D, seats: Seats, tasks: Tasks, serve: S)
where
    D: Door,
    S: Fn(D::Io, Pace) -> F + Send,
    F: Future<Output = ()> + Send + 'static,
{
    let out_of_it = Shortage::default();
    loop {
        let next = tokio::select! {
            biased;
            () = tasks.end.cancelled() => return,
            next = door.next() => next,
        };
        match next {
            Ok(Some(io)) => {
                if let Some(PastShortage { lasted, times }) = out_of_it.over() {
                    info!(?lasted, times, "operators can be let in again");
                }
                let pace = Pace::begin();
                let Some(seat) = seats.take(&pace, &tasks.end) else { continue };
                let life = serve(io, pace);
                tasks.all.spawn(async move {
                    seat.leave.run_until_cancelled(life).await;
                    drop(seat);
                });
                // Those that are in have their turn before the next one can need a seat.
                yield_now().await;
            }
            Ok(None) => {}
            Err(why) => {
                if out_of_it.met() {
                    warn!(%why, "an operator cannot be let in");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// The control socket: for root and for the user that the host runs as.
#[derive(Debug)]
pub(super) struct Private {
    pub(super) listener: UnixListener,
    pub(super) uid: u32,
}

impl Door for Private {
    type Io = UnixStream;

    async fn next(&self) -> io::Result<Option<UnixStream>> {
        let (stream, _) = self.listener.accept().await?;
        let peer = stream.peer_cred()?;
        if may_command(peer.uid(), self.uid) {
            return Ok(Some(stream));
        }
        warn!(uid = peer.uid(), pid = peer.pid(), "control: turned away, it is another user's");
        Ok(None)
    }
}

/// Whether a peer of `uid` may command a host that runs as `ours`.
fn may_command(uid: u32, ours: u32) -> bool {
    uid == ours || uid == 0
}

impl Door for TcpListener {
    type Io = TcpStream;

    async fn next(&self) -> io::Result<Option<TcpStream>> {
        let (stream, _) = self.accept().await?;
        stream.set_nodelay(true)?;
        Ok(Some(stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_our_own_user_may_command() {
        assert!(may_command(1000, 1000));
        assert!(may_command(0, 1000));
        assert!(!may_command(1001, 1000));
        assert!(!may_command(1000, 0));
    }
}
