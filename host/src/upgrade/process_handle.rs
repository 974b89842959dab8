//! The process of the other host, whose number may be another one's once it has ended.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Signal, pidfd_send_signal};
use tokio::net::unix::pipe::Receiver;

/// A process, by a descriptor of it (`pidfd_open(2)`). Dropping it leaves the process as it is.
#[derive(Debug)]
pub(super) struct ProcessHandle {
    /// tokio's type for any descriptor cannot be made without `unsafe`, and this one asks nothing of it but whether it is
    /// readable.
    pidfd: Receiver,
}

impl ProcessHandle {
    /// The process of this descriptor, in the runtime that this is called in.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub(super) fn new(pidfd: OwnedFd) -> io::Result<Self> {
        Ok(Self { pidfd: Receiver::from_owned_fd_unchecked(pidfd)? })
    }

    /// Waits for its end, without a bound. Cancel-safe.
    pub(super) async fn gone(&self) {
        // It becomes readable then, and stays so. It fails only where the runtime has ended.
        self.pidfd.readable().await.ok();
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended, or is another user's.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, signal)?)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_seen_each_time() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let process = ProcessHandle::new(pidfd).unwrap();
        timeout(Duration::ZERO, process.gone()).await.unwrap_err();
        process.signal(Signal::KILL).unwrap();
        process.gone().await;
        process.gone().await;
        child.wait().unwrap();
        process.signal(Signal::KILL).unwrap_err();
    }
}
