//! The guest's own module without what has moved to the base.

use std::collections::{HashMap, HashSet};

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{EntityType, GlobalSection, ImportSection, MemorySection, Module};
use wasmparser::{KnownCustom, Parser};

use crate::base::{Base, MEMORY, global_name, name_section};
use crate::main_module::MainModule;
use crate::roles::{BASE, LOWERED, Roles};
use crate::unchanged::Unchanged;

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

    /// Names of functions stay as they are. Others would be of items that have moved, and so would DWARF.
    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), Error<Unchanged>> {
        if let KnownCustom::Name(_) = section.as_known() {
            let all = self.main.names.functions.iter().map(|(index, name)| (*index, *name));
            module.section(&name_section(self.main.names.module, all));
        } else if !section.name().starts_with(".debug_") {
            module.section(&self.custom_section(section)?);
        }
        Ok(())
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
