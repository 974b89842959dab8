//! What the child that compiles is told, as arguments of its command line.

use std::ffi::OsString;
use std::time::Duration;

/// The command of this program that compiles as a child: not for people, so help does not name it.
pub(crate) const COMMAND: &str = "compiler";

/// What a child is to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildTask {
    /// Code of a component.
    Code,
    /// A component of its text.
    Binary,
}

/// What a child takes of the cores while others are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yields {
    /// As much as any process: no request is served yet.
    Nothing,
    /// The least share that there is, of cores that others want (nice 19).
    Most,
    /// What no other process wants (`SCHED_IDLE`).
    All,
}

/// What a child is to do and within which bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildOrders {
    /// What to make.
    pub task: ChildTask,
    /// Bytes that it may have mapped beyond what it begins with.
    pub memory: u64,
    /// CPU time of all its threads together.
    pub cpu: Duration,
    /// Threads to compile on.
    pub threads: usize,
    /// What it leaves to others.
    pub yields: Yields,
    /// For a guest that uses component-model async.
    pub concurrency: bool,
    /// The process that waits for it; without that one it ends.
    pub parent: u32,
}

impl ChildOrders {
    /// As words of a command line.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let numbers = [
            u64::from(self.task == ChildTask::Binary),
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

    /// Read from the numbers of a command line.
    #[must_use]
    pub fn read(numbers: &[u64]) -> Option<Self> {
        let [task, memory, cpu, threads, yields, concurrency, parent] = *numbers else {
            return None;
        };
        Some(Self {
            task: if task == 0 { ChildTask::Code } else { ChildTask::Binary },
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
    fn what_is_written_is_read() {
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
