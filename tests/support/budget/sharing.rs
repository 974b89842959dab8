//! Memory that requests of two connections write under a lock: what the processors of a busy host fight over.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::calls::FARTHEST_MOVE;

/// A place in memory that was written under a lock.
#[derive(Debug, Default)]
pub(super) struct Locked {
    /// The connections whose requests wrote it, by their descriptor in the host.
    pub(super) connections: BTreeSet<u64>,
    pub(super) writes: u64,
    /// Addresses of the code that did.
    pub(super) code: BTreeSet<u64>,
}

/// Knows which request the worker is at, and what each has written. What a request has asked for itself does not
/// count, and neither does what the worker does between two tasks.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// The task that is polled, and where the stack is until that ends.
    polled: Option<(u64, u64)>,
    /// The connections of tasks that have read from one.
    tasks: HashMap<u64, u64>,
    /// The connection that was read from last.
    connection: Option<u64>,
    /// Writes of the task that is polled, of which no connection is known yet: address and code.
    unknown: Vec<(u64, u64)>,
    /// Blocks that were asked for since the counting began, with their sizes.
    blocks: BTreeMap<u64, u64>,
    /// By address.
    locked: BTreeMap<u64, Locked>,
}

impl Sharing {
    pub(super) fn allocate(&mut self, block: u64, size: u64) {
        self.blocks.insert(block, size);
    }

    pub(super) fn free(&mut self, block: u64) {
        self.blocks.remove(&block);
    }

    /// This task is polled from now on, until the stack is above `stack`.
    pub(super) fn poll(&mut self, task: u64, stack: u64) {
        self.settle();
        self.polled = Some((task, stack));
        if let Some(connection) = self.tasks.get(&task) {
            self.connection = Some(*connection);
        }
    }

    /// The stack is there now.
    pub(super) fn follow(&mut self, stack: u64) {
        let is_above = |(_, until)| stack > until && stack - until < FARTHEST_MOVE;
        if self.polled.is_some_and(is_above) {
            self.settle();
            self.polled = None;
        }
    }

    /// The worker reads from this connection.
    pub(super) fn read(&mut self, connection: u64) {
        if let Some((task, _)) = self.polled {
            self.tasks.insert(task, connection);
        }
        self.connection = Some(connection);
        self.settle();
    }

    /// The code at `code` writes to `address` under a lock.
    pub(super) fn lock(&mut self, address: u64, code: u64) {
        let block = self.blocks.range(..=address).next_back();
        let is_own = block.is_some_and(|(start, size)| address - start < *size);
        if self.polled.is_some() && !is_own {
            self.unknown.push((address, code));
        }
    }

    /// What was written belongs to the connection that is known now.
    fn settle(&mut self) {
        for (address, code) in self.unknown.drain(..) {
            let locked = self.locked.entry(address).or_default();
            locked.connections.extend(self.connection);
            locked.writes += 1;
            locked.code.insert(code);
        }
    }

    /// What has been written by requests of more than one connection; it begins anew.
    pub(super) fn take(&mut self) -> BTreeMap<u64, Locked> {
        self.settle();
        self.blocks.clear();
        let mut locked = std::mem::take(&mut self.locked);
        locked.retain(|_, locked| locked.connections.len() > 1);
        locked
    }
}
