//! How much room is left, and whose it is.
//!
//! An [`Account`] is what a component has in its own buckets together, wherever they are kept; a
//! shared bucket has one of its own. A [`Usage`] is the part of it that lies in one space.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use host_manifest::Namespace;

use crate::error::StoreError;

/// Bytes in use, of one component or of one shared bucket. Lives while one of its spaces is open.
#[derive(Debug, Default)]
pub(crate) struct Account {
    used: AtomicU64,
}

impl Account {
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn grow(&self, more: u64, limit: u64) -> Result<(), StoreError> {
        let within = |used: u64| used.checked_add(more).filter(|sum| *sum <= limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within) {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::Full { limit }),
        }
    }

    fn shrink(&self, less: u64) {
        self.used.fetch_sub(less, Ordering::Relaxed);
    }
}

/// The accounts of all components, found by name.
#[derive(Debug, Default)]
pub(crate) struct Accounts(Mutex<BTreeMap<Arc<str>, Weak<Account>>>);

impl Accounts {
    /// The account that a space counts towards.
    pub(crate) fn account(&self, space: &Namespace) -> Arc<Account> {
        let Namespace::Own(component, _) = space else {
            return Arc::default();
        };
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(component).and_then(Weak::upgrade) {
            return account;
        }
        accounts.retain(|_, account| account.strong_count() > 0);
        let account = Arc::default();
        accounts.insert(component.clone(), Arc::downgrade(&account));
        account
    }
}

/// What lies in one space. Only one writer at a time changes it. Dropping it gives the room back:
/// the store of the space has been closed.
#[derive(Debug)]
pub(crate) struct Usage {
    account: Arc<Account>,
    used: AtomicU64,
}

impl Usage {
    /// Of a space that has `used` bytes in it already. They count, even beyond the limit: then
    /// only writes that take no more room are possible.
    pub(crate) fn new(account: Arc<Account>, used: u64) -> Self {
        account.used.fetch_add(used, Ordering::Relaxed);
        Self { account, used: AtomicU64::new(used) }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Pairs of `before` bytes give way to pairs of `after` bytes.
    pub(crate) fn replace(&self, before: u64, after: u64, limit: u64) -> Result<(), StoreError> {
        if let Some(more) = after.checked_sub(before) {
            if more > 0 {
                self.account.grow(more, limit)?;
                self.used.fetch_add(more, Ordering::Relaxed);
            }
        } else {
            self.release(before - after);
        }
        Ok(())
    }

    /// Sets it to what is really there: writes that it had counted did not happen.
    pub(crate) fn correct(&self, real: u64) {
        let counted = self.used.swap(real, Ordering::Relaxed);
        if real >= counted {
            self.account.used.fetch_add(real - counted, Ordering::Relaxed);
        } else {
            self.account.shrink(counted - real);
        }
    }

    fn release(&self, less: u64) {
        self.used.fetch_sub(less, Ordering::Relaxed);
        self.account.shrink(less);
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        self.account.shrink(*self.used.get_mut());
    }
}
