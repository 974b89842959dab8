//! What rings hold, and where in them.

/// What ended in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecondCount {
    /// How many.
    pub requests: u32,
    /// How many of them were errors.
    pub errors: u32,
}

impl SecondCount {
    /// Adds another one.
    pub(super) fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
    }
}

/// The place of a number in a ring.
pub(super) fn ring(number: u64, places: usize) -> usize {
    usize::try_from(number % places as u64).unwrap_or(0)
}
