//! The process that is to take over, as the one that has started it sees it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use host_handover::{Channel, ChannelError, HandoverMessage};
use host_systemd::prepare_successor;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, error};

use super::STEP_WITHIN;
use super::order::{OwnProgram, UpgradeError, UpgradeOrder};
use super::predecessor::TAKE_OVER;
use super::process_handle::ProcessHandle;

/// A process that was killed is gone within this time, if the kernel can end it at all.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A start that is given up has ended within this time, or does not hear.
const ENDS_START_WITHIN: Duration = Duration::from_secs(2);

/// This program, whatever is at its path by now.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The new process. Dropping this leaves it running.
#[derive(Debug)]
pub(super) struct Successor {
    pub(super) channel: Arc<Channel>,
    pid: u32,
    process: ProcessHandle,
    launcher: Launcher,
}

/// The process that has started it, and ends as it does.
#[derive(Debug)]
struct Launcher {
    process: OwnedFd,
    /// Whether it was ended before the successor.
    released: bool,
    /// Filled by the thread that waits for its end.
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl Successor {
    /// Starts what `order` asks for, or else what this process is. Its log goes where ours goes.
    pub(super) async fn start(
        own: &OwnProgram,
        order: &UpgradeOrder,
    ) -> Result<Self, UpgradeError> {
        let (channel, theirs) = Channel::pair().map_err(UpgradeError::NoDescriptors)?;
        let (program, arguments) = own.line(order);
        let no_program = |why| UpgradeError::NoProgram { program: program.clone(), why };
        let mut command = Command::new(THIS_PROGRAM);
        command.arg0("host").args(["launch", "--"]).arg(&program).args(arguments);
        command.env(TAKE_OVER, "stdin").stdin(Stdio::from(theirs));
        prepare_successor(&mut command);
        let launcher = Launcher::start(command)?;
        let why = match channel.receive("started", STEP_WITHIN).await {
            Ok((HandoverMessage::Started { pid }, descriptors)) => {
                match descriptors.into_iter().next().map(ProcessHandle::new) {
                    Some(Ok(process)) => {
                        return Ok(Self { channel: Arc::new(channel), pid, process, launcher });
                    }
                    // It finds the channel closed, and ends.
                    Some(Err(why)) => why.into(),
                    None => ChannelError::Malformed("no descriptor of the new process came".into()),
                }
            }
            Ok((HandoverMessage::Unstarted { why }, _)) => {
                return Err(no_program(io::Error::other(why)));
            }
            // It was quicker than the launcher.
            Ok((HandoverMessage::No { why }, _)) => return Err(UpgradeError::NotLaunched(why)),
            Ok((said, _)) => ChannelError::unexpected(&said, "started"),
            Err(why) => why,
        };
        launcher.kill();
        Err(UpgradeError::NotLaunched(why.to_string()))
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end, which is near, and says how it was.
    pub(super) async fn end_in_words(&mut self) -> String {
        let end = if self.launcher.released { None } else { self.launcher.end().await };
        end.map_or_else(|| "no word".to_owned(), |status| status.to_string())
    }

    /// Has it end as a start that is given up does, which removes its files. It may not hear that.
    pub(super) async fn end_start(&self) {
        self.signal(Signal::TERM);
        timeout(ENDS_START_WITHIN, self.gone()).await.ok();
    }

    /// Ends it by force, whatever it is doing, and waits until it is gone: it holds our listeners no longer then.
    pub(super) async fn kill(&self) {
        self.signal(Signal::KILL);
        if timeout(GONE_WITHIN, self.gone()).await.is_err() {
            error!(pid = self.pid, "upgrade: the new process cannot be ended");
        }
    }

    /// Waits for its end.
    pub(super) async fn gone(&self) {
        self.process.gone().await;
    }

    /// Sends it a signal, unless it has ended.
    pub(super) fn signal(&self, signal: Signal) {
        if let Err(why) = self.process.signal(signal) {
            debug!(%why, "the successor cannot be sent a signal");
        }
    }

    /// It is no child of a child of this process any more, but of whoever reaps orphans.
    pub(super) async fn release(&mut self) {
        self.launcher.released = true;
        self.launcher.kill();
        self.launcher.end().await;
    }
}

impl Launcher {
    fn start(mut command: Command) -> Result<Self, UpgradeError> {
        // First of all, so that there is no child that nobody waits for.
        let (waiter, ended) = Waiter::start().map_err(UpgradeError::NoThread)?;
        let unlaunched = |why: io::Error| UpgradeError::NotLaunched(why.to_string());
        let mut child = command.spawn().map_err(unlaunched)?;
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        if process.is_err() {
            child.kill().ok();
        }
        waiter.wait_for(child);
        Ok(Self { process: process.map_err(|why| unlaunched(why.into()))?, released: false, ended })
    }

    fn kill(&self) {
        if let Err(why) = pidfd_send_signal(&self.process, Signal::KILL) {
            debug!(%why, "the launcher of the successor cannot be ended");
        }
    }

    async fn end(&mut self) -> Option<ExitStatus> {
        let ended = async { self.ended.wait_for(Option::is_some).await.ok().and_then(|end| *end) };
        timeout(GONE_WITHIN, ended).await.ok().flatten()
    }
}

/// A thread that waits for the end of a child: at most one waits at a time, for as long as the process lives. Dropping this
/// ends a thread that was given none.
struct Waiter(mpsc::Sender<Child>);

impl Waiter {
    fn start() -> io::Result<(Self, watch::Receiver<Option<ExitStatus>>)> {
        let ((child, children), (told, ended)) = (mpsc::channel::<Child>(), watch::channel(None));
        thread::Builder::new().name("successor".into()).spawn(move || {
            if let Ok(mut child) = children.recv() {
                told.send_replace(child.wait().ok());
            }
        })?;
        Ok((Self(child), ended))
    }

    fn wait_for(self, child: Child) {
        // It waits for this.
        self.0.send(child).ok();
    }
}
