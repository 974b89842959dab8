//! Functions, files and lines of a compiled component.
//!
//! ```text
//! component with DWARF ─┐
//! what is compiled of it ┴─→ extract ─→ SymbolTable ─→ places of a backtrace
//!    (its shim is out: code has moved)
//! ```
//!
//! DWARF is large, slow to read, and the component may be hostile. So the process that compiles reads it, and keeps
//! what a backtrace shows: the functions that lie at each place of the code, with file and line. The process that
//! serves has that table only, a fraction of the DWARF, and reads it when a guest has trapped
//! (docs/adr/0044).

mod demangle;
mod dwarf;
mod modules;
mod table;

pub use demangle::demangled;
pub use dwarf::extract;
pub use modules::CopiedFunctions;
pub use table::{Place, SymbolTable};

/// Counts up when the table of the same component changes. Compiled code is kept under it.
pub const VERSION: u32 = 1;
