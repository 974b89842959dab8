//! Lines on their way to a file, a pipe or the log: formatted where they arise, into a buffer of that thread's
//! shard, and taken away by a thread of their own.
//!
//! ```text
//! worker ─→ its buffer ─┐
//! worker ─→ its buffer ─┼─→ writer, at most once in 20 ms ─→ one write of whole lines
//! worker ─→ its buffer ─┘
//! ```
//!
//! A line that finds no room in its buffer is dropped and counted. While no lines come the writer sleeps, and the
//! first one wakes it.

mod sink;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use host_shards::{OwnLines, Sharded};
use tokio::time::Instant;
use tracing::{info, warn};

pub(crate) use sink::LONGEST_LINE;
pub(crate) use sink::Target;
use sink::{Outcome, Sink, count_lines};

/// Lines that come in quick succession are written together: this is how long the first of them waits at most.
const PAUSE: Duration = Duration::from_millis(20);

/// The log says at most this often that lines were dropped.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// A buffer that a burst has made larger than this gives its memory back.
const KEPT: usize = 1024 * 1024;

/// A writer of lines, with its thread. Cloning gives another handle; the thread ends with [`Self::end`].
#[derive(Clone, Debug)]
pub(crate) struct LineWriter {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug)]
struct Shared {
    /// What the log calls it.
    name: String,
    buffers: Sharded<OwnLines<Mutex<Buffer>>>,
    /// Bytes that may wait in each buffer.
    most: usize,
    /// The thread sleeps until a line comes. Written once in a pause, and read for each line.
    sleeps: AtomicBool,
    /// Lines that the thread could not write.
    lost: AtomicU64,
    /// Lines that it is writing.
    in_hand: AtomicU64,
    orders: Mutex<Orders>,
    ended: Condvar,
}

/// The lines of some threads.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    pub(crate) lines: Vec<u8>,
    /// How many these are.
    count: u64,
    /// The second that was written last, and how: most lines are of the same.
    pub(crate) second: Option<u64>,
    pub(crate) second_text: String,
    /// Lines that found no room.
    dropped: u64,
}

/// What the thread has been asked to do.
#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    reopen: bool,
    end: bool,
    /// Everything has been written, or cannot be.
    over: bool,
}

impl LineWriter {
    /// Opens `target`, and starts the thread of this name that writes to it. The log calls it `name`; each of its
    /// buffers holds `most` bytes.
    ///
    /// # Errors
    /// It cannot be opened, or there is no thread for it.
    pub(crate) fn start(
        thread: &str,
        name: String,
        target: &Target,
        most: usize,
    ) -> io::Result<Self> {
        Self::on((thread, name), Sink::open(target)?, most)
    }

    fn on((thread, name): (&str, String), sink: Sink, most: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            name,
            buffers: Sharded::default(),
            most,
            sleeps: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            in_hand: AtomicU64::new(0),
            orders: Mutex::default(),
            ended: Condvar::new(),
        });
        let (spare, said) = (Vec::new(), (0, None));
        let work = Work { shared: shared.clone(), sink, spare, said, why: None };
        let handle = thread::Builder::new().name(thread.into()).spawn(move || work.run())?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    /// Has `write` add a line to the buffer of this thread, or drops it. Never waits.
    pub(crate) fn add(&self, write: impl FnOnce(&mut Buffer)) {
        {
            let mut buffer = lock(self.shared.buffers.mine());
            if buffer.lines.len() >= self.shared.most {
                buffer.dropped += 1;
                return;
            }
            write(&mut buffer);
            buffer.count += 1;
        }
        // Behind the lock: who sleeps has looked into the buffer since it said so.
        if self.shared.sleeps.load(Ordering::Relaxed)
            && self.shared.sleeps.swap(false, Ordering::Relaxed)
        {
            self.thread.unpark();
        }
    }

    /// Lines that were dropped so far, for lack of room here or there.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped()
    }

    /// Has the file opened again, once what has come so far is in the one that was. Returns at once.
    pub(crate) fn reopen(&self) {
        lock(&self.shared.orders).reopen = true;
        self.thread.unpark();
    }

    /// Asks for the end, behind what has come so far. Returns at once.
    pub(crate) fn begin_end(&self) {
        lock(&self.shared.orders).end = true;
        self.thread.unpark();
    }

    /// Asks for the end, and waits for it until then. Whether it came; if not, the log says how many lines are not
    /// written.
    pub(crate) fn end(&self, until: Instant) -> bool {
        self.begin_end();
        let is_over = self.is_over_by(until);
        if !is_over {
            let (name, lines) = (&*self.shared.name, self.shared.unwritten());
            warn!(lines, "{name}: lines were not taken in time; the end does not wait for them");
        }
        is_over
    }

    fn is_over_by(&self, until: Instant) -> bool {
        let mut orders = lock(&self.shared.orders);
        while !orders.over {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.ended.wait_timeout(orders, left);
            (orders, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

/// What the thread has in hand.
struct Work {
    shared: Arc<Shared>,
    sink: Sink,
    /// Takes turns with the buffers.
    spare: Vec<u8>,
    /// Lines that had been dropped when the log last said so, and when that was.
    said: (u64, Option<Instant>),
    /// Why a line was last not written.
    why: Option<io::Error>,
}

impl Work {
    fn run(mut self) {
        loop {
            // Looked at first: what came before an order is written before it is carried out.
            let orders = *lock(&self.shared.orders);
            let was_busy = self.write_all();
            if orders.reopen {
                lock(&self.shared.orders).reopen = false;
                self.reopen();
            }
            let due = self.say_dropped(orders.end);
            if orders.end {
                break;
            }
            if was_busy {
                thread::park_timeout(PAUSE);
            } else {
                self.sleep(due);
            }
        }
        lock(&self.shared.orders).over = true;
        self.shared.ended.notify_all();
    }

    /// Writes what is there. Whether that was anything.
    fn write_all(&mut self) -> bool {
        let shared = self.shared.clone();
        let mut was_busy = false;
        for buffer in shared.buffers.iter() {
            {
                let mut buffer = lock(buffer);
                if buffer.lines.is_empty() {
                    continue;
                }
                std::mem::swap(&mut buffer.lines, &mut self.spare);
                shared.in_hand.store(std::mem::take(&mut buffer.count), Ordering::Relaxed);
            }
            was_busy = true;
            let outcome = self.sink.write(&self.spare, |written| {
                let left = self.spare.get(written..).unwrap_or_default();
                shared.in_hand.store(count_lines(left), Ordering::Relaxed);
                lock(&shared.orders).reopen
            });
            self.note(outcome);
            shared.in_hand.store(0, Ordering::Relaxed);
            self.spare.clear();
            self.spare.shrink_to(KEPT);
        }
        was_busy
    }

    fn note(&mut self, Outcome { lost, why }: Outcome) {
        self.shared.lost.fetch_add(lost, Ordering::Relaxed);
        if why.is_some() {
            self.why = why;
        }
    }

    fn reopen(&mut self) {
        let name = &*self.shared.name;
        match self.sink.reopen() {
            Ok(outcome) => {
                info!("{name}: opened again");
                self.note(outcome);
            }
            Err(why) => {
                warn!(%why, "{name}: cannot be opened again; lines go on to the file that is open");
            }
        }
    }

    /// Says how many lines were dropped, if there are more than it has said and it is time to. Gives the time until
    /// then, if there is something to say later.
    fn say_dropped(&mut self, is_end: bool) -> Option<Duration> {
        let (said, at) = self.said;
        let dropped = self.shared.dropped();
        let lines = dropped - said;
        if lines == 0 {
            return None;
        }
        let left = at.map_or(Duration::ZERO, |at| SAY_EVERY.saturating_sub(at.elapsed()));
        if !left.is_zero() && !is_end {
            return Some(left);
        }
        self.said = (dropped, Some(Instant::now()));
        let name = &*self.shared.name;
        match self.why.take() {
            Some(why) => warn!(lines, %why, "{name}: lines were dropped"),
            None => warn!(lines, "{name}: lines were dropped: they were not taken in time"),
        }
        None
    }

    /// Sleeps until a line comes, or for so long at most.
    fn sleep(&self, most: Option<Duration>) {
        let shared = &*self.shared;
        shared.sleeps.store(true, Ordering::Relaxed);
        let is_idle = shared.buffers.iter().all(|buffer| lock(buffer).lines.is_empty());
        if is_idle {
            match most {
                Some(most) => thread::park_timeout(most),
                None => thread::park(),
            }
        }
        shared.sleeps.store(false, Ordering::Relaxed);
    }
}

impl Shared {
    fn dropped(&self) -> u64 {
        let without_room = self.buffers.iter().map(|buffer| lock(buffer).dropped);
        without_room.sum::<u64>() + self.lost.load(Ordering::Relaxed)
    }

    /// Lines that wait, or that are being written.
    fn unwritten(&self) -> u64 {
        let waiting = self.buffers.iter().map(|buffer| lock(buffer).count);
        waiting.sum::<u64>() + self.in_hand.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No thread panics while it holds one; if one did, the lines would still be good.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
