//! What an operator reads in `systemctl status`.

use std::sync::Arc;

use host_lifecycle::counted;
use tokio::sync::watch;

use crate::site::{Slot, SwapRecord};

/// What is served, to be told of.
#[derive(Debug)]
pub(in crate::serve) struct Served {
    /// What holds the components.
    pub(in crate::serve) slot: Arc<Slot>,
    /// How many addresses there are.
    pub(in crate::serve) addresses: usize,
    /// How the last change came out.
    pub(in crate::serve) outcomes: watch::Receiver<Option<SwapRecord>>,
}

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// What is served.
    Serving,
    /// The same, and how the last change came out.
    Outcome,
}

impl Served {
    pub(super) fn words(&self, words: Words) -> String {
        let components = counted(self.slot.current().apps().count() as u64, "component");
        let serving = match self.addresses {
            1 => format!("serving {components} on 1 address"),
            more => format!("serving {components} on {more} addresses"),
        };
        let last = self.outcomes.borrow();
        match last.as_ref().filter(|_| words == Words::Outcome) {
            Some(last) => format!("{serving}; {}", last.outcome),
            None => serving,
        }
    }
}

/// What is said while the process starts.
pub(super) fn loading(components: usize) -> String {
    format!("loading {}", counted(components as u64, "component"))
}
