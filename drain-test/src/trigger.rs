//! What stops the server: a signal, a command, or the end of a child of ours.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::group::members;
use super::plan::{Plan, StopTrigger};

/// The time between two looks at what a server has left behind.
const LOOK: Duration = Duration::from_millis(20);

/// The end of a child of ours.
#[derive(Debug)]
pub(crate) struct ChildEnd {
    pub(crate) exit: String,
    pub(crate) at: Instant,
    /// Whether it ended as a server or a command should.
    pub(crate) is_good: bool,
}

/// A child of ours, the leader of a group of processes. The group ends with this value: of a server all of it, of a
/// command only if the command has not ended before. What a command leaves behind may be the server.
#[derive(Debug)]
pub(crate) struct OurChild {
    child: Child,
    /// None once nobody is left in it who is to end.
    group: Option<Pid>,
    is_server: bool,
}

impl OurChild {
    /// The server, if it is to be our child.
    pub(crate) fn server(trigger: &StopTrigger) -> io::Result<Option<Self>> {
        let StopTrigger::Spawn(command) = trigger else { return Ok(None) };
        let Some((program, arguments)) = command.split_first() else { return Ok(None) };
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(command, true).map(Some)
    }

    fn shell(command: &str) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]);
        Self::spawn(shell, false)
    }

    /// Its output goes to our stderr, because our stdout is for the report.
    fn spawn(mut command: Command, is_server: bool) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::from(io::stderr()));
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn()?;
        let group = pid(&child);
        Ok(Self { child, group, is_server })
    }

    /// Kills it and those that it has started: the workers of a server may outlive their master. The number of the
    /// group is nobody else's while one of them lives.
    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // It fails when all of them have ended.
            kill_process_group(group, Signal::KILL).ok();
        }
    }

    /// Its end, if it has ended already.
    pub(crate) fn has_ended(&mut self) -> io::Result<Option<String>> {
        Ok(self.child.try_wait()?.map(|status| status.to_string()))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended already, as a server that puts itself into the background has.
    pub(crate) fn signal(&mut self, signal: Signal) -> io::Result<()> {
        let exit = self.has_ended()?;
        let Some(pid) = pid(&self.child) else {
            let exit = exit.unwrap_or_default();
            return Err(io::Error::other(format!(
                "it has ended before ({exit}); as our child it has to stay in the foreground"
            )));
        };
        Ok(kill_process(pid, signal)?)
    }

    /// Waits for its end, and makes one after `patience`.
    pub(crate) async fn end(&mut self, patience: Duration) -> io::Result<ChildEnd> {
        let ended = timeout(patience, self.child.wait()).await;
        if let Ok(status) = ended {
            let status = status?;
            if !self.is_server {
                self.group = None;
            }
            let is_good = self.is_server || status.success();
            return Ok(ChildEnd { exit: status.to_string(), at: Instant::now(), is_good });
        }
        self.kill();
        self.child.wait().await?;
        let exit = format!("killed, it did not end in {} s", patience.as_secs_f64());
        Ok(ChildEnd { exit, at: Instant::now(), is_good: false })
    }

    /// Waits for the end of those that it has left behind, and makes one after `patience`. Gives who they were then.
    pub(crate) async fn rest(&mut self, patience: Duration) -> Vec<String> {
        let until = Instant::now() + patience;
        while let Some(group) = self.group {
            let left = members(group);
            if left.is_empty() {
                self.group = None;
            } else if Instant::now() >= until {
                self.kill();
                return left;
            } else {
                sleep(LOOK).await;
            }
        }
        Vec::new()
    }
}

/// None once it has ended and was waited for.
fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(child.id()?.try_into().ok()?)
}

impl Drop for OurChild {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Has the server stopped. Gives the command that does it, if it is one.
pub(crate) fn fire(plan: &Plan, server: Option<&mut OurChild>) -> io::Result<Option<OurChild>> {
    match &plan.trigger {
        StopTrigger::Signal(pid, signal) => kill_process(*pid, *signal)?,
        StopTrigger::Exec(command) => return OurChild::shell(command).map(Some),
        StopTrigger::Spawn(_) => {
            if let Some(server) = server {
                server.signal(plan.spawn_signal)?;
            }
        }
        StopTrigger::Call(callback) => callback.call(),
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    /// The signal to it was taken by its remains, and the test was clean.
    #[tokio::test]
    async fn child_that_has_ended_cannot_be_stopped() {
        let trigger = StopTrigger::Spawn(vec!["true".to_owned()]);
        let mut child = OurChild::server(&trigger).unwrap().unwrap();
        let pid = pid(&child.child).unwrap();
        // It has ended, and nobody has been told.
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        let why = child.signal(Signal::TERM).unwrap_err().to_string();
        assert!(why.contains("exit status: 0") && why.contains("foreground"), "{why}");
    }
}
