//! What the slot of one instance has room for. The pool is made for it, and the limiter of each store keeps
//! to it.

/// Core instances are only counted, so the bound per component may be generous: a Rust component
/// has 3, a JavaScript one 4.
pub(crate) const CORE_INSTANCES_EACH: u32 = 64;

/// What a table may grow to; a table of a guest holds its function pointers.
pub(crate) const TABLE_ELEMENTS: usize = 100_000;
