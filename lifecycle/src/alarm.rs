//! The alarm of a task that the process cannot do without.

use std::thread;

use tokio::sync::mpsc::UnboundedSender;
use tracing::error;

use super::command::{Command, TimedCommand};

/// Held by a task without which the process would be deaf: to signals, to operators, to probes. If it
/// is dropped by a panic of that task, the process drains and exits with the code of a failure.
#[derive(Debug)]
pub struct Alarm {
    what: &'static str,
    sender: UnboundedSender<TimedCommand>,
}

impl Alarm {
    pub(super) fn new(what: &'static str, sender: UnboundedSender<TimedCommand>) -> Self {
        Self { what, sender }
    }

    /// Lives the life of the task, and watches over it.
    pub async fn guard<T>(self, life: impl Future<Output = T>) -> T {
        let _alarm = self;
        life.await
    }

    /// One that is not heard: for tests of a task that holds one.
    #[must_use]
    pub fn unheard() -> Self {
        let (sender, _) = tokio::sync::mpsc::unbounded_channel();
        Self { what: "a test", sender }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            error!(
                what = self.what,
                "a task has failed that the process cannot do without; stopping"
            );
            // Nobody listens any more when the stop is over: then the process ends anyway.
            self.sender.send(TimedCommand::now(Command::Fail)).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn only_a_panic_raises_the_alarm() {
        let (sender, mut asked) = mpsc::unbounded_channel();
        let quiet = Alarm::new("quiet", sender.clone());
        tokio::spawn(async move { drop(quiet) }).await.unwrap();
        let cancelled = Alarm::new("cancelled", sender.clone());
        let task = tokio::spawn(async move {
            let _alarm = cancelled;
            std::future::pending::<()>().await;
        });
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(asked.try_recv().is_err());
        let loud = Alarm::new("loud", sender);
        let task = tokio::spawn(async move {
            let _alarm = loud;
            panic!("as a task may");
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(asked.recv().await.unwrap().command, Command::Fail);
    }
}
