//! When pairs end.

/// When a pair without a time to live ends.
pub(crate) const NEVER: u64 = u64::MAX;
