//! Writes the component again. All items keep their index: where one is needed no longer, another stands in for it.

use wasm_encoder::{
    Alias, Component, ComponentAliasSection, ExportKind, InstanceSection, ModuleArg, RawSection,
};
use wasmparser::{ComponentAlias, ExternalKind, Instance};

use crate::base::PLACE;
use crate::outline::{ComponentOutline, TopSection};
use crate::roles::{BASE, LOWERED, Roles};

/// The id of a section with a core module.
const CORE_MODULE: u8 = 1;

/// A core module with nothing in it.
const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

pub(crate) fn component(
    outline: &ComponentOutline<'_>,
    roles: &Roles<'_>,
    base: &[u8],
    main: &[u8],
) -> Vec<u8> {
    let mut component = Component::new();
    for section in &outline.sections {
        match section {
            TopSection::Module(index) => {
                let data = match *index {
                    index if index == roles.shim_module => base,
                    index if index == roles.main_module => main,
                    index if index == roles.fixup_module => EMPTY,
                    index => outline.modules[index],
                };
                component.section(&RawSection { id: CORE_MODULE, data });
            }
            TopSection::Instances(first, given) => {
                let mut section = InstanceSection::new();
                for (index, given) in (*first..).zip(given) {
                    instance(&mut section, outline, roles, index, given);
                }
                component.section(&section);
            }
            TopSection::Aliases(given) => {
                let mut section = ComponentAliasSection::new();
                for given in given {
                    alias(&mut section, roles, given);
                }
                component.section(&section);
            }
            TopSection::Other { id, bytes } => {
                component.section(&RawSection { id: *id, data: bytes });
            }
        }
    }
    component.finish()
}

fn instance(
    section: &mut InstanceSection,
    outline: &ComponentOutline<'_>,
    roles: &Roles<'_>,
    index: usize,
    given: &Instance<'_>,
) {
    match given {
        // The guest comes where the fixup was, because all that it needs is there by then.
        Instance::Instantiate { .. } if index == roles.main => {
            section.export_items::<_, &str>([]);
        }
        Instance::Instantiate { .. } if index == roles.fixup => {
            let Some(Instance::Instantiate { module_index, args }) =
                outline.instances.get(roles.main)
            else {
                return;
            };
            let mut all: Vec<_> =
                args.iter().map(|arg| (arg.name, ModuleArg::Instance(arg.index))).collect();
            all.push((BASE, ModuleArg::Instance(narrow(roles.shim))));
            all.push((LOWERED, ModuleArg::Instance(narrow(roles.arguments))));
            section.instantiate(*module_index, all);
        }
        Instance::Instantiate { module_index, args } => {
            let args = args.iter().map(|arg| (arg.name, ModuleArg::Instance(arg.index)));
            section.instantiate(*module_index, args);
        }
        Instance::FromExports(_) if index == roles.arguments => {
            let ends = roles.ends.iter().enumerate();
            let items: Vec<_> =
                ends.map(|(place, end)| (place.to_string(), ExportKind::Func, *end)).collect();
            section.export_items(items);
        }
        Instance::FromExports(exports) => {
            let items: Vec<_> = exports
                .iter()
                .map(|export| (export.name, ExportKind::from(export.kind), export.index))
                .collect();
            section.export_items(items);
        }
    }
}

fn alias(section: &mut ComponentAliasSection, roles: &Roles<'_>, given: &ComponentAlias<'_>) {
    match *given {
        ComponentAlias::CoreInstanceExport { kind: ExternalKind::Table, .. } => {}
        ComponentAlias::CoreInstanceExport { kind, instance_index, name } => {
            let (instance, name) = match instance_index as usize {
                index if index == roles.shim => (roles.shim, PLACE),
                index if index == roles.main && roles.needed.contains_key(name) => {
                    (roles.shim, name)
                }
                index if index == roles.main => (roles.fixup, name),
                index => (index, name),
            };
            let instance = narrow(instance);
            section.alias(Alias::CoreInstanceExport { instance, kind: kind.into(), name });
        }
        ComponentAlias::InstanceExport { kind, instance_index, name } => {
            section.alias(Alias::InstanceExport {
                instance: instance_index,
                kind: kind.into(),
                name,
            });
        }
        ComponentAlias::Outer { kind, count, index } => {
            section.alias(Alias::Outer { kind: kind.into(), count, index });
        }
    }
}

/// Indices of a component have 32 bits.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
