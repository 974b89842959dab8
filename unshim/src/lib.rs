//! Takes the shim out of a component, so that each instance of it consists of two core instances in place of three.
//!
//! A host function that reads the memory of a guest needs that memory before it can be made, and the guest needs the
//! function before it can have a memory. Toolchains (`wit-component`) solve this with a table between the two:
//!
//! ```text
//! shim   = a table, and for each such function one that calls what is in the table
//! main   = the guest, which imports the functions of the shim
//! fixup  = puts the host functions, made with the memory of main, into the table
//! ```
//!
//! Each instance pays for all three. Here the memory gets a module of its own, which needs nothing:
//!
//! ```text
//! base   = the memory with its data, and the guest's allocator, which host functions call
//! main   = the guest without them; it imports the memory, and the host functions made with it
//! ```
//!
//! The result does the same as the component did (docs/adr/0033). Whatever is not of exactly this shape is left as
//! it is. The work is linear in the size of the component, which may be hostile.

mod base;
mod emit;
mod main_module;
mod outline;
mod rest;
mod roles;
mod shim;
mod unchanged;

use wasmparser::{Validator, WasmFeatures};

use outline::ComponentOutline;
use roles::Roles;
pub use unchanged::Unchanged;

/// Counts up when the output for the same component changes. Compiled code is kept under it.
pub const VERSION: u32 = 2;

/// A component without its shim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unshimmed {
    /// The component.
    pub bytes: Vec<u8>,
    /// Its functions that are there twice.
    pub allocator: CopiedAllocator,
}

/// The functions of the guest's allocator, which are in the base too. Modules are counted at the top level of the
/// component, before and after alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedAllocator {
    /// The base.
    pub base: usize,
    /// The guest.
    pub main: usize,
    /// For each function of the base the one of the guest, without imports.
    pub functions: Vec<u32>,
}

/// The component without its shim. The bytes need not be trusted. The compiler has to validate the result as it would
/// have validated them, because it may know fewer features.
///
/// # Errors
/// Why the component is to be used as it is. That is no fault of it.
pub fn unshim(component: &[u8]) -> Result<Unshimmed, Unchanged> {
    let outline = ComponentOutline::read(component)?;
    let roles = Roles::find(&outline)?;
    let main = main_module::MainModule::read(outline.modules[roles.main_module])?;
    let base = base::Base::of(&main, &roles)?;
    let rest = rest::without_base(&main, &base, &roles)?;
    let bytes = emit::component(&outline, &roles, &base.bytes, &rest);
    // What is left out must not hide a fault. Of what is left, the types may not fit where they met at run time only:
    // a call through the shim that always trapped.
    validate(component)?;
    validate(&bytes).map_err(|_| Unchanged("a function of its shim calls one of another type"))?;
    let (base_module, main) = (roles.shim_module, roles.main_module);
    let allocator = CopiedAllocator { base: base_module, main, functions: base.functions };
    Ok(Unshimmed { bytes, allocator })
}

fn validate(component: &[u8]) -> Result<(), Unchanged> {
    Validator::new_with_features(WasmFeatures::all()).validate_all(component)?;
    Ok(())
}

#[cfg(test)]
#[path = "lib_tests.rs"]
mod tests;
