//! The guest's own module: what stands in it, and the same without what has moved to the base.

use std::collections::{HashMap, HashSet};

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{EntityType, GlobalSection, ImportSection, MemorySection, Module};
use wasmparser::{
    ConstExpr, Data, DataKind, ExternalKind, FunctionBody, Global, MemoryType, Parser, Payload,
    TypeRef, TypeSectionReader,
};

use crate::Unchanged;
use crate::base::{Base, MEMORY, global_name};
use crate::roles::{BASE, LOWERED, Roles};

/// What stands in a guest's own module.
pub(crate) struct MainModule<'a> {
    bytes: &'a [u8],
    pub(crate) types: TypeSectionReader<'a>,
    /// The functions that it imports. It imports nothing else.
    pub(crate) imports: u32,
    /// The types of its own functions, and their bodies.
    pub(crate) functions: Vec<u32>,
    pub(crate) bodies: Vec<FunctionBody<'a>>,
    pub(crate) memory: MemoryType,
    pub(crate) globals: Vec<Global<'a>>,
    pub(crate) exports: HashMap<&'a str, (ExternalKind, u32)>,
    pub(crate) data: Vec<Data<'a>>,
}

impl<'a> MainModule<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Unchanged> {
        let (mut types, mut memory, mut imports) = (None, None, 0);
        let (mut functions, mut bodies, mut globals, mut data) = (vec![], vec![], vec![], vec![]);
        let mut exports = HashMap::new();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::TypeSection(section) => types = Some(section),
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        match import?.ty {
                            TypeRef::Func(_) => imports += 1,
                            _ => return Err(Unchanged("the guest imports more than functions")),
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    functions = section.into_iter().collect::<Result<_, _>>()?;
                }
                Payload::MemorySection(section) if section.count() == 1 => {
                    memory = section.into_iter().next().transpose()?;
                }
                Payload::MemorySection(_) => {
                    return Err(Unchanged("the guest has several memories"));
                }
                Payload::GlobalSection(section) => {
                    globals = section.into_iter().collect::<Result<_, _>>()?;
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        exports.insert(export.name, (export.kind, export.index));
                    }
                }
                Payload::StartSection { .. } => {
                    return Err(Unchanged("the guest has a start function"));
                }
                Payload::CodeSectionEntry(body) => bodies.push(body),
                Payload::DataSection(section) => {
                    data = section.into_iter().collect::<Result<_, _>>()?;
                }
                _ => {}
            }
        }
        let types = types.ok_or(Unchanged("the guest has no functions"))?;
        let memory = memory.ok_or(Unchanged("the guest has no memory"))?;
        Ok(Self { bytes, types, imports, functions, bodies, memory, globals, exports, data })
    }
}

/// Whether the expression is one constant, which needs nothing of the module that it stands in.
pub(crate) fn is_constant(expression: &ConstExpr<'_>) -> Result<bool, Unchanged> {
    use wasmparser::Operator as O;
    let mut operators = expression.get_operators_reader();
    let constant = matches!(
        operators.read()?,
        O::I32Const { .. } | O::I64Const { .. } | O::F32Const { .. } | O::F64Const { .. }
    );
    Ok(constant && matches!(operators.read()?, O::End) && operators.eof())
}

/// Checks that the segment is in place before any code runs, wherever it stands.
pub(crate) fn check_segment(segment: &Data<'_>) -> Result<(), Unchanged> {
    match &segment.kind {
        DataKind::Active { memory_index: 0, offset_expr } if is_constant(offset_expr)? => Ok(()),
        _ => Err(Unchanged("the guest copies data itself")),
    }
}

/// The guest's module, importing what has moved to the base, and host functions without the way through the shim.
pub(crate) fn without_base(
    main: &MainModule<'_>,
    base: &Base,
    roles: &Roles<'_>,
) -> Result<Vec<u8>, Unchanged> {
    let moved: HashSet<u32> = base.shared.iter().map(|shared| shared.was).collect();
    let mut globals = HashMap::new();
    for (now, shared) in (0..).zip(&base.shared) {
        globals.insert(shared.was, now);
    }
    let kept = (0..).zip(&main.globals).map(|(was, _)| was).filter(|was| !moved.contains(was));
    for (now, was) in (u32::try_from(moved.len()).unwrap_or(u32::MAX)..).zip(kept) {
        globals.insert(was, now);
    }
    let mut rest = Rest { main, base, roles, globals, moved };
    let mut module = Module::new();
    rest.parse_core_module(&mut module, Parser::new(0), main.bytes)?;
    Ok(module.finish())
}

struct Rest<'m, 'a> {
    main: &'m MainModule<'a>,
    base: &'m Base,
    roles: &'m Roles<'a>,
    /// The index that each global has now.
    globals: HashMap<u32, u32>,
    moved: HashSet<u32>,
}

impl Reencode for Rest<'_, '_> {
    type Error = Unchanged;

    fn global_index(&mut self, was: u32) -> Result<u32, Error<Unchanged>> {
        self.globals.get(&was).copied().ok_or(Error::UserError(Unchanged("it lacks a global")))
    }

    fn data_index(&mut self, _: u32) -> Result<u32, Error<Unchanged>> {
        Err(Error::UserError(Unchanged("the guest copies data itself")))
    }

    fn data_count(&mut self, _: u32) -> Result<u32, Error<Unchanged>> {
        Ok(0)
    }

    fn parse_data_section(
        &mut self,
        _: &mut wasm_encoder::DataSection,
        _: wasmparser::DataSectionReader<'_>,
    ) -> Result<(), Error<Unchanged>> {
        Ok(())
    }

    fn parse_memory_section(
        &mut self,
        _: &mut MemorySection,
        _: wasmparser::MemorySectionReader<'_>,
    ) -> Result<(), Error<Unchanged>> {
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<(), Error<Unchanged>> {
        for (was, global) in (0..).zip(section) {
            if !self.moved.contains(&was) {
                self.parse_global(globals, global?)?;
            }
        }
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), Error<Unchanged>> {
        for import in section.into_imports() {
            let wasmparser::Import { module, name, ty } = import?;
            let ty = self.entity_type(ty)?;
            match self.roles.lowered.get(&(module, name)) {
                Some(place) => imports.import(LOWERED, &place.to_string(), ty),
                None => imports.import(module, name, ty),
            };
        }
        let memory = self.memory_type(self.main.memory)?;
        imports.import(BASE, MEMORY, EntityType::Memory(memory));
        for shared in &self.base.shared {
            let ty = EntityType::Global(shared.ty);
            imports.import(BASE, &global_name(shared.was), ty);
        }
        Ok(())
    }
}
