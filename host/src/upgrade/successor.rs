//! The process that is to take over, as the one that has started it sees it.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use host_handover::Channel;
use host_systemd::prepare_successor;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::debug;

use super::order::{OwnProgram, UpgradeError, UpgradeOrder, check_program};
use super::predecessor::TAKE_OVER;

/// A process that was killed is gone within this time, if the kernel can end it at all.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A start that is given up has ended within this time, or does not hear.
const ENDS_START_WITHIN: Duration = Duration::from_secs(2);

/// The new process. Dropping this leaves it running.
#[derive(Debug)]
pub(super) struct Successor {
    pub(super) channel: Arc<Channel>,
    pid: u32,
    /// Filled by the thread that waits for its end.
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl Successor {
    /// Starts what `order` asks for, or else what this process is. Its log goes where ours goes.
    pub(super) fn start(own: &OwnProgram, order: &UpgradeOrder) -> Result<Self, UpgradeError> {
        let (channel, theirs) = Channel::pair().map_err(UpgradeError::NoDescriptors)?;
        let (program, arguments) = own.line(order);
        let no_program = |why| UpgradeError::NoProgram { program: program.clone(), why };
        check_program(&program).map_err(no_program)?;
        let mut command = Command::new(&program);
        command.args(arguments).env(TAKE_OVER, "stdin");
        prepare_successor(&mut command);
        // First of all, so that there is no child that nobody waits for.
        let (waiter, ended) = Waiter::start().map_err(UpgradeError::NoThread)?;
        let child = spawn(&mut command, theirs).map_err(no_program)?;
        let pid = child.id();
        waiter.wait_for(child);
        Ok(Self { channel: Arc::new(channel), pid, ended })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end, which is near, and says how it was.
    pub(super) async fn end_in_words(&mut self) -> String {
        self.end().await.map_or_else(|| "no word".to_owned(), |status| status.to_string())
    }

    async fn end(&mut self) -> Option<ExitStatus> {
        let ended = async { self.ended.wait_for(Option::is_some).await.ok().and_then(|end| *end) };
        timeout(GONE_WITHIN, ended).await.ok().flatten()
    }

    /// Has it end as a start that is given up does, which removes its files. It may not hear that.
    pub(super) async fn end_start(&mut self) {
        self.signal(Signal::TERM);
        let ended = self.ended.wait_for(Option::is_some);
        timeout(ENDS_START_WITHIN, ended).await.ok();
    }

    /// Ends it by force, whatever it is doing, and waits until it is gone: it holds our listeners no longer then.
    pub(super) async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.end().await;
    }

    /// Sends it a signal, unless it has ended: its number may be another one's then.
    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if self.ended.borrow().is_none()
            && let Some(pid) = pid
            && let Err(why) = kill_process(pid, signal)
        {
            debug!(%why, "the successor cannot be sent a signal");
        }
    }
}

/// Its descriptor of the channel is its standard input, and it has no other that it was not given.
fn spawn(command: &mut Command, channel: OwnedFd) -> io::Result<Child> {
    command.stdin(Stdio::from(channel)).spawn()
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
