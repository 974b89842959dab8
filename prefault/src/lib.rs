//! Has the instances of a large component write to pages of their memory before they serve.
//!
//! wasmtime resets a slot of its pool in place where the pages that were written lie in at most 32 regions. All that
//! comes behind the 32nd goes back to the kernel, and the next instance in that slot faults each of its pages in
//! again. A guest with an interpreter inside writes to some hundred small places. Where a few pages between
//! them are written too, regions become one, and all of them stay (docs/adr/0039).
//!
//! - [`prefault()`] appends to a component a module whose start function asks the host for ranges of pages, and writes to
//!   each page what is in it.
//! - [`plan()`] chooses these ranges.

use wasm_encoder::{
    Alias, BlockType, CanonicalFunctionSection, CanonicalOption, CodeSection,
    ComponentAliasSection, ComponentExportKind, ComponentImportSection, ComponentSection as _,
    ComponentTypeRef, ComponentTypeSection, ComponentValType, EntityType, ExportKind, Function,
    FunctionSection, ImportSection, InstanceSection, InstanceType, MemArg, MemArgTarget,
    MemoryType, Module, ModuleArg, ModuleSection, PrimitiveValType, StartSection, TypeSection,
    ValType,
};
use wasmparser::types::TypesRef;
use wasmparser::{Parser, ValidPayload, Validator, WasmFeatures};

mod plan;

pub use plan::{Pages, REGIONS, plan};

/// Counts up when the output for the same component changes. Compiled code is kept under it.
pub const VERSION: u32 = 1;

/// The instance that the result imports besides what the component imported.
pub const INTERFACE: &str = "host:prefault/pages";

/// The function in it, `func(memory: list<u8>, size: u32) -> u64`. The list is empty and stands at the beginning of
/// the memory, which has `size` wasm pages. The result is a range, as [`packed`] makes it. The start function asks
/// again until it is 0.
pub const FUNCTION: &str = "next";

/// Bytes of a page, as the start function goes through a range. It is that of most kernels.
pub const PAGE: u64 = STEP.unsigned_abs() as u64;

/// The same as an operand.
const STEP: i32 = 4 << 10;

/// A memory that begins with fewer wasm pages has few pages that can be written: 2 MiB.
const LEAST: u64 = 32;

/// The name of the import in the module that is appended.
const MODULE: &str = "host";

/// A range of pages as [`FUNCTION`] returns it: the address of the first page in the lower half, their number in the
/// upper one.
#[must_use]
pub fn packed(pages: &Pages) -> u64 {
    let count = pages.end.saturating_sub(pages.start);
    (u64::from(pages.start) * PAGE) | (u64::from(count) << 32)
}

/// The component with the module appended, or none if it is to be used as it is: it is not valid, or it has no
/// memory of 32 bits that begins with 2 MiB or more. The bytes need not be trusted.
///
/// If there are several such memories, the pages are those of the first. The compiler has to validate the result: a
/// component may import that instance itself.
#[must_use]
pub fn prefault(component: &[u8]) -> Option<Vec<u8>> {
    if !Parser::is_component(component) {
        return None;
    }
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut ended = None;
    for payload in Parser::new(0).parse_all(component) {
        if let ValidPayload::End(types) = validator.payload(&payload.ok()?).ok()? {
            ended = Some(types);
        }
    }
    // The component itself ends last.
    append(component, ended?.as_ref())
}

fn append(component: &[u8], types: TypesRef<'_>) -> Option<Vec<u8>> {
    let fits = |index: &u32| {
        let memory = types.memory_at(*index);
        let plain = !memory.memory64 && !memory.shared && memory.page_size_log2.is_none();
        plain && memory.initial >= LEAST
    };
    let memory = (0..types.memory_count()).find(fits)?;
    let mut component = component.to_vec();
    let mut instance_types = ComponentTypeSection::new();
    instance_types.instance(&instance_type());
    let mut imports = ComponentImportSection::new();
    imports.import(INTERFACE, ComponentTypeRef::Instance(types.component_type_count()));
    let mut aliases = ComponentAliasSection::new();
    let instance = types.component_instance_count();
    let kind = ComponentExportKind::Func;
    aliases.alias(Alias::InstanceExport { instance, kind, name: FUNCTION });
    let mut lowered = CanonicalFunctionSection::new();
    lowered.lower(types.component_function_count(), [CanonicalOption::Memory(memory)]);
    let mut instances = InstanceSection::new();
    let next = types.function_count();
    instances
        .export_items([("memory", ExportKind::Memory, memory), (FUNCTION, ExportKind::Func, next)]);
    let given = ModuleArg::Instance(types.core_instance_count());
    instances.instantiate(types.module_count(), [(MODULE, given)]);
    instance_types.append_to_component(&mut component);
    imports.append_to_component(&mut component);
    aliases.append_to_component(&mut component);
    lowered.append_to_component(&mut component);
    ModuleSection(&module()).append_to_component(&mut component);
    instances.append_to_component(&mut component);
    Some(component)
}

fn instance_type() -> InstanceType {
    use PrimitiveValType::{U8, U32, U64};
    let mut ty = InstanceType::new();
    ty.ty().defined_type().list(U8);
    ty.ty()
        .function()
        .params([("memory", ComponentValType::Type(0)), ("size", U32.into())])
        .result(Some(U64.into()));
    ty.export(FUNCTION, ComponentTypeRef::Func(1));
    ty
}

/// The module: nothing but a start function.
fn module() -> Module {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 3], [ValType::I64]);
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    let memory = MemoryType {
        minimum: 0,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    };
    imports.import(MODULE, "memory", EntityType::Memory(memory));
    imports.import(MODULE, FUNCTION, EntityType::Function(0));
    let mut functions = FunctionSection::new();
    functions.function(1);
    let mut code = CodeSection::new();
    code.function(&start());
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions);
    module.section(&StartSection { function_index: 1 }).section(&code);
    module
}

/// ```text
/// while (range = next(0, 0, memory.size)) != 0:
///     page = lower half of range, count = upper half of range
///     do { store8(page, load8(page)); page += PAGE } while (count -= 1) != 0
/// ```
fn start() -> Function {
    let (range, page, count) = (0, 1, 2);
    let byte = MemArg { offset: 0, align: 0, target: MemArgTarget::Memory(0), ordering: None };
    let mut function = Function::new([(1, ValType::I64), (2, ValType::I32)]);
    let mut code = function.instructions();
    code.loop_(BlockType::Empty);
    code.i32_const(0).i32_const(0).memory_size(0).call(0).local_tee(range);
    code.i64_eqz().if_(BlockType::Empty).return_().end();
    code.local_get(range).i32_wrap_i64().local_set(page);
    code.local_get(range).i64_const(32).i64_shr_u().i32_wrap_i64().local_set(count);
    code.loop_(BlockType::Empty);
    code.local_get(page).local_get(page).i32_load8_u(byte).i32_store8(byte);
    code.local_get(page).i32_const(STEP).i32_add().local_set(page);
    code.local_get(count).i32_const(1).i32_sub().local_tee(count).br_if(0).end();
    code.br(0).end().end();
    function
}

#[cfg(test)]
#[path = "lib_tests.rs"]
mod tests;
