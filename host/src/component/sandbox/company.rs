//! Which components have run last, and so whether one of them has company.

use std::sync::atomic::{AtomicU64, Ordering};

/// Another component counts as company if it has run within so many ticks, which are two seconds. That is longer
/// than the pause between two requests of a component with little traffic: else it would be noticed only when it
/// runs, late.
const COMPANY: u32 = 200;

/// The two components that have run last. Written a few times in a second.
#[derive(Debug, Default)]
pub(super) struct Company([AtomicU64; 2]);

/// A component and the tick in which it last ran, in one word. Ticks wrap after a year.
fn note(number: u32, tick: u64) -> u64 {
    u64::from(number) << 32 | tick & u64::from(u32::MAX)
}

fn number(note: u64) -> u32 {
    u32::try_from(note >> 32).unwrap_or(0)
}

fn tick(note: u64) -> u32 {
    u32::try_from(note & u64::from(u32::MAX)).unwrap_or(0)
}

impl Company {
    /// Notes that the component with this number, not 0, runs. If two do so at once, one note may be lost; the
    /// next one corrects that.
    pub(super) fn note(&self, component: u32, now: u64) {
        let [last, before] = &self.0;
        let latest = last.load(Ordering::Relaxed);
        if number(latest) != component {
            before.store(latest, Ordering::Relaxed);
        }
        last.store(note(component, now), Ordering::Relaxed);
    }

    /// Whether another component has run within [`COMPANY`].
    pub(super) fn has_other(&self, component: u32, now: u64) -> bool {
        self.0.iter().map(|note| note.load(Ordering::Relaxed)).any(|note| {
            number(note) != 0
                && number(note) != component
                && tick(now).wrapping_sub(tick(note)) <= COMPANY
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn company_counts_from_one_request_to_the_next() {
        let company = Company::default();
        assert!(!company.has_other(1, 0));
        let began = u64::from(u32::MAX) - 5;
        company.note(2, began);
        company.note(1, began);
        let end = began + u64::from(COMPANY);
        for now in [began, end] {
            company.note(1, now);
            assert!(company.has_other(1, now), "{now}");
        }
        assert!(!company.has_other(1, end + 1));
        assert!(company.has_other(2, end + 1), "the other has run in between");
    }
}
