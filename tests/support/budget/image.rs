//! The code of a traced process: which symbol of which file an address belongs to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use object::{
    Object as _, ObjectSegment as _, ObjectSymbol as _, ObjectSymbolTable as _, RelocationTarget,
    SymbolKind,
};

use super::tracer::Tracer;

/// What a mapping of the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The host's own file.
    Host,
    /// A library of the system.
    Library,
    /// The kernel's code in the process: clocks.
    Vdso,
    /// Code that was compiled from WebAssembly.
    Guest,
}

#[derive(Debug)]
struct Mapping {
    end: u64,
    name: String,
}

/// A function or a static.
#[derive(Clone, Debug)]
pub(super) struct Symbol {
    pub(super) start: u64,
    end: u64,
    /// Without the hash of Rust's mangling.
    pub(super) name: String,
    pub(super) origin: Origin,
}

/// All mappings and symbols of the process.
#[derive(Debug)]
pub(super) struct Image {
    binary: String,
    mappings: BTreeMap<u64, Mapping>,
    symbols: BTreeMap<u64, Symbol>,
    /// Functions of which the linker has chosen one of many variants, with the address of that one.
    pub(super) chosen: Vec<(String, u64)>,
    /// The host's file has its table of symbols.
    pub(super) is_named: bool,
}

impl Image {
    /// What is mapped in the traced process now; `binary` is its file.
    pub(super) fn read(tracer: &Tracer, binary: &Path) -> Self {
        let binary = fs::canonicalize(binary).expect("it was started");
        let mut image = Self {
            binary: binary.to_str().expect("a path of ours is text").to_owned(),
            mappings: tracer.maps().lines().filter_map(mapping).collect(),
            symbols: BTreeMap::new(),
            chosen: Vec::new(),
            is_named: false,
        };
        let mut files: BTreeMap<String, u64> = BTreeMap::new();
        for (start, mapping) in &image.mappings {
            if mapping.name.starts_with('/') || mapping.name == "[vdso]" {
                files.entry(mapping.name.clone()).or_insert(*start);
            }
        }
        for (name, start) in files {
            if name == "[vdso]" {
                let end = image.mappings[&start].end;
                let mut bytes = vec![0; usize::try_from(end - start).expect("it is small")];
                tracer.read(start, &mut bytes).expect("the kernel has mapped it");
                image.add(&bytes, start, Origin::Vdso);
            } else if name == image.binary {
                let bytes = fs::read(&binary).expect("it was started");
                image.is_named = image.add(&bytes, start, Origin::Host);
                image.choose(&bytes, start, tracer);
            } else if name.contains(".so") {
                image.add(&fs::read(&name).unwrap_or_default(), start, Origin::Library);
            }
        }
        image
    }

    /// Adds the symbols of a file that is mapped from `start` on. False if it has only those that others use.
    fn add(&mut self, bytes: &[u8], start: u64, origin: Origin) -> bool {
        let Ok(file) = object::File::parse(bytes) else { return false };
        let first = file.segments().map(|segment| segment.address()).min().unwrap_or_default();
        let base = start - first;
        for symbol in file.dynamic_symbols().chain(file.symbols()) {
            let wanted = matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data);
            let (true, false, Ok(name)) = (wanted, symbol.is_undefined(), symbol.name()) else {
                continue;
            };
            let start = base + symbol.address();
            let name = format!("{:#}", rustc_demangle::demangle(name));
            let end = start + symbol.size().max(1);
            self.symbols.insert(start, Symbol { start, end, name, origin });
        }
        file.symbols().next().is_some()
    }

    /// Looks up what the linker has put in place for the functions of other files.
    fn choose(&mut self, bytes: &[u8], start: u64, tracer: &Tracer) {
        let Ok(file) = object::File::parse(bytes) else { return };
        let (Some(relocations), Some(table)) =
            (file.dynamic_relocations(), file.dynamic_symbol_table())
        else {
            return;
        };
        for (offset, relocation) in relocations {
            let RelocationTarget::Symbol(index) = relocation.target() else { continue };
            let Ok(name) = table.symbol_by_index(index).and_then(|symbol| symbol.name()) else {
                continue;
            };
            let mut address = [0; 8];
            tracer.read(start + offset, &mut address).expect("the linker has written it");
            self.chosen.push((name.to_owned(), u64::from_le_bytes(address)));
        }
    }

    /// The symbol that `address` lies in.
    pub(super) fn symbol(&self, address: u64) -> Option<&Symbol> {
        let (_, symbol) = self.symbols.range(..=address).next_back()?;
        (address < symbol.end).then_some(symbol)
    }

    /// All symbols.
    pub(super) fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.symbols.values()
    }

    /// A name for the code at `address`: a function, or what the code is.
    pub(super) fn function(&self, address: u64) -> String {
        if let Some(symbol) = self.symbol(address) {
            return symbol.name.clone();
        }
        let Some(mapping) = self.mapping(address) else {
            return "code without a symbol".to_owned();
        };
        if mapping.name == "[vdso]" || mapping.name.contains(".so") {
            format!("{} (no symbol)", mapping.name)
        } else if mapping.name == self.binary {
            "host (no symbol)".to_owned()
        } else {
            "guest code".to_owned()
        }
    }

    /// The start of the mapping that `address` lies in.
    pub(super) fn mapping_of(&self, address: u64) -> u64 {
        let mapping = self.mappings.range(..=address).next_back();
        mapping.filter(|(_, mapping)| address < mapping.end).map_or(0, |(start, _)| *start)
    }

    fn mapping(&self, address: u64) -> Option<&Mapping> {
        let (_, mapping) = self.mappings.range(..=address).next_back()?;
        (address < mapping.end).then_some(mapping)
    }

    /// What lies at `address`, for people: a static with its name, or the name of the mapping.
    pub(super) fn place(&self, address: u64) -> String {
        if let Some(symbol) = self.symbol(address) {
            return format!("{}+{:#x}", symbol.name, address - symbol.start);
        }
        match self.mapping(address) {
            Some(mapping) if mapping.name.is_empty() => "heap".to_owned(),
            Some(mapping) => mapping.name.clone(),
            None => "memory mapped since".to_owned(),
        }
    }
}

/// One line of `/proc/PID/maps`.
fn mapping(line: &str) -> Option<(u64, Mapping)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let name = fields.nth(4).unwrap_or_default().to_owned();
    let end = u64::from_str_radix(end, 16).ok()?;
    Some((u64::from_str_radix(start, 16).ok()?, Mapping { end, name }))
}
