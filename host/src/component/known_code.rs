//! Linked code in use, by its name: many components may come from one file.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::run::component_code::ComponentCode;

/// The code that somebody uses.
#[derive(Default)]
pub(super) struct KnownCode(Mutex<Known>);

#[derive(Default)]
struct Known {
    codes: HashMap<Arc<str>, Weak<ComponentCode>>,
    /// How many there may be before those are looked for that nobody uses any more.
    enough: usize,
}

impl KnownCode {
    /// The code of this name, if it is in use.
    pub(super) fn get(&self, name: &Arc<str>) -> Option<Arc<ComponentCode>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.codes.get(name)?.upgrade()
    }

    /// The code of this name: this, unless another load was faster.
    pub(super) fn add(&self, name: Arc<str>, code: ComponentCode) -> Arc<ComponentCode> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(faster) = known.codes.get(&name).and_then(Weak::upgrade) {
            return faster;
        }
        let code = Arc::new(code);
        known.codes.insert(name, Arc::downgrade(&code));
        if known.codes.len() > known.enough {
            known.codes.retain(|_, code| code.strong_count() > 0);
            known.enough = known.codes.len().saturating_mul(2);
        }
        code
    }
}

impl fmt::Debug for KnownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownCode").finish_non_exhaustive()
    }
}
