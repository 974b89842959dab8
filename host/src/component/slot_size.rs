//! The size of an instance's slot. The pool is made for this size, and the limiter of each store keeps to
//! it.

/// Core instances cost nothing in advance, so the bound per component may be generous: a Rust component
/// has 3, a JavaScript one 4. One of them may be that of our own module (docs/adr/0039).
pub(crate) const CORE_INSTANCES_EACH: u32 = 64 + 1;

/// Elements that a table may grow to. A guest's table holds its function pointers.
pub(crate) const TABLE_ELEMENTS: usize = 100_000;

/// Bytes of a page of a guest's memory.
pub(crate) const WASM_PAGE: u64 = 64 << 10;
