//! Signals become commands. Handlers are installed when [`listen`] returns, not when first awaited.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use super::alarm::Alarm;
use super::command::{Signal, SignalMeaning, TimedCommand};

/// A signal that is for another part of the process. Several that come while nobody waits are one. Cloning gives
/// another handle.
#[derive(Clone, Debug, Default)]
pub struct SignalWatch(Arc<Notify>);

impl SignalWatch {
    /// Waits for the next one. Cancel-safe.
    pub async fn next(&self) {
        self.0.notified().await;
    }
}

/// Who may give commands, who carries them out, and who is told of SIGHUP, SIGUSR1 and SIGUSR2.
#[derive(Debug)]
pub(super) struct Commands {
    pub(super) sender: mpsc::UnboundedSender<TimedCommand>,
    pub(super) receiver: mpsc::UnboundedReceiver<TimedCommand>,
    pub(super) hangups: SignalWatch,
    pub(super) reopens: SignalWatch,
    pub(super) upgrades: SignalWatch,
}

/// Installs the handlers and gives the stream of commands. Each signal has a task on the current
/// runtime, which lives as long as the runtime.
pub(super) fn listen() -> io::Result<Commands> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (hangups, reopens) = (SignalWatch::default(), SignalWatch::default());
    let upgrades = SignalWatch::default();
    for name in Signal::ALL {
        let mut stream = signal(SignalKind::from_raw(i32::from(name.number())))?;
        let (sender, hangups, reopens) = (sender.clone(), hangups.clone(), reopens.clone());
        let upgrades = upgrades.clone();
        let alarm = Alarm::new("signals", sender.clone());
        tokio::spawn(async move {
            let _alarm = alarm;
            while stream.recv().await.is_some() {
                match name.meaning() {
                    SignalMeaning::Command(command) => {
                        if sender.send(TimedCommand::now(command)).is_err() {
                            return;
                        }
                    }
                    SignalMeaning::Reload => hangups.0.notify_one(),
                    SignalMeaning::Reopen => reopens.0.notify_one(),
                    SignalMeaning::Upgrade => upgrades.0.notify_one(),
                }
            }
        });
    }
    Ok(Commands { sender, receiver, hangups, reopens, upgrades })
}
