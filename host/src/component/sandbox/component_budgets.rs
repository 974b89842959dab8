//! The memory of each component, of all its generations, whatever limits those were loaded with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::memory_budget::MemoryBudget;

/// Between the budget of all guests and those of generations: one for each component, without a bound of its own. After
/// a reload with other limits, and in a canary of such, two generations of a component have budgets of their own, and
/// what the component has is the sum. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ComponentBudgets {
    all: MemoryBudget,
    /// By name; one that is gone is kept, as what is counted of it is.
    components: Arc<Mutex<BTreeMap<Box<str>, MemoryBudget>>>,
}

impl ComponentBudgets {
    /// Parts of `all`.
    #[must_use]
    pub fn new(all: MemoryBudget) -> Self {
        Self { all, components: Arc::default() }
    }

    /// The budget of this component: the same again for the same name.
    #[must_use]
    pub fn component(&self, name: &str) -> MemoryBudget {
        let mut components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = components.get(name) {
            return known.clone();
        }
        let made = MemoryBudget::new(None, Some(self.all.clone()));
        components.insert(name.into(), made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use host_manifest::LimitKey;

    use super::*;

    #[test]
    fn a_component_has_what_its_generations_have() {
        let all = MemoryBudget::new(Some(100), None);
        let budgets = ComponentBudgets::new(all.clone());
        let generation = |name, limit| MemoryBudget::new(limit, Some(budgets.component(name)));
        let (old, new, other) =
            (generation("shop", Some(60)), generation("shop", Some(40)), generation("auth", None));
        let pockets = [&old, &new, &other].map(MemoryBudget::pocket);
        assert!(pockets[0].take(50) && pockets[1].take(30) && pockets[2].take(5));
        let used = |name| budgets.component(name).used();
        assert_eq!((used("shop"), used("auth"), all.used()), (80, 5, 85));
        assert_eq!(pockets[1].limit_of(11), LimitKey::MemoryTotal.bytes(40));
        assert_eq!(pockets[2].limit_of(16), LimitKey::TotalMemory.bytes(100));
        pockets[0].give(50);
        assert_eq!((used("shop"), budgets.component("shop").peak()), (30, 80));
    }
}
