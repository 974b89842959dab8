//! Pages of `/metrics`, made by a thread of their own.
//!
//! With 1,000 components a page has 13 MB. Fifty scrapers at once held the lifecycle's thread for nine seconds: no probe
//! was answered, and no stop would have begun.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::metrics_format::MetricsFormat;

/// Asks the thread for pages. Cloning gives another handle; the thread ends with the last one.
#[derive(Clone, Debug)]
pub(super) struct MetricsPages(Sender<Asked>);

/// Somebody waits for a page. Each connection does once at most, so these are bounded as connections are.
struct Asked {
    format: MetricsFormat,
    answer: oneshot::Sender<Bytes>,
}

impl MetricsPages {
    /// Starts the thread, which has `make` write each page.
    ///
    /// # Errors
    /// When the system has no thread.
    pub(super) fn start(
        make: impl Fn(MetricsFormat) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, asked) = channel();
        thread::Builder::new().name("metrics".into()).spawn(move || run(&asked, &make))?;
        Ok(Self(sender))
    }

    /// A page of what there is now, or a moment later. None if it could not be made. Dropping the future asks for
    /// nothing any more.
    pub(super) async fn page(&self, format: MetricsFormat) -> Option<Bytes> {
        let (answer, page) = oneshot::channel();
        self.0.send(Asked { format, answer }).ok()?;
        page.await.ok()
    }
}

/// Makes pages until nobody can ask any more. Whoever asks while one is made gets the next one, with all others that do.
fn run(asked: &Receiver<Asked>, make: &impl Fn(MetricsFormat) -> String) {
    while let Ok(first) = asked.recv() {
        let all: Vec<_> = [first].into_iter().chain(asked.try_iter()).collect();
        let all = all.into_iter().filter(|one| !one.answer.is_closed());
        let (open, plain): (Vec<_>, Vec<_>) =
            all.partition(|one| one.format == MetricsFormat::OpenMetrics);
        for those in [open, plain] {
            let Some(format) = those.first().map(|one| one.format) else { continue };
            // A page that cannot be made is missing, and the next one may be there again.
            let Ok(page) = catch_unwind(AssertUnwindSafe(|| make(format))) else { continue };
            let page = Bytes::from(page);
            those.into_iter().for_each(|one| drop(one.answer.send(page.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn all_that_ask_while_a_page_is_made_share_the_next_one() {
        let (made, go) = (Arc::<AtomicUsize>::default(), channel::<()>());
        let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
        let pages = {
            let made = made.clone();
            MetricsPages::start(move |_| {
                begun.send(()).unwrap();
                go.1.recv().unwrap();
                (made.fetch_add(1, Ordering::SeqCst) + 1).to_string()
            })
        };
        let pages = pages.unwrap();
        let ask = || {
            let pages = pages.clone();
            tokio::spawn(async move { pages.page(MetricsFormat::Prometheus).await })
        };
        let first = ask();
        begins.recv().await.unwrap();
        let others: Vec<_> = (0..50).map(|_| ask()).collect();
        // The tasks have one thread, and each asks when it is polled first.
        tokio::task::yield_now().await;
        go.0.send(()).unwrap();
        go.0.send(()).unwrap();
        assert_eq!(first.await.unwrap().unwrap(), "1");
        for other in others {
            assert_eq!(other.await.unwrap().unwrap(), "2");
        }
    }

    #[tokio::test]
    async fn a_page_that_cannot_be_made_is_missing_and_the_next_one_is_there() {
        let pages = MetricsPages::start(|format| match format {
            MetricsFormat::OpenMetrics => panic!("as the test wants it"),
            MetricsFormat::Prometheus => "there".to_owned(),
        });
        let pages = pages.unwrap();
        assert_eq!(pages.page(MetricsFormat::OpenMetrics).await, None);
        assert_eq!(pages.page(MetricsFormat::Prometheus).await.unwrap(), "there");
    }
}
