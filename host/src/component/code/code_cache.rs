//! The code cache. Its threads are its own, so a file system that hangs costs no more than the cache:
//! the component is compiled without it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use host_clock::{Moment, timeout};
use host_code::{Artefact, ArtefactCache, ArtefactKey, EntryInUse, Urgency};
use rustix::process::setpriority_process;
use tokio::sync::{Semaphore, oneshot};
use tracing::{debug, info, warn};

/// Reading an entry takes less, even 40 MB over a network, unless the file system hangs.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// A load waits this long until its new code is stored, which takes milliseconds. So when a process ends
/// right after the load, the next process finds the code.
const WRITE_PATIENCE: Duration = Duration::from_secs(2);

/// Threads that read and write at once. In a file system that hangs, each may hang with one entry in
/// memory; neither a load nor a stop waits for them.
const THREADS: usize = 4;

/// The lowest priority for the CPU, the same as the compiler's.
const NICEST: i32 = 19;

/// Where compiled code is stored between starts.
#[derive(Clone, Debug)]
pub enum CodeCacheSetting {
    /// Nowhere.
    Off,
    /// In this directory, which is created if it is missing.
    Directory(PathBuf),
}

/// The entries on disk, and the threads that read and write them.
#[derive(Debug)]
pub(crate) struct CodeCache {
    cache: Arc<ArtefactCache>,
    threads: CacheThreads,
}

/// Lowers this thread's priority if there may be traffic.
pub(crate) fn give_way(pace: Urgency) {
    if pace == Urgency::BesideTraffic
        && let Err(why) = setpriority_process(None, NICEST)
    {
        debug!(%why, "loading goes on at the usual priority");
    }
}

impl CodeCache {
    /// Opens the cache, and logs it if the cache cannot be used. It holds at most `most` bytes. Blocks for
    /// a moment.
    pub(crate) fn open(setting: &CodeCacheSetting, most: u64) -> Option<Self> {
        let directory = match setting {
            CodeCacheSetting::Off => return None,
            CodeCacheSetting::Directory(directory) => directory,
        };
        match ArtefactCache::open(directory).map(|cache| cache.holding(most)) {
            Ok(cache) => {
                if let Some(why) = cache.read_only() {
                    warn!("code cache: {why}; what is not in it is compiled at every start");
                }
                Some(Self { cache: Arc::new(cache), threads: CacheThreads::default() })
            }
            Err(why) => {
                warn!("no code cache: {why}; every start compiles");
                None
            }
        }
    }

    /// Has this process keep the entry of this key.
    pub(crate) fn use_entry(&self, key: &ArtefactKey) -> EntryInUse {
        self.cache.use_entry(key)
    }

    /// Reads the entry of this key. None if it is missing, damaged or not read in time.
    pub(crate) async fn get(&self, key: &ArtefactKey, pace: Urgency) -> Option<Artefact> {
        let (cache, key) = (self.cache.clone(), *key);
        let get = move || {
            give_way(pace);
            cache.get(&key)
        };
        self.threads.ask(READ_PATIENCE, get).await?
    }

    /// Stores an entry, and waits for that for a moment only. Whether it is stored by then.
    pub(crate) async fn put(&self, key: &ArtefactKey, artefact: Artefact, pace: Urgency) -> bool {
        let (cache, key) = (self.cache.clone(), *key);
        let put = move || {
            give_way(pace);
            cache.put(&key, &artefact)
        };
        let kept = self.threads.ask(WRITE_PATIENCE, put).await;
        if kept.is_none() {
            debug!(%key, "code cache: compiled code is not kept, or later");
        }
        kept == Some(true)
    }
}

/// Threads that wait for a file system.
#[derive(Debug)]
struct CacheThreads {
    free: Arc<Semaphore>,
    /// Threads that have not finished in time.
    late: Arc<AtomicUsize>,
}

impl Default for CacheThreads {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(THREADS)), late: Arc::default() }
    }
}

/// The state of a thread. Its end and its delay are counted once each.
const AT_WORK: u8 = 0;
const LATE: u8 = 1;
const DONE: u8 = 2;

impl CacheThreads {
    /// Runs `work` on a thread, and waits for at most `patience`. Does not start it while a thread is late or
    /// when no thread can be made. Work that takes longer goes on without the caller.
    async fn ask<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.late.load(Ordering::Acquire) > 0 {
            return None;
        }
        let end = Moment::now() + patience;
        let hand = timeout(end.left(), self.free.clone().acquire_owned()).await.ok()?.ok()?;
        let (send, result) = oneshot::channel();
        let state = Arc::new(AtomicU8::new(AT_WORK));
        let (seen, late) = (state.clone(), self.late.clone());
        let work = move || {
            let done = work();
            if seen.swap(DONE, Ordering::AcqRel) == LATE && late.fetch_sub(1, Ordering::AcqRel) == 1
            {
                info!("code cache: the file system answers again");
            }
            drop(hand);
            send.send(done).ok();
        };
        let thread = thread::Builder::new().name("cache".into()).spawn(work);
        thread.inspect_err(|why| debug!(%why, "code cache: no thread for it")).ok()?;
        if let Ok(done) = timeout(end.left(), result).await {
            return done.ok();
        }
        // Count it before the thread can see that it is late: the thread subtracts itself.
        let before = self.late.fetch_add(1, Ordering::AcqRel);
        if state.compare_exchange(AT_WORK, LATE, Ordering::AcqRel, Ordering::Acquire).is_err() {
            self.late.fetch_sub(1, Ordering::AcqRel);
        } else if before == 0 {
            warn!("code cache: the file system does not answer; nothing is kept until it does");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::time::{self, Instant};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    /// When a disk hung, a swap could not store its code and was refused after a minute, and so was each
    /// swap that waited behind it.
    #[tokio::test]
    async fn a_hung_file_system_delays_one_call_and_is_used_again_once_it_answers() {
        let threads = CacheThreads::default();
        assert_eq!(threads.ask(PATIENCE, || 1).await, Some(1));
        // A paused clock does not wait for threads.
        time::pause();
        let (thaw, frozen) = mpsc::channel::<()>();
        let began = Instant::now();
        let hanging = move || frozen.recv().is_err();
        assert_eq!(threads.ask(PATIENCE, hanging).await, None);
        let waited = began.elapsed();
        assert!(waited >= PATIENCE);
        for _ in 0..100 {
            assert_eq!(threads.ask(PATIENCE, || 2).await, None);
        }
        assert_eq!(began.elapsed(), waited, "the caller waits no longer");
        assert_eq!(threads.free.available_permits(), THREADS - 1, "and no thread is made for it");
        drop(thaw);
        time::resume();
        while threads.free.available_permits() < THREADS {
            thread::yield_now();
        }
        assert_eq!(threads.ask(PATIENCE, || 3).await, Some(3));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_few_threads_hang() {
        let threads = CacheThreads::default();
        let (thaw, frozen) = mpsc::channel::<()>();
        let frozen = Arc::new(std::sync::Mutex::new(frozen));
        let hang = || {
            let frozen = frozen.clone();
            threads.ask(PATIENCE, move || frozen.lock().unwrap().recv().is_err())
        };
        let (a, b, c, d, e, f) = tokio::join!(hang(), hang(), hang(), hang(), hang(), hang());
        assert_eq!([a, b, c, d, e, f], [None; 6]);
        assert_eq!(threads.free.available_permits(), 0);
        assert_eq!(threads.late.load(Ordering::Acquire), THREADS);
        drop(thaw);
    }
}
