//! Whose bytes count together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::usage::{Account, Accounts, Usage};

/// What a component has on one server, or a shared bucket. The server counts; here is what it has
/// said last, for the component's other stores.
#[derive(Debug)]
pub(super) struct Owner {
    account: Arc<Account>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    usage: Usage,
    /// Of the hashes of all buckets that have been opened.
    keys: Vec<String>,
}

impl Owner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hashes other than this one.
    pub(super) fn others(&self, hash: &str) -> Vec<String> {
        self.lock().keys.iter().filter(|key| *key != hash).cloned().collect()
    }

    /// What the server may be filled to: `limit` less what lies in other stores.
    pub(super) fn limit(&self, limit: u64) -> u64 {
        let here = self.lock().usage.used();
        limit.saturating_sub(self.account.used().saturating_sub(here))
    }

    /// Takes note of what the server has counted.
    pub(super) fn counted(&self, bytes: u64) {
        self.lock().usage.correct(bytes);
    }
}

/// The owners on one server, by the component that they are.
#[derive(Debug, Default)]
pub(super) struct Owners(Mutex<BTreeMap<Arc<str>, Arc<Owner>>>);

impl Owners {
    /// The owner of a space whose hash is `key`.
    pub(super) fn owner(
        &self,
        space: &host_manifest::Namespace,
        key: &str,
        accounts: &Accounts,
    ) -> Arc<Owner> {
        let new = || {
            let account = accounts.account(space);
            let state = State { usage: Usage::new(account.clone(), 0), keys: Vec::new() };
            Arc::new(Owner { account, state: Mutex::new(state) })
        };
        let host_manifest::Namespace::Own(component, _) = space else {
            return new();
        };
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = owners.entry(component.clone()).or_insert_with(new).clone();
        drop(owners);
        let mut state = owner.lock();
        if !state.keys.iter().any(|known| known == key) {
            state.keys.push(key.to_owned());
        }
        drop(state);
        owner
    }
}
