//! The guest's own module: what stands in it.

use std::collections::{BTreeMap, HashMap};

use wasmparser::{
    BinaryReaderError, ConstExpr, CustomSectionReader, Data, DataKind, ExternalKind, FunctionBody,
    Global, KnownCustom, MemoryType, Name, Parser, Payload, TypeRef, TypeSectionReader,
};

use crate::unchanged::Unchanged;

/// What stands in a guest's own module.
pub(crate) struct MainModule<'a> {
    pub(crate) bytes: &'a [u8],
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
    pub(crate) names: ModuleNames<'a>,
}

/// The name of a module, and those of its functions with imports, as far as it says and that can be read.
#[derive(Default)]
pub(crate) struct ModuleNames<'a> {
    pub(crate) module: Option<&'a str>,
    pub(crate) functions: BTreeMap<u32, &'a str>,
}

impl<'a> MainModule<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Unchanged> {
        let (mut types, mut memory, mut imports) = (None, None, 0);
        let (mut functions, mut bodies, mut globals, mut data) = (vec![], vec![], vec![], vec![]);
        let (mut exports, mut names) = (HashMap::new(), ModuleNames::default());
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
                Payload::CustomSection(section) => {
                    // Damaged names are no names.
                    names.read(&section).ok();
                }
                _ => {}
            }
        }
        let types = types.ok_or(Unchanged("the guest has no functions"))?;
        let memory = memory.ok_or(Unchanged("the guest has no memory"))?;
        Ok(Self { bytes, types, imports, functions, bodies, memory, globals, exports, data, names })
    }
}

impl<'a> ModuleNames<'a> {
    /// Adds those of this section, if it has any.
    pub(crate) fn read(
        &mut self,
        section: &CustomSectionReader<'a>,
    ) -> Result<(), BinaryReaderError> {
        let KnownCustom::Name(names) = section.as_known() else { return Ok(()) };
        for part in names {
            match part? {
                Name::Module { name, .. } => self.module = Some(name),
                Name::Function(names) => {
                    for naming in names {
                        let naming = naming?;
                        self.functions.insert(naming.index, naming.name);
                    }
                }
                _ => {}
            }
        }
        Ok(())
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
