//! From the DWARF of a component to the table of what is compiled of it.
//!
//! What rewrites a component before it is compiled keeps its functions and their instructions, but not the places at
//! which they stand. DWARF tells of the component as it was. So both are read side by side, instruction by instruction.

use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian};
use wasmparser::{BinaryReaderError, FunctionBody};

use crate::demangle::demangled;
use crate::modules::{CopiedFunctions, Module, modules};
use crate::table::{Builder, SiteId};

/// The DWARF of a component, at most: reading it takes several times its size of memory.
const MOST_DWARF: usize = 64 << 20;

/// Inlined functions at one place. More are left out, the outermost ones.
const MOST_INLINED: usize = 32;

/// Places that are looked up, at most, with the inlined functions there. A component of 20 MB has some 10 million.
const MOST_LOOKUPS: usize = 50_000_000;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// The table of `compiled`, which was made of `original`, as bytes. Empty where that has no DWARF. Where the DWARF is
/// damaged, its functions are left out. Neither need be trusted, but both have to be valid components.
#[must_use]
pub fn extract(original: &[u8], compiled: &[u8], copies: Option<&CopiedFunctions>) -> Vec<u8> {
    let (Ok(original), Ok(compiled)) = (modules(original), modules(compiled)) else {
        return Vec::new();
    };
    let dwarf = |module: &Module<'_>| {
        let sections = module.custom.iter().filter(|(name, _)| name.starts_with(".debug_"));
        sections.map(|(_, data)| data.len()).sum::<usize>()
    };
    if original.iter().map(dwarf).sum::<usize>() > MOST_DWARF {
        return Vec::new();
    }
    let mut extract = Extract { table: Builder::default(), lookups: 0 };
    // Each context is made once, though two modules may need it.
    for (from, module) in original.iter().enumerate() {
        let Some(context) = context(module) else { continue };
        for (to, other) in compiled.iter().enumerate() {
            let copied = copies.filter(|copies| other.top == Some(copies.to));
            match copied {
                Some(copies) if module.top == Some(copies.from) => {
                    let bodies =
                        copies.functions.iter().map(|was| module.bodies.get(*was as usize));
                    extract.module(&context, module.code, bodies.zip(&other.bodies));
                }
                None if to == from => {
                    let bodies = module.bodies.iter().map(Some);
                    extract.module(&context, module.code, bodies.zip(&other.bodies));
                }
                _ => {}
            }
        }
    }
    extract.table.finish()
}

/// The DWARF of a module, if it has any that can be read.
fn context<'a>(module: &Module<'a>) -> Option<Context<Slice<'a>>> {
    if !module.custom.contains_key(".debug_line") {
        return None;
    }
    let section = |id: addr2line::gimli::SectionId| {
        let data = module.custom.get(id.name()).copied().unwrap_or_default();
        Ok::<_, addr2line::gimli::Error>(EndianSlice::new(data, LittleEndian))
    };
    Dwarf::load(section).and_then(Context::from_dwarf).ok()
}

/// A file as its author knows it: of the standard library and of crates from a registry without the folder in which
/// the machine had them that built the component.
fn short(file: &str) -> &str {
    for folder in ["/rustc/", "/registry/src/"] {
        if let Some((_, inside)) = file.split_once(folder)
            && let Some((_, file)) = inside.split_once('/')
        {
            return file;
        }
    }
    file
}

struct Extract {
    table: Builder,
    lookups: usize,
}

impl Extract {
    /// Adds functions, each as it was and as it is compiled.
    fn module<'m, 'a: 'm>(
        &mut self,
        context: &Context<Slice<'_>>,
        code: u64,
        functions: impl Iterator<Item = (Option<&'m FunctionBody<'a>>, &'m FunctionBody<'a>)>,
    ) {
        for (was, is) in functions {
            if let Some(was) = was {
                // Damage is a loss of lines, and nothing else.
                self.function(context, code, was, is).ok();
            }
        }
    }

    fn function(
        &mut self,
        context: &Context<Slice<'_>>,
        code: u64,
        was: &FunctionBody<'_>,
        is: &FunctionBody<'_>,
    ) -> Result<(), BinaryReaderError> {
        let (was_range, is_range) = (was.range(), is.range());
        let low = was_range.start.saturating_sub(code);
        let high = was_range.end.saturating_sub(code);
        let Ok(rows) = context.find_location_range(low, high) else { return Ok(()) };
        let mut rows = rows.peekable();
        let mut now: Option<(u64, Option<SiteId>)> = None;
        let mut places = is.get_operators_reader()?.into_iter_with_offsets();
        for operator in was.get_operators_reader()?.into_iter_with_offsets() {
            let (_, at) = operator?;
            let Some(place) = places.next() else { break };
            let (_, place) = place?;
            let at = at.saturating_sub(code);
            if now.is_some_and(|(end, _)| at < end) {
                continue;
            }
            while rows.next_if(|(start, length, _)| start + length <= at).is_some() {}
            let (site, end) = match rows.peek() {
                Some((start, length, _)) if *start <= at => {
                    (self.site(context, at), start + length)
                }
                Some((start, ..)) => (None, *start),
                None => (None, high),
            };
            self.table.row(place, site);
            now = Some((end, site));
        }
        self.table.row(is_range.end, None);
        Ok(())
    }

    /// The functions at a place, as the innermost one.
    fn site(&mut self, context: &Context<Slice<'_>>, at: u64) -> Option<SiteId> {
        if self.lookups >= MOST_LOOKUPS {
            return None;
        }
        let mut frames = context.find_frames(at).skip_all_loads().ok()?;
        let mut chain = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            self.lookups += 1;
            if chain.len() == MOST_INLINED {
                break;
            }
            let name = frame.function.as_ref().and_then(|name| name.raw_name().ok());
            let name = name.map(|name| demangled(&name)).unwrap_or_default();
            let place = frame.location.and_then(|at| Some((short(at.file?).to_owned(), at.line?)));
            chain.push((name, place.unwrap_or_default()));
        }
        let mut caller = None;
        for (name, (file, line)) in chain.into_iter().rev() {
            caller = Some(self.table.site(&name, &file, line, caller));
        }
        caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_their_authors_know_them() {
        let registry =
            "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/http-1.3.1/src/lib.rs";
        for (file, shown) in [
            (
                "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/ptr/mod.rs",
                "library/core/src/ptr/mod.rs",
            ),
            (registry, "http-1.3.1/src/lib.rs"),
            ("/home/me/shop/src/lib.rs", "/home/me/shop/src/lib.rs"),
            ("src/lib.rs", "src/lib.rs"),
            ("/rustc/", "/rustc/"),
        ] {
            assert_eq!(short(file), shown);
        }
    }
}
