//! The top level of a component: its sections in order, and the core items that they define.

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind,
    ComponentOuterAliasKind, ComponentType, ComponentTypeRef, Encoding, ExternalKind, Instance,
    Parser, Payload,
};

use crate::unchanged::Unchanged;

/// A section of the top level.
pub(crate) enum TopSection<'a> {
    /// The core module with this index.
    Module(usize),
    /// Core instances. The first has this index.
    Instances(usize, Vec<Instance<'a>>),
    Aliases(Vec<ComponentAlias<'a>>),
    /// A section that names none of the items that change.
    Other {
        id: u8,
        bytes: &'a [u8],
    },
}

/// An item that a core instance exports, as an alias names it.
#[derive(Clone, Copy)]
pub(crate) struct CoreExport<'a> {
    pub(crate) kind: ExternalKind,
    pub(crate) instance: usize,
    pub(crate) name: &'a str,
    /// The core instances defined before the alias.
    pub(crate) after: usize,
}

/// The top level of a component.
#[derive(Default)]
pub(crate) struct ComponentOutline<'a> {
    pub(crate) sections: Vec<TopSection<'a>>,
    pub(crate) modules: Vec<&'a [u8]>,
    pub(crate) instances: Vec<Instance<'a>>,
    /// All aliases of what core instances export.
    pub(crate) aliases: Vec<CoreExport<'a>>,
    /// Each core function: the export that it is an alias of, or none where it is made of a component's function
    /// or is a built-in one.
    pub(crate) core_functions: Vec<Option<CoreExport<'a>>>,
    /// Core functions named otherwise than as the export of an inline instance.
    pub(crate) used_functions: Vec<u32>,
}

impl<'a> ComponentOutline<'a> {
    pub(crate) fn read(component: &'a [u8]) -> Result<Self, Unchanged> {
        let mut outline = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload?;
            if depth == 0 {
                outline.section(component, &payload)?;
            } else if let Payload::ComponentAliasSection(aliases) = &payload {
                for alias in aliases.clone() {
                    if is_alias_of_outer_module(&alias?) {
                        return Err(Unchanged("a component in it uses its modules"));
                    }
                }
            }
            match payload {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        Ok(outline)
    }

    fn section(&mut self, component: &'a [u8], payload: &Payload<'a>) -> Result<(), Unchanged> {
        let Some((id, range)) = payload.as_section() else {
            return match payload {
                Payload::Version { encoding: Encoding::Module, .. } => {
                    Err(Unchanged("it is a core module"))
                }
                _ => Ok(()),
            };
        };
        let range = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let bytes = range.and_then(|(start, end)| component.get(start..end));
        let bytes = bytes.ok_or(Unchanged("it is cut off"))?;
        let mut section = TopSection::Other { id, bytes };
        match payload {
            Payload::ModuleSection { .. } => {
                section = TopSection::Module(self.modules.len());
                self.modules.push(bytes);
            }
            Payload::InstanceSection(given) => {
                let given = given.clone().into_iter().collect::<Result<Vec<_>, _>>()?;
                section = TopSection::Instances(self.instances.len(), given.clone());
                self.instances.extend(given);
            }
            Payload::ComponentAliasSection(given) => {
                let given = given.clone().into_iter().collect::<Result<Vec<_>, _>>()?;
                given.iter().try_for_each(|alias| self.alias(alias))?;
                section = TopSection::Aliases(given);
            }
            Payload::ComponentCanonicalSection(given) => {
                for function in given.clone() {
                    self.canonical(&function?)?;
                }
            }
            _ => self.other(payload)?,
        }
        self.sections.push(section);
        Ok(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'a>) -> Result<(), Unchanged> {
        match *alias {
            ComponentAlias::CoreInstanceExport { kind, instance_index, name } => {
                let (instance, after) = (instance_index as usize, self.instances.len());
                let export = CoreExport { kind, instance, name, after };
                self.aliases.push(export);
                if kind == ExternalKind::Func {
                    self.core_functions.push(Some(export));
                }
                Ok(())
            }
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => {
                Err(Unchanged("it imports modules"))
            }
            _ if is_alias_of_outer_module(alias) => Err(Unchanged("it uses outer modules")),
            ComponentAlias::InstanceExport { .. } | ComponentAlias::Outer { .. } => Ok(()),
        }
    }

    fn canonical(&mut self, function: &CanonicalFunction) -> Result<(), Unchanged> {
        use CanonicalFunction as C;
        let options = match function {
            C::Lift { core_func_index, options, .. } => {
                self.used_functions.push(*core_func_index);
                options
            }
            C::Lower { options, .. }
            | C::TaskReturn { options, .. }
            | C::StreamRead { options, .. }
            | C::StreamWrite { options, .. }
            | C::FutureRead { options, .. }
            | C::FutureWrite { options, .. }
            | C::ErrorContextNew { options }
            | C::ErrorContextDebugMessage { options } => options,
            C::ThreadSpawnIndirect { .. } | C::ThreadNewIndirect { .. } => {
                return Err(Unchanged("it starts threads by a table"));
            }
            _ => &Box::default(),
        };
        self.used_functions.extend(options.iter().filter_map(|option| match option {
            CanonicalOption::Realloc(function)
            | CanonicalOption::PostReturn(function)
            | CanonicalOption::Callback(function) => Some(*function),
            _ => None,
        }));
        if !matches!(function, C::Lift { .. }) {
            self.core_functions.push(None);
        }
        Ok(())
    }

    /// Sections that stay as they are, if they name no core module.
    fn other(&mut self, payload: &Payload<'a>) -> Result<(), Unchanged> {
        let module = || Err(Unchanged("modules of it are used as values"));
        match payload {
            Payload::ComponentTypeSection(types) => {
                for ty in types.clone() {
                    if let ComponentType::Resource { dtor: Some(function), .. } = ty? {
                        self.used_functions.push(function);
                    }
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    if let ComponentTypeRef::Module(_) = import?.ty {
                        return module();
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    if export?.kind == ComponentExternalKind::Module {
                        return module();
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances.clone() {
                    if uses_a_module(&instance?) {
                        return module();
                    }
                }
            }
            Payload::ComponentSection { .. }
            | Payload::CoreTypeSection(_)
            | Payload::CustomSection(_) => {}
            _ => return Err(Unchanged("it has a section that is not known")),
        }
        Ok(())
    }
}

fn is_alias_of_outer_module(alias: &ComponentAlias<'_>) -> bool {
    matches!(alias, ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, .. })
}

fn uses_a_module(instance: &wasmparser::ComponentInstance<'_>) -> bool {
    use wasmparser::ComponentInstance as I;
    match instance {
        I::Instantiate { args, .. } => {
            args.iter().any(|arg| arg.kind == ComponentExternalKind::Module)
        }
        I::FromExports(exports) => {
            exports.iter().any(|export| export.kind == ComponentExternalKind::Module)
        }
    }
}
