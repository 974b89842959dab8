//! How much compiled code is mapped, where that is bounded: what has not run for longest is given back to the kernel,
//! and mapped again when it is needed.
//!
//! Which that is says a clock with one hand (second chance): code that ran since the hand last passed stays for a turn.
//! To run marks code by one store, and only where it is not marked.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tracing::debug;

/// Code that can be given back and mapped again.
pub(crate) trait MappedCode: Send + Sync {
    /// Gives it back, unless it runs now or has run since this was last asked.
    fn give_back(&self) -> GiveBack;
}

/// What became of code that was to be given back.
pub(crate) enum GiveBack {
    /// It is gone, once this is dropped.
    Gone(Option<Arc<dyn Any + Send + Sync>>),
    /// It runs, or has run lately.
    Stays,
}

/// All code of the process that can be given back.
pub(crate) struct CodeMemory {
    /// Bytes.
    limit: u64,
    mapped: Mutex<Mapped>,
}

#[derive(Default)]
struct Mapped {
    bytes: u64,
    /// Those that the hand reaches next come first.
    codes: VecDeque<(Weak<dyn MappedCode>, u64)>,
}

impl CodeMemory {
    /// At most so many bytes, as far as no more of it runs at once.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, mapped: Mutex::default() }
    }

    /// Counts code of so many bytes that has just been mapped, and gives back other code if it is too much now.
    pub(crate) fn add(&self, code: &Arc<dyn MappedCode>, bytes: u64) {
        let mut given_back = Vec::new();
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        mapped.codes.push_back((Arc::downgrade(code), bytes));
        mapped.bytes = mapped.bytes.saturating_add(bytes);
        if mapped.bytes > self.limit {
            mapped.forget_what_is_gone();
        }
        // Two turns: the first takes all marks away.
        let mut looks = mapped.codes.len().saturating_mul(2);
        while mapped.bytes > self.limit && looks > 0 {
            looks -= 1;
            given_back.extend(mapped.look_at_next());
        }
        if mapped.bytes > self.limit {
            debug!(
                bytes = mapped.bytes,
                limit = self.limit,
                "code: more runs at once than is to be mapped"
            );
        }
        // Whoever maps or asks now need not wait for the kernel.
        drop(mapped);
        drop(given_back);
    }

    /// Bytes that are mapped.
    pub(crate) fn bytes(&self) -> u64 {
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}

impl Mapped {
    /// Code that was dropped with its component has left the memory.
    fn forget_what_is_gone(&mut self) {
        let bytes = &mut self.bytes;
        self.codes.retain(|(code, size)| {
            let is_there = code.strong_count() > 0;
            if !is_there {
                *bytes = bytes.saturating_sub(*size);
            }
            is_there
        });
    }

    /// What the next one gives back, if it does.
    fn look_at_next(&mut self) -> Option<Arc<dyn Any + Send + Sync>> {
        let (code, bytes) = self.codes.pop_front()?;
        match code.upgrade().map_or(GiveBack::Gone(None), |code| code.give_back()) {
            GiveBack::Gone(given_back) => {
                self.bytes = self.bytes.saturating_sub(bytes);
                given_back
            }
            GiveBack::Stays => {
                self.codes.push_back((code, bytes));
                None
            }
        }
    }
}

impl fmt::Debug for CodeMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeMemory")
            .field("limit", &self.limit)
            .field("bytes", &self.bytes())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Code of which it is known whether it runs, has run, and is mapped.
    #[derive(Default)]
    struct Code {
        runs: AtomicBool,
        has_run: AtomicBool,
        gone: AtomicBool,
    }

    impl MappedCode for Code {
        fn give_back(&self) -> GiveBack {
            if self.runs.load(Ordering::Relaxed) || self.has_run.swap(false, Ordering::Relaxed) {
                return GiveBack::Stays;
            }
            self.gone.store(true, Ordering::Relaxed);
            GiveBack::Gone(None)
        }
    }

    fn codes<const N: usize>() -> [Arc<Code>; N] {
        std::array::from_fn(|_| Arc::default())
    }

    fn add(memory: &CodeMemory, code: &Arc<Code>) {
        let code: Arc<dyn MappedCode> = code.clone();
        memory.add(&code, 10);
    }

    fn are_gone<const N: usize>(codes: &[Arc<Code>; N]) -> [bool; N] {
        std::array::from_fn(|code| codes[code].gone.load(Ordering::Relaxed))
    }

    #[test]
    fn what_has_not_run_is_given_back_first() {
        let (memory, codes) = (CodeMemory::new(30), codes::<5>());
        for code in &codes[..3] {
            add(&memory, code);
        }
        assert_eq!(are_gone(&codes), [false; 5], "there is room for three");
        codes[0].has_run.store(true, Ordering::Relaxed);
        codes[1].has_run.store(true, Ordering::Relaxed);
        add(&memory, &codes[3]);
        assert_eq!(are_gone(&codes), [false, false, true, false, false]);
        assert_eq!(memory.bytes(), 30);
    }

    #[test]
    fn what_runs_stays_whatever_that_comes_to() {
        let (memory, codes) = (CodeMemory::new(10), codes::<3>());
        for code in &codes {
            code.runs.store(true, Ordering::Relaxed);
            add(&memory, code);
        }
        assert_eq!((are_gone(&codes), memory.bytes()), ([false; 3], 30));
        for code in &codes {
            code.runs.store(false, Ordering::Relaxed);
        }
        let last = Arc::<Code>::default();
        last.runs.store(true, Ordering::Relaxed);
        add(&memory, &last);
        assert_eq!((are_gone(&codes), memory.bytes()), ([true; 3], 10));
    }

    #[test]
    fn dropped_code_counts_no_more() {
        let (memory, codes) = (CodeMemory::new(20), codes::<2>());
        for _ in 0..100 {
            add(&memory, &Arc::default());
        }
        for code in &codes {
            add(&memory, code);
        }
        assert_eq!((are_gone(&codes), memory.bytes()), ([false; 2], 20));
    }
}
