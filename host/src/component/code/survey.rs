//! Imports and exports of a component, read from its bytes before it is compiled.

use host_manifest::escape::quote;
use std::fmt;

use wasmparser::{Encoding, MemoryType, Parser, Payload};

use super::config_schema::SECTION;
use super::engine::Needs;

/// The interface through which a component serves requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// wasi:http/incoming-handler@0.2
    P2,
    /// wasi:http/handler@0.3
    P3,
}

/// Packages that components may import from. Whether each interface is there, with the exact type, the
/// linker decides.
const PACKAGES: [&str; 11] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:config/",
    "wasi:filesystem/",
    "wasi:http/",
    "wasi:io/",
    "wasi:keyvalue/",
    "wasi:random/",
    "wasi:sockets/",
    "host:keyvalue/",
    "host:lifecycle/",
];

/// The custom section with the grants that a component wants.
const WANTS: &str = "host:wants";

/// More names take more memory than their file, and no real component has as many.
const MOST_NAMES: usize = 10_000;

/// Imports and exports of a component.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Names of its imports, in its order.
    pub imports: Vec<String>,
    /// Names of its exports, in its order.
    pub exports: Vec<String>,
    /// The schema of its configuration, as it carries it, if it does.
    pub(crate) config_schema: Option<Vec<u8>>,
    /// The grants that it wants, as it says so, if it does.
    pub(crate) wants: Option<Vec<u8>>,
    /// What an instance needs, if each core module is instantiated once, as toolchains have it.
    pub(crate) needs: Needs,
}

impl Kind {
    /// The name of the interface that a component exports.
    #[must_use]
    pub fn interface(self) -> &'static str {
        match self {
            Self::P2 => "wasi:http/incoming-handler@0.2",
            Self::P3 => "wasi:http/handler@0.3",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P2 => "wasi:http 0.2",
            Self::P3 => "wasi:http 0.3",
        })
    }
}

/// Why bytes cannot be surveyed.
#[derive(Debug)]
pub(crate) enum NotAComponent {
    /// A core module: the step that makes a component of it is missing.
    CoreModule,
    /// A file of another kind: what it is, and what to do.
    Else(&'static str),
    /// Not WebAssembly, or damaged.
    Malformed(String),
}

impl Survey {
    /// Reads the top level of a component, and the memories and tables below. Validates nothing there.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, NotAComponent> {
        let malformed =
            |why: wasmparser::BinaryReaderError| NotAComponent::Malformed(one_line(why.message()));
        if let Some(what) = something_else(bytes) {
            return Err(NotAComponent::Else(what));
        }
        if !bytes.starts_with(b"\0asm") {
            let why = "it does not begin as WebAssembly does";
            return Err(NotAComponent::Malformed(why.into()));
        }
        let mut survey = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(malformed)? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    return Err(NotAComponent::CoreModule);
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        add(&mut survey.imports, import.map_err(malformed)?.name.name)?;
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        add(&mut survey.exports, export.map_err(malformed)?.name.name)?;
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        survey.needs.add_memory(initial_bytes(&memory.map_err(malformed)?));
                    }
                }
                Payload::CustomSection(section) if section.name() == SECTION => {
                    survey.config_schema = Some(section.data().to_owned());
                }
                Payload::CustomSection(section) if section.name() == WANTS => {
                    survey.wants = Some(section.data().to_owned());
                }
                Payload::TableSection(section) => survey.needs.add_tables(section.count()),
                _ => {}
            }
        }
        Ok(survey)
    }

    /// The interface for requests; the newer one if it exports both.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        [Kind::P3, Kind::P2]
            .into_iter()
            .find(|kind| self.exports.iter().any(|name| is_of_version(name, kind.interface())))
    }

    /// Whether an import or export needs an engine with component-model async.
    #[must_use]
    pub(crate) fn needs_concurrency(&self) -> bool {
        self.kind() == Some(Kind::P3)
            || self.imports.iter().any(|name| {
                (name.starts_with("wasi:") && is_p3(name))
                    || name.starts_with("host:lifecycle/drain-async@")
            })
    }

    /// Imports that the host does not have, judged by their names. The linker compares the types.
    #[must_use]
    pub(crate) fn unknown_imports(&self) -> Vec<String> {
        let known = |name: &&String| {
            PACKAGES.iter().any(|package| name.starts_with(package))
                && (is_keyvalue(name) || !name.starts_with("wasi:keyvalue/"))
        };
        self.imports.iter().filter(|name| !known(name)).cloned().collect()
    }

    /// Whether it could pass a request on in a chain.
    #[must_use]
    pub fn can_pass_on(&self) -> bool {
        ["wasi:http/handler@", "wasi:http/outgoing-handler@"]
            .iter()
            .any(|prefix| self.imports(prefix))
    }

    fn imports(&self, prefix: &str) -> bool {
        self.imports.iter().any(|name| name.starts_with(prefix))
    }
}

fn initial_bytes(memory: &MemoryType) -> u64 {
    let page = 1_u64.checked_shl(memory.page_size_log2.unwrap_or(16)).unwrap_or(u64::MAX);
    memory.initial.saturating_mul(page)
}

/// The parser's text in one line. It may be a table of many lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn add(names: &mut Vec<String>, name: &str) -> Result<(), NotAComponent> {
    if names.len() >= MOST_NAMES {
        let why = format!("it has more than {MOST_NAMES} imports or exports");
        return Err(NotAComponent::Malformed(why));
    }
    names.push(quote(name));
    Ok(())
}

/// Whether `name` is the interface of `wanted`, with any patch version.
fn is_of_version(name: &str, wanted: &str) -> bool {
    name.strip_prefix(wanted).is_some_and(|rest| {
        // A pre-release is another interface under the same number.
        rest.is_empty() || (rest.starts_with('.') && !rest.contains('-'))
    })
}

/// The rest of that package delivers changes of keys, which the host does not do.
fn is_keyvalue(name: &str) -> bool {
    ["store@", "atomics@", "batch@"].iter().any(|interface| {
        name.strip_prefix("wasi:keyvalue/").is_some_and(|rest| rest.starts_with(interface))
    })
}

/// The kind of a file that is not WebAssembly, if it can be recognized.
fn something_else(bytes: &[u8]) -> Option<&'static str> {
    let begins: [(&[u8], &str); 8] = [
        (b"\x1f\x8b", "compressed by gzip: unpack it first"),
        (b"\x28\xb5\x2f\xfd", "compressed by zstd: unpack it first"),
        (b"\xfd7zXZ", "compressed by xz: unpack it first"),
        (b"BZh", "compressed by bzip2: unpack it first"),
        (b"PK\x03\x04", "a zip archive: unpack it first"),
        // wasmtime marks its files by a number of its own for the operating system.
        (
            b"\x7fELF\x02\x01\x01\xc8",
            "code that `wasmtime compile` has made: name the component that it was made from",
        ),
        (b"\x7fELF", "a program or code for one kind of processor, not a WebAssembly component"),
        (
            b"hostcode",
            "code that `host compile` has made: name the component that it was made from",
        ),
    ];
    if bytes.is_empty() {
        return Some("empty, not a WebAssembly component; is the file complete?");
    }
    if let Some((_, what)) = begins.iter().find(|(begin, _)| bytes.starts_with(begin)) {
        return Some(what);
    }
    if bytes.starts_with(b"\0asm") {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?;
    if text.contains('\0') {
        return None;
    }
    let begins_with = |word: &str| text.trim_start().starts_with(word);
    if begins_with("(component") || begins_with("(module") || begins_with(";;") {
        return Some("WebAssembly as text: give it a name that ends in .wat");
    }
    if begins_with("{") || begins_with("[{") {
        return Some("JSON, not a WebAssembly component: name the .wasm file that is served");
    }
    Some("text, not a WebAssembly component (the name of a manifest ends in .toml)")
}

fn is_p3(name: &str) -> bool {
    name.split_once('@').is_some_and(|(_, version)| version.starts_with("0.3."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(text: &str) -> Result<Survey, NotAComponent> {
        Survey::read(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn the_kind_is_found_in_the_exports_with_any_patch_version() {
        for (name, kind) in [
            ("wasi:http/incoming-handler@0.2.0", Some(Kind::P2)),
            ("wasi:http/incoming-handler@0.2.12", Some(Kind::P2)),
            ("wasi:http/handler@0.3.0", Some(Kind::P3)),
            ("wasi:http/handler@0.3.0-rc-2026-01-06", None),
            ("wasi:http/incoming-handler@0.21.0", None),
            ("wasi:cli/run@0.2.0", None),
        ] {
            let component = format!("(component (instance $i) (export \"{name}\" (instance $i)))");
            let survey = survey(&component).unwrap();
            assert_eq!(survey.exports, [name]);
            assert_eq!(survey.kind(), kind, "{name}");
        }
    }

    #[test]
    fn a_component_of_nothing_but_names_is_refused() {
        let names = |many: usize| {
            let exports = (0..many).map(|name| format!("(export \"a{name}\" (instance $i))"));
            survey(&format!("(component (instance $i) {})", exports.collect::<String>()))
        };
        assert_eq!(names(MOST_NAMES).unwrap().exports.len(), MOST_NAMES);
        let Err(NotAComponent::Malformed(why)) = names(MOST_NAMES + 1) else {
            panic!("it is held")
        };
        assert!(why.contains("more than 10000"), "{why}");
    }

    #[test]
    fn names_inside_nested_components_do_not_count() {
        let survey = survey(
            "(component (component (instance $i) \
             (export \"wasi:http/incoming-handler@0.2.0\" (instance $i))))",
        )
        .unwrap();
        assert_eq!(survey.kind(), None);
    }

    #[test]
    fn memories_and_tables_of_all_modules_are_counted() {
        let survey = survey(
            "(component
               (core module (memory 3) (table 1 funcref) (table 2 funcref))
               (component (core module (memory 17) (table 1 funcref)))
               (core module (import \"a\" \"memory\" (memory 100)) (import \"a\" \"t\" (table 1 funcref))))",
        )
        .unwrap();
        let needs = Needs { memories: 2, tables: 3, initial_memory: 17 << 16 };
        assert_eq!(survey.needs, needs, "imports take no place in a pool");
    }

    /// Toolchains put the custom sections of a module into the module, which stands in the component.
    #[test]
    fn schema_of_the_configuration_is_found_in_a_module_too() {
        for text in [
            "(component (core module (@custom \"host:config-schema\" \"{}\")))",
            "(component (@custom \"host:config-schema\" \"{}\"))",
        ] {
            assert_eq!(survey(text).unwrap().config_schema.as_deref(), Some(&b"{}"[..]), "{text}");
        }
        assert_eq!(survey("(component)").unwrap().config_schema, None);
    }

    #[test]
    fn a_core_module_is_told_from_garbage() {
        assert!(matches!(survey("(module)"), Err(NotAComponent::CoreModule)));
        for (bytes, says) in [
            (&b"#!/bin/sh"[..], "text, not a WebAssembly component"),
            ("<!doctype html>\n<p>über".as_bytes(), "text, not a WebAssembly component"),
            (b"", "empty"),
            (b"\n", "text"),
            (b"\x1f\x8b\x08\0\0", "gzip"),
            (b"  (component)", ".wat"),
            (b"(module)", ".wat"),
            (b"\x7fELF\x02\x01", "a program"),
            (b"\x7fELF\x02\x01\x01\xc8", "wasmtime compile"),
            (b" {\"name\": \"app\"}", "JSON"),
            (b"[{}]", "JSON"),
            (b"[component.app]", "manifest"),
            (b"hostcode\0\0", "host compile"),
        ] {
            let Err(NotAComponent::Else(what)) = Survey::read(bytes) else { panic!("{says}") };
            assert!(what.contains(says), "{what}");
        }
        for broken in [&b"\0asm"[..], b"\0asm\x0d\0\x01", b"\xff\xfe\0\0", b"\0\0\0\0"] {
            assert!(matches!(Survey::read(broken), Err(NotAComponent::Malformed(_))), "{broken:?}");
        }
    }

    #[test]
    fn every_import_that_the_host_does_not_have_is_named() {
        let names = |names: &[&str]| -> Vec<String> {
            let imports = names.iter().map(|name| format!("(import \"{name}\" (instance))"));
            let text = format!("(component {})", imports.collect::<String>());
            survey(&text).unwrap().unknown_imports()
        };
        let unknown =
            ["acme:a/b@1.0.0", "wasi:keyvalue/watcher@0.2.0-draft", "wasi:nn/graph@0.2.0"];
        let known = ["wasi:http/types@0.2.3", "wasi:keyvalue/store@0.2.0-draft"];
        assert_eq!(names(&[&unknown[..], &known].concat()), unknown);
        assert!(names(&known).is_empty());
    }
}
