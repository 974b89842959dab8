//! A thread that waits for file systems, in place of the workers: a mount whose server has gone keeps its
//! callers waiting for minutes.

use std::sync::mpsc::{self, Sender};
use std::time::Duration;
use std::{io, thread};

use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{info, warn};

/// A file system that answers does so within this time.
const PATIENCE: Duration = Duration::from_secs(10);

type FileWork = Box<dyn FnOnce() + Send>;

/// The thread. It ends with this, or with the process if it hangs.
#[derive(Debug)]
pub(super) struct FileThread(Sender<FileWork>);

impl FileThread {
    /// Makes the thread.
    ///
    /// # Errors
    /// When there is none to be had.
    pub(super) fn start() -> io::Result<Self> {
        let (send, jobs) = mpsc::channel::<FileWork>();
        thread::Builder::new().name("watch".into()).spawn(move || {
            for job in jobs {
                job();
            }
        })?;
        Ok(Self(send))
    }

    /// Does `work` on the thread, and waits for it as long as it takes: nothing else is begun meanwhile, so
    /// no second one can hang. None if the thread is gone.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, mut result) = oneshot::channel();
        self.0.send(Box::new(move || drop(done.send(work())))).ok()?;
        if let Ok(done) = timeout(PATIENCE, &mut result).await {
            return done.ok();
        }
        warn!("watch: the file system does not answer; what changes is seen when it does");
        let done = result.await.ok();
        info!("watch: the file system answers again");
        done
    }
}
