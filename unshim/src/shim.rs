//! The two modules between a guest and the host functions that read its memory.

use std::collections::HashMap;

use wasmparser::{
    ElementItems, ElementKind, ExternalKind, FuncType, FunctionBody, Operator, Parser, Payload,
    TypeRef,
};

use crate::unchanged::Unchanged;

const SHIM: Unchanged = Unchanged("its shim does more than a shim");
const FIXUP: Unchanged = Unchanged("its fixup does more than a fixup");

/// The place in the table that each function of a shim calls, by the name of its export.
pub(crate) fn slots_of_shim(module: &[u8]) -> Result<HashMap<&str, u32>, Unchanged> {
    let (mut types, mut functions, mut exports, mut bodies) = (vec![], vec![], vec![], vec![]);
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::TypeSection(section) => {
                types = section.into_iter_err_on_gc_types().collect::<Result<Vec<_>, _>>()?;
            }
            Payload::FunctionSection(section) => {
                functions = section.into_iter().collect::<Result<Vec<_>, _>>()?;
            }
            Payload::TableSection(section) if section.count() == 1 => {}
            Payload::ExportSection(section) => {
                exports = section.into_iter().collect::<Result<Vec<_>, _>>()?;
            }
            Payload::CodeSectionEntry(body) => bodies.push(body),
            Payload::Version { .. }
            | Payload::CodeSectionStart { .. }
            | Payload::CustomSection(_)
            | Payload::End(_) => {}
            _ => return Err(SHIM),
        }
    }
    let mut slots = HashMap::new();
    for export in exports.iter().filter(|export| export.kind == ExternalKind::Func) {
        let index = export.index as usize;
        let ty = *functions.get(index).ok_or(SHIM)?;
        let signature = types.get(ty as usize).ok_or(SHIM)?;
        slots.insert(export.name, slot(bodies.get(index).ok_or(SHIM)?, ty, signature)?);
    }
    Ok(slots)
}

/// The place in the table of a function that does nothing but call what is there with its own parameters.
fn slot(body: &FunctionBody<'_>, ty: u32, signature: &FuncType) -> Result<u32, Unchanged> {
    if body.get_locals_reader()?.get_count() != 0 {
        return Err(SHIM);
    }
    let mut operators = body.get_operators_reader()?;
    for parameter in 0..signature.params().len() {
        match operators.read()? {
            Operator::LocalGet { local_index } if local_index as usize == parameter => {}
            _ => return Err(SHIM),
        }
    }
    let Operator::I32Const { value } = operators.read()? else { return Err(SHIM) };
    match operators.read()? {
        Operator::CallIndirect { type_index, table_index: 0 } if type_index == ty => {}
        _ => return Err(SHIM),
    }
    match operators.read()? {
        Operator::End if operators.eof() => u32::try_from(value).map_err(|_| SHIM),
        _ => Err(SHIM),
    }
}

/// What a fixup puts where.
pub(crate) struct Fixup<'a> {
    /// The name of the table among its imports.
    pub(crate) table: &'a str,
    /// The name of the imported function for each place.
    pub(crate) places: HashMap<u32, &'a str>,
}

impl<'a> Fixup<'a> {
    /// Reads a module whose imports all come from the argument with this name.
    pub(crate) fn read(module: &'a [u8], argument: &str) -> Result<Self, Unchanged> {
        let (mut functions, mut table, mut places) = (vec![], None, None);
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        match import.ty {
                            _ if import.module != argument => return Err(FIXUP),
                            TypeRef::Func(_) => functions.push(import.name),
                            TypeRef::Table(_) if table.is_none() => table = Some(import.name),
                            _ => return Err(FIXUP),
                        }
                    }
                }
                Payload::ElementSection(section) if section.count() == 1 => {
                    for element in section {
                        places = Some(placed(&element?, &functions)?);
                    }
                }
                Payload::Version { .. }
                | Payload::TypeSection(_)
                | Payload::CustomSection(_)
                | Payload::End(_) => {}
                _ => return Err(FIXUP),
            }
        }
        Ok(Self { table: table.ok_or(FIXUP)?, places: places.ok_or(FIXUP)? })
    }
}

fn placed<'a>(
    element: &wasmparser::Element<'_>,
    functions: &[&'a str],
) -> Result<HashMap<u32, &'a str>, Unchanged> {
    let ElementKind::Active { table_index: None | Some(0), offset_expr } = &element.kind else {
        return Err(FIXUP);
    };
    let mut offset = offset_expr.get_operators_reader();
    let (Operator::I32Const { value }, Operator::End) = (offset.read()?, offset.read()?) else {
        return Err(FIXUP);
    };
    let first = u32::try_from(value).map_err(|_| FIXUP)?;
    let ElementItems::Functions(items) = &element.items else { return Err(FIXUP) };
    let mut places = HashMap::new();
    for (place, function) in (first..).zip(items.clone()) {
        let name = functions.get(function? as usize).ok_or(FIXUP)?;
        places.insert(place, *name);
    }
    Ok(places)
}
