//! What stops the server: a signal, a command, or the end of a child of ours.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::plan::{Plan, StopTrigger};

/// The end of a child of ours.
#[derive(Debug)]
pub(crate) struct ChildEnd {
    pub(crate) exit: String,
    pub(crate) at: Instant,
    /// Whether it ended as a server or a command should.
    pub(crate) is_good: bool,
}

/// A child of ours, the leader of a group of processes. The group ends with this value, if the child has not ended
/// before.
#[derive(Debug)]
pub(crate) struct OurChild(Child);

impl OurChild {
    /// The server, if it is to be our child.
    pub(crate) fn server(trigger: &StopTrigger) -> io::Result<Option<Self>> {
        let StopTrigger::Spawn(command) = trigger else { return Ok(None) };
        let Some((program, arguments)) = command.split_first() else { return Ok(None) };
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(command).map(Some)
    }

    fn shell(command: &str) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]);
        Self::spawn(shell)
    }

    /// Its output goes to our stderr, because our stdout is for the report.
    fn spawn(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::from(io::stderr()));
        command.process_group(0).kill_on_drop(true);
        command.spawn().map(Self)
    }

    /// None once it has ended and was waited for.
    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.0.id()?.try_into().ok()?)
    }

    /// Kills it and those that it has started: the workers of a server may outlive their master.
    fn kill(&self) {
        if let Some(pid) = self.pid() {
            // It fails when all of them have ended.
            kill_process_group(pid, Signal::KILL).ok();
        }
    }

    /// Its end, if it has ended already.
    pub(crate) fn has_ended(&mut self) -> io::Result<Option<String>> {
        Ok(self.0.try_wait()?.map(|status| status.to_string()))
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(pid) = self.pid() else { return Err(io::ErrorKind::NotFound.into()) };
        Ok(kill_process(pid, signal)?)
    }

    /// Waits for its end, and makes one after `patience`.
    pub(crate) async fn end(mut self, patience: Duration) -> io::Result<ChildEnd> {
        match timeout(patience, self.0.wait()).await {
            Ok(status) => {
                let status = status?;
                let (exit, is_good) = (status.to_string(), status.success());
                Ok(ChildEnd { exit, at: Instant::now(), is_good })
            }
            Err(_) => {
                self.kill();
                self.0.wait().await?;
                let exit = format!("killed, it did not end in {} s", patience.as_secs_f64());
                Ok(ChildEnd { exit, at: Instant::now(), is_good: false })
            }
        }
    }
}

impl Drop for OurChild {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Has the server stopped. Gives the command that does it, if it is one.
pub(crate) fn fire(plan: &Plan, server: Option<&OurChild>) -> io::Result<Option<OurChild>> {
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
