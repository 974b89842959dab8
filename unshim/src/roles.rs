//! Which instance of a component is which: shim, guest, fixup.

use std::collections::HashMap;

use wasmparser::{ExternalKind, Instance, InstantiationArg};

use crate::outline::ComponentOutline;
use crate::shim::{Fixup, slots_of_shim};
use crate::unchanged::Unchanged;

/// The arguments that the guest gets in addition: the base, and the host functions made with its memory.
pub(crate) const BASE: &str = "host:unshim/base";
pub(crate) const LOWERED: &str = "host:unshim/lowered";

/// The roles of instances and modules, by index.
pub(crate) struct Roles<'a> {
    pub(crate) shim: usize,
    pub(crate) main: usize,
    /// The inline instance that the fixup gets: the table, and the host functions.
    pub(crate) arguments: usize,
    pub(crate) fixup: usize,
    pub(crate) shim_module: usize,
    pub(crate) main_module: usize,
    pub(crate) fixup_module: usize,
    /// The imports of the guest from the shim, by module and name: the place in `ends` of what they end at.
    pub(crate) lowered: HashMap<(&'a str, &'a str), usize>,
    /// Core functions. Several imports may end at the same.
    pub(crate) ends: Vec<u32>,
    /// Exports of the guest that host functions are made with: memories and functions.
    pub(crate) needed: HashMap<&'a str, ExternalKind>,
}

impl<'a> Roles<'a> {
    pub(crate) fn find(outline: &ComponentOutline<'a>) -> Result<Self, Unchanged> {
        let made: Vec<_> = outline.instances.iter().enumerate().filter_map(made).collect();
        let [(shim, shim_module, []), (main, main_module, imports), (fixup, fixup_module, [given])] =
            made[..]
        else {
            return Err(Unchanged("its core instances are not shim, guest and fixup"));
        };
        let mut modules = [shim_module, main_module, fixup_module];
        modules.sort_unstable();
        if modules.windows(2).any(|pair| pair[0] == pair[1]) || modules[2] >= outline.modules.len()
        {
            return Err(Unchanged("a module of it is there twice"));
        }
        if imports.iter().any(|import| import.name == BASE || import.name == LOWERED) {
            return Err(Unchanged("it has no shim any more"));
        }
        let fixed = Fixup::read(outline.modules[fixup_module], given.name)?;
        let arguments = given.index as usize;
        only_table(outline, shim, arguments, fixed.table)?;
        if outline.aliases.iter().any(|alias| alias.instance != shim && alias.instance != main) {
            return Err(Unchanged("it takes items out of other instances"));
        }
        let slots = slots_of_shim(outline.modules[shim_module])?;
        let (lowered, ends) = lowered(
            outline,
            shim,
            imports,
            |name| fixed.places.get(slots.get(name)?).copied(),
            inline(outline, given.index)?,
        )?;
        let needed = needed(outline, main, fixup)?;
        let roles = Self {
            shim,
            main,
            arguments,
            fixup,
            shim_module,
            main_module,
            fixup_module,
            lowered,
            ends,
            needed,
        };
        Ok(roles)
    }
}

type Made<'o, 'a> = (usize, usize, &'o [InstantiationArg<'a>]);

/// An instance of a module: its index, the module's, and its arguments.
fn made<'o, 'a>((index, instance): (usize, &'o Instance<'a>)) -> Option<Made<'o, 'a>> {
    match instance {
        Instance::Instantiate { module_index, args } => Some((index, *module_index as usize, args)),
        Instance::FromExports(_) => None,
    }
}

/// The exports of an inline instance.
fn inline<'o, 'a>(
    outline: &'o ComponentOutline<'a>,
    index: u32,
) -> Result<&'o [wasmparser::Export<'a>], Unchanged> {
    match outline.instances.get(index as usize) {
        Some(Instance::FromExports(exports)) => Ok(exports),
        _ => Err(Unchanged("an instance is an argument of another")),
    }
}

type Lowered<'a> = (HashMap<(&'a str, &'a str), usize>, Vec<u32>);

/// Follows each import from the shim to the core function that it ends at, among those that were `handed` to the fixup.
/// `place` says under which name for a function of the shim.
fn lowered<'a>(
    outline: &ComponentOutline<'a>,
    shim: usize,
    imports: &[InstantiationArg<'a>],
    place: impl Fn(&str) -> Option<&'a str>,
    handed: &[wasmparser::Export<'a>],
) -> Result<Lowered<'a>, Unchanged> {
    let from_shim = |function: u32| {
        let export = (*outline.core_functions.get(function as usize)?)?;
        (export.instance == shim).then_some(export.name)
    };
    let handed: HashMap<_, _> =
        handed.iter().map(|export| (export.name, (export.kind, export.index))).collect();
    let mut used = outline.used_functions.iter().copied().chain(
        handed.values().filter(|(kind, _)| *kind == ExternalKind::Func).map(|(_, index)| *index),
    );
    if used.any(|function| from_shim(function).is_some()) {
        return Err(Unchanged("its shim is used by more than the guest"));
    }
    let (mut lowered, mut ends) = (HashMap::new(), Vec::new());
    for import in imports {
        for export in inline(outline, import.index)? {
            if export.kind != ExternalKind::Func {
                return Err(Unchanged("the guest imports more than functions"));
            }
            let Some(name) = from_shim(export.index) else { continue };
            let Some((ExternalKind::Func, end)) = place(name).and_then(|name| handed.get(name))
            else {
                return Err(Unchanged("its fixup lacks a function"));
            };
            lowered.insert((import.name, export.name), ends.len());
            ends.push(*end);
        }
    }
    Ok((lowered, ends))
}

/// Checks that there is one table among the core items, which goes from the shim to the fixup and nowhere else.
fn only_table<'a>(
    outline: &ComponentOutline<'a>,
    shim: usize,
    arguments: usize,
    name: &str,
) -> Result<(), Unchanged> {
    let tables = |kind| kind == ExternalKind::Table;
    let mut taken = outline.aliases.iter().filter(|alias| tables(alias.kind));
    let one = taken.next().is_some_and(|alias| alias.instance == shim) && taken.next().is_none();
    let mut handed = outline.instances.iter().enumerate().flat_map(|(index, instance)| {
        let exports = match instance {
            Instance::FromExports(exports) => &exports[..],
            Instance::Instantiate { .. } => &[],
        };
        exports.iter().filter(|export| tables(export.kind)).map(move |export| (index, export.name))
    });
    let fitting = handed.next() == Some((arguments, name)) && handed.next().is_none();
    if one && fitting { Ok(()) } else { Err(Unchanged("it has tables beside that of its shim")) }
}

/// What is taken from the guest before the fixup, to make host functions with.
fn needed<'a>(
    outline: &ComponentOutline<'a>,
    main: usize,
    fixup: usize,
) -> Result<HashMap<&'a str, ExternalKind>, Unchanged> {
    let early =
        outline.aliases.iter().filter(|alias| alias.instance == main && alias.after <= fixup);
    early
        .map(|alias| match alias.kind {
            ExternalKind::Memory | ExternalKind::Func => Ok((alias.name, alias.kind)),
            _ => Err(Unchanged("host functions need more than a memory and an allocator")),
        })
        .collect()
}
