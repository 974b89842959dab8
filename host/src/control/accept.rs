//! Accepts connections of operators: so many at once, each in a task that the server owns. No error ends
//! it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use host_system::shortage::{PastShortage, Shortage};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::yield_now;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::connection_limit::ConnectionLimit;
use super::deadlines::Deadlines;
use super::opening::Gated;

/// After an error of accept(2): enough not to spin when the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
pub(super) trait PeerListener: Send + Sync + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection; none if one came that may not connect. Cancel-safe.
    fn next(&self) -> impl Future<Output = io::Result<Option<Self::Io>>> + Send;
}

/// Tasks of a server and what ends them. Cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerTasks {
    pub(super) all: TaskTracker,
    pub(super) end: CancellationToken,
}

/// Accepts until the end, while no other host does. `serve` returns the life of a connection. It ends with the server, or
/// when its place is needed for another connection.
pub(super) async fn accept<L, S, F>(
    Gated { listener, gate }: Gated<L>,
    limit: ConnectionLimit,
    tasks: ServerTasks,
    serve: S,
) where
    L: PeerListener,
    S: Fn(L::Io, Deadlines) -> F + Send,
    F: Future<Output = ()> + Send + 'static,
{
    let (shortage, mut gate) = (Shortage::default(), gate.watch());
    loop {
        let next = tokio::select! {
            biased;
            () = tasks.end.cancelled() => return,
            next = async {
                gate.until(true).await;
                tokio::select! {
                    biased;
                    () = gate.until(false) => Ok(None),
                    next = listener.next() => next,
                }
            } => next,
        };
        match next {
            Ok(Some(io)) => {
                if let Some(PastShortage { lasted, times }) = shortage.take_past() {
                    info!(?lasted, times, "operators can be let in again");
                }
                let deadlines = Deadlines::start();
                let Some(permit) = limit.admit(&deadlines, &tasks.end) else { continue };
                let life = serve(io, deadlines);
                tasks.all.spawn(async move {
                    permit.close.run_until_cancelled(life).await;
                    drop(permit);
                });
                // The connections that are open have their turn before the next one can need a place.
                yield_now().await;
            }
            Ok(None) => {}
            Err(why) => {
                if shortage.met() {
                    warn!(%why, "an operator cannot be let in");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// The control socket: for root and for the user that the host runs as.
#[derive(Debug)]
pub(super) struct SameUserListener {
    pub(super) listener: UnixListener,
    pub(super) uid: u32,
}

impl AsFd for SameUserListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl PeerListener for SameUserListener {
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

impl PeerListener for TcpListener {
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
