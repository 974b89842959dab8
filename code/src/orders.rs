//! The orders for a child that compiles, as arguments of its command line.

use std::ffi::OsString;
use std::time::Duration;

/// The command of this program for such a child. It is not for people, so help does not show it.
pub(crate) const COMMAND: &str = "compiler";

/// The task of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildTask {
    /// Compile a component.
    Code,
    /// Parse text into a component.
    Binary,
    /// Have a component say what is in its memory.
    Instrument,
    /// Compile a component that begins with the state that comes with it.
    WarmCode,
}

/// How a child yields the cores while requests are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yields {
    /// Like any process: no request is served yet.
    Nothing,
    /// The least share of cores that others want (nice 19).
    Most,
    /// Only cores that no other process wants (`SCHED_IDLE`).
    All,
}

/// A child's task and bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildOrders {
    /// The task.
    pub task: ChildTask,
    /// Bytes that it may map beyond those at its start.
    pub memory: u64,
    /// CPU time of all its threads together.
    pub cpu: Duration,
    /// Threads to compile on.
    pub threads: usize,
    /// How it yields to others.
    pub yields: Yields,
    /// Compile for component-model async.
    pub concurrency: bool,
    /// The process that waits for the child. The child ends without it.
    pub parent: u32,
}

impl ChildOrders {
    /// As words of a command line.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let numbers = [
            self.task as u64,
            self.memory,
            self.cpu.as_secs().max(1),
            self.threads as u64,
            self.yields as u64,
            u64::from(self.concurrency),
            u64::from(self.parent),
        ];
        let words = numbers.iter().map(ToString::to_string);
        [COMMAND.to_owned()].into_iter().chain(words).map(OsString::from).collect()
    }

    /// The orders from the numbers of a command line.
    #[must_use]
    pub fn read(numbers: &[u64]) -> Option<Self> {
        let [task, memory, cpu, threads, yields, concurrency, parent] = *numbers else {
            return None;
        };
        Some(Self {
            task: [ChildTask::Code, ChildTask::Binary, ChildTask::Instrument, ChildTask::WarmCode]
                .into_iter()
                .find(|one| *one as u64 == task)?,
            memory,
            cpu: Duration::from_secs(cpu),
            threads: usize::try_from(threads).ok()?,
            yields: [Yields::Nothing, Yields::Most, Yields::All]
                .into_iter()
                .find(|one| *one as u64 == yields)?,
            concurrency: concurrency != 0,
            parent: u32::try_from(parent).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_are_written() {
        let orders = ChildOrders {
            task: ChildTask::Binary,
            memory: 1 << 30,
            cpu: Duration::from_secs(300),
            threads: 4,
            yields: Yields::All,
            concurrency: false,
            parent: 4242,
        };
        let words = orders.words();
        assert_eq!(words[0], COMMAND);
        let numbers: Vec<u64> =
            words[1..].iter().map(|word| word.to_str().unwrap().parse().unwrap()).collect();
        assert_eq!(ChildOrders::read(&numbers), Some(orders));
        assert_eq!(ChildOrders::read(&numbers[1..]), None);
    }
}
