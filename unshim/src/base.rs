//! The module that comes first: the guest's memory with its data, and the functions that host functions call.

use std::collections::HashMap;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, DataSection, ExportKind, ExportSection, Function, FunctionSection, GlobalSection,
    GlobalType, Instruction, MemorySection, Module, NameMap, NameSection, TypeSection,
};
use wasmparser::{ExternalKind, Operator};

use crate::main_module::{MainModule, check_segment, is_constant};
use crate::roles::Roles;
use crate::unchanged::Unchanged;

/// The name under which the guest imports its memory.
pub(crate) const MEMORY: &str = "host:unshim/memory";

/// A function that is never called. It stands where the functions of the shim stood in the component.
pub(crate) const PLACE: &str = "host:unshim/place";

/// The most functions that are there twice. An allocator has some twenty.
const MOST_FUNCTIONS: usize = 256;

/// The name under which the guest imports what was its global with this index.
pub(crate) fn global_name(was: u32) -> String {
    format!("host:unshim/global-{was}")
}

/// The base, and what of it the guest's code uses too.
pub(crate) struct Base {
    pub(crate) bytes: Vec<u8>,
    pub(crate) shared: Vec<SharedGlobal>,
    /// For each of its functions the one of the guest, without imports.
    pub(crate) functions: Vec<u32>,
}

/// A global of the guest that has moved to the base, because functions of both set it.
pub(crate) struct SharedGlobal {
    /// Its index in the guest's module as it was.
    pub(crate) was: u32,
    pub(crate) ty: GlobalType,
}

impl Base {
    pub(crate) fn of(main: &MainModule<'_>, roles: &Roles<'_>) -> Result<Self, Unchanged> {
        let mut copy = Copied { imports: main.imports, ..Copied::default() };
        let mut exports = ExportSection::new();
        exports.export(MEMORY, ExportKind::Memory, 0);
        let mut needed: Vec<_> = roles.needed.keys().collect();
        // The output is the same for the same component.
        needed.sort_unstable();
        for name in needed {
            match main.exports.get(name) {
                Some((ExternalKind::Memory, _)) => exports.export(name, ExportKind::Memory, 0),
                Some((ExternalKind::Func, index)) => {
                    exports.export(name, ExportKind::Func, copy.function_index(*index)?)
                }
                _ => return Err(Unchanged("the guest lacks an export")),
            };
        }
        let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
        let mut next = 0;
        while let Some(was) = copy.functions.order.get(next) {
            if next == MOST_FUNCTIONS {
                return Err(Unchanged("its allocator needs too much of the guest"));
            }
            let own = was.checked_sub(main.imports).map(|index| index as usize);
            let body = own.and_then(|own| main.functions.get(own).zip(main.bodies.get(own)));
            let (ty, body) = body.ok_or(Unchanged("the guest lacks a function"))?;
            functions.function(*ty);
            copy.parse_function_body(&mut code, body.clone())?;
            next += 1;
        }
        let place = u32::try_from(next).map_err(|_| Unchanged("it has too many functions"))?;
        functions.function(0);
        code.function(
            Function::new([]).instruction(&Instruction::Unreachable).instruction(&Instruction::End),
        );
        exports.export(PLACE, ExportKind::Func, place);
        let (globals, shared) = globals(main, &mut copy, &mut exports)?;
        let mut module = Module::new();
        let mut types = TypeSection::new();
        copy.parse_type_section(&mut types, main.types.clone())?;
        let mut memories = MemorySection::new();
        memories.memory(copy.memory_type(main.memory)?);
        let mut data = DataSection::new();
        for segment in &main.data {
            check_segment(segment)?;
            copy.parse_data(&mut data, segment.clone())?;
        }
        module.section(&types).section(&functions).section(&memories).section(&globals);
        module.section(&exports).section(&code).section(&data);
        let named = |(now, was)| Some((now, *main.names.functions.get(was)?));
        let names = (0..).zip(&copy.functions.order).filter_map(named);
        module.section(&name_section(main.names.module, names));
        let functions = copy.functions.order.iter().filter_map(|was| was.checked_sub(main.imports));
        Ok(Self { bytes: module.finish(), shared, functions: functions.collect() })
    }
}

/// The names of a module and its functions, in the order of their indices: a backtrace shows them.
pub(crate) fn name_section<'a>(
    module: Option<&str>,
    functions: impl Iterator<Item = (u32, &'a str)>,
) -> NameSection {
    let mut map = NameMap::new();
    functions.for_each(|(index, name)| map.append(index, name));
    let mut names = NameSection::new();
    if let Some(module) = module {
        names.module(module);
    }
    names.functions(&map);
    names
}

/// The globals that the copied functions use. Those that never change are there twice.
fn globals(
    main: &MainModule<'_>,
    copy: &mut Copied,
    exports: &mut ExportSection,
) -> Result<(GlobalSection, Vec<SharedGlobal>), Unchanged> {
    let (mut globals, mut shared) = (GlobalSection::new(), Vec::new());
    for (now, was) in (0..).zip(copy.globals.order.clone()) {
        let global = main.globals.get(was as usize).ok_or(Unchanged("the guest lacks a global"))?;
        if !is_constant(&global.init_expr)? {
            return Err(Unchanged("its allocator needs a global that is not a constant"));
        }
        if global.ty.mutable {
            exports.export(&global_name(was), ExportKind::Global, now);
            shared.push(SharedGlobal { was, ty: copy.global_type(global.ty)? });
        }
        copy.parse_global(&mut globals, global.clone())?;
    }
    Ok((globals, shared))
}

/// Copies functions of the guest and numbers what they use anew, in the order of its first use.
#[derive(Default)]
struct Copied {
    imports: u32,
    functions: Numbers,
    globals: Numbers,
}

#[derive(Default)]
struct Numbers {
    now: HashMap<u32, u32>,
    order: Vec<u32>,
}

impl Numbers {
    fn of(&mut self, was: u32) -> u32 {
        let next = u32::try_from(self.order.len()).unwrap_or(u32::MAX);
        *self.now.entry(was).or_insert_with(|| {
            self.order.push(was);
            next
        })
    }
}

fn not_alone() -> Error<Unchanged> {
    Error::UserError(Unchanged("its allocator needs the rest of the guest"))
}

impl Reencode for Copied {
    type Error = Unchanged;

    fn function_index(&mut self, was: u32) -> Result<u32, Error<Unchanged>> {
        if was < self.imports { Err(not_alone()) } else { Ok(self.functions.of(was)) }
    }

    fn global_index(&mut self, was: u32) -> Result<u32, Error<Unchanged>> {
        Ok(self.globals.of(was))
    }

    fn table_index(&mut self, _: u32) -> Result<u32, Error<Unchanged>> {
        Err(not_alone())
    }

    fn element_index(&mut self, _: u32) -> Result<u32, Error<Unchanged>> {
        Err(not_alone())
    }

    fn data_index(&mut self, _: u32) -> Result<u32, Error<Unchanged>> {
        Err(not_alone())
    }

    fn tag_index(&mut self, _: u32) -> Result<u32, Error<Unchanged>> {
        Err(not_alone())
    }

    fn instruction<'a>(
        &mut self,
        operator: Operator<'a>,
    ) -> Result<Instruction<'a>, Error<Unchanged>> {
        match operator {
            // The same function of another module is another reference.
            Operator::RefFunc { .. } => Err(not_alone()),
            operator => utils::instruction(self, operator),
        }
    }
}
