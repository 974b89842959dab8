//! The core modules of a component: their code and their custom sections.

use std::collections::HashMap;

use wasmparser::{BinaryReaderError, Encoding, FunctionBody, Parser, Payload};

/// Functions that are copies of another module's, as `host_unshim` makes them. Modules are counted at the top level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedFunctions {
    /// The module with the copies.
    pub to: usize,
    /// The module that they were copied from.
    pub from: usize,
    /// The function that each of them was, without imports.
    pub functions: Vec<u32>,
}

/// A core module.
#[derive(Default)]
pub(crate) struct Module<'a> {
    /// Where its code begins: DWARF counts from there.
    pub(crate) code: u64,
    pub(crate) bodies: Vec<FunctionBody<'a>>,
    pub(crate) custom: HashMap<&'a str, &'a [u8]>,
    /// Its index at the top level, unless it is in a component within the component.
    pub(crate) top: Option<usize>,
}

/// All core modules in the order in which they stand.
pub(crate) fn modules(component: &[u8]) -> Result<Vec<Module<'_>>, BinaryReaderError> {
    let (mut modules, mut open, mut tops) = (Vec::<Module<'_>>::new(), Vec::new(), 0);
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::Version { encoding, .. } => {
                let is_module = encoding == Encoding::Module;
                if is_module {
                    let top = (open.len() == 1).then_some(tops);
                    tops += usize::from(top.is_some());
                    modules.push(Module { top, ..Module::default() });
                }
                open.push(is_module);
            }
            Payload::End(_) => {
                open.pop();
            }
            Payload::CodeSectionStart { unchecked_range, .. } => {
                if let Some(module) = modules.last_mut() {
                    module.code = unchecked_range.start;
                }
            }
            Payload::CodeSectionEntry(body) => {
                if let Some(module) = modules.last_mut() {
                    module.bodies.push(body);
                }
            }
            // Of components too, where it means nothing.
            Payload::CustomSection(section) if open.last() == Some(&true) => {
                if let Some(module) = modules.last_mut() {
                    module.custom.insert(section.name(), section.data());
                }
            }
            _ => {}
        }
    }
    Ok(modules)
}
