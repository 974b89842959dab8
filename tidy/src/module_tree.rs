//! The modules of one crate, the names in them, and where a path leads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::references::{Import, References, Segments, attributes, is_for_tests};
use crate::sources::Sources;

/// A chain of re-exports that is longer goes in a circle.
const HOPS: usize = 32;

/// Modules that are not compiled for tests alone; the first is the root.
pub(crate) struct ModuleTree(Vec<Module>);

pub(crate) type ModuleId = usize;

pub(crate) struct Module {
    pub(crate) file: PathBuf,
    pub(crate) references: References,
    parent: Option<ModuleId>,
    children: BTreeMap<String, ModuleId>,
    items: BTreeSet<String>,
    /// A macro may have made any name here.
    has_macros: bool,
}

/// Where a path leads.
enum Target {
    Module(ModuleId),
    /// An item of this name, defined in this module.
    Item(ModuleId, String),
}

impl ModuleTree {
    pub(crate) fn read(sources: &Sources, root: &Path) -> Result<Self, String> {
        let mut tree = Self(Vec::new());
        tree.file(sources, root, root.parent().unwrap_or(root), None)?;
        Ok(tree)
    }

    pub(crate) fn modules(&self) -> impl Iterator<Item = (ModuleId, &Module)> {
        self.0.iter().enumerate()
    }

    /// The file that defines what `path`, written in `from`, names, and the name it has there. None
    /// for a module, whose names are what counts, and for what is of another crate.
    pub(crate) fn definition(&self, from: ModuleId, path: &[String]) -> Option<(&Path, String)> {
        match self.resolve(from, path, HOPS)? {
            Target::Module(_) => None,
            Target::Item(module, name) => Some((&self.0[module].file, name)),
        }
    }

    fn resolve(&self, from: ModuleId, path: &[String], hops: usize) -> Option<Target> {
        let hops = hops.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.below(0, rest, hops),
            "self" => self.below(from, rest, hops),
            "super" => {
                let mut module = self.0[from].parent?;
                let mut rest = rest;
                while let Some(("super", more)) =
                    rest.split_first().map(|(name, more)| (name.as_str(), more))
                {
                    module = self.0[module].parent?;
                    rest = more;
                }
                self.below(module, rest, hops)
            }
            _ => self.named(from, path, hops),
        }
    }

    /// What `path` names inside `module`, from outside of it.
    fn below(&self, module: ModuleId, path: &[String], hops: usize) -> Option<Target> {
        let Some(name) = path.first() else { return Some(Target::Module(module)) };
        let found = self.named(module, path, hops);
        let by_a_macro = || self.0[module].has_macros.then(|| Target::Item(module, name.clone()));
        found.or_else(by_a_macro)
    }

    fn named(&self, id: ModuleId, path: &[String], hops: usize) -> Option<Target> {
        let hops = hops.checked_sub(1)?;
        let (name, rest) = path.split_first()?;
        let module = &self.0[id];
        let is_item = module.items.contains(name);
        if let Some(&child) = module.children.get(name).filter(|_| !is_item || !rest.is_empty()) {
            return self.below(child, rest, hops);
        }
        if is_item {
            return Some(Target::Item(id, name.clone()));
        }
        // The last with this name: one may import both a module and a function of one name.
        let imports = module.references.imports.iter().filter(|import| import.name == *name);
        let mut imported = imports.filter_map(|import| self.imported(id, import, rest, hops));
        if let Some(target) = imported.next() {
            return Some(target);
        }
        module.references.globs.iter().find_map(|glob| match self.resolve(id, glob, hops)? {
            Target::Module(other) if other != id => self.named(other, path, hops),
            _ => None,
        })
    }

    fn imported(
        &self,
        id: ModuleId,
        import: &Import,
        rest: &[String],
        hops: usize,
    ) -> Option<Target> {
        // `use tokio::x as tokio`: what begins with its own name is of another crate.
        (import.path.first() != Some(&import.name)).then_some(())?;
        let path: Segments = import.path.iter().chain(rest).cloned().collect();
        self.resolve(id, &path, hops)
    }

    fn file(
        &mut self,
        sources: &Sources,
        file: &Path,
        folder: &Path,
        parent: Option<ModuleId>,
    ) -> Result<ModuleId, String> {
        let source = sources.get(file).ok_or_else(|| format!("no file {}", file.display()))?;
        self.module(sources, &source.syntax.items, file, folder, parent)
    }

    /// `folder` holds the files of the modules that are declared in `items`.
    fn module(
        &mut self,
        sources: &Sources,
        items: &[syn::Item],
        file: &Path,
        folder: &Path,
        parent: Option<ModuleId>,
    ) -> Result<ModuleId, String> {
        let id = self.0.len();
        self.0.push(Module {
            file: file.to_owned(),
            references: References::read(items),
            parent,
            children: BTreeMap::new(),
            items: items.iter().filter_map(item_name).collect(),
            has_macros: items.iter().any(is_macro_call),
        });
        for item in items {
            let syn::Item::Mod(declared) = item else { continue };
            if is_for_tests(&declared.attrs) {
                continue;
            }
            let name = declared.ident.to_string();
            let child = match &declared.content {
                Some((_, items)) => {
                    self.module(sources, items, file, &folder.join(&name), Some(id))?
                }
                None => {
                    let (file, folder) = child_file(sources, declared, file, folder)?;
                    self.file(sources, &file, &folder, Some(id))?
                }
            };
            self.0[id].children.insert(name, child);
        }
        Ok(id)
    }
}

/// The file of `mod name;`, and the folder of that module's own children.
fn child_file(
    sources: &Sources,
    declared: &syn::ItemMod,
    file: &Path,
    folder: &Path,
) -> Result<(PathBuf, PathBuf), String> {
    let name = declared.ident.to_string();
    if let Some(path) = path_attribute(&declared.attrs) {
        let path = normal(&file.parent().unwrap_or(file).join(path));
        let folder = path.parent().unwrap_or(&path).to_owned();
        return Ok((path, folder));
    }
    let below = folder.join(&name);
    [below.with_extension("rs"), below.join("mod.rs")]
        .into_iter()
        .find(|path| sources.get(path).is_some())
        .map(|path| (path, below))
        .ok_or_else(|| format!("{}: no file for mod {name}", file.display()))
}

fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let syn::Meta::NameValue(meta) = &attribute.meta else { return None };
        let syn::Expr::Lit(literal) = &meta.value else { return None };
        let syn::Lit::Str(path) = &literal.lit else { return None };
        meta.path.is_ident("path").then(|| path.value())
    })
}

/// Without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        if part.as_os_str() == ".." {
            normal.pop();
        } else {
            normal.push(part);
        }
    }
    normal
}

fn item_name(item: &syn::Item) -> Option<String> {
    if is_for_tests(attributes(item)) {
        return None;
    }
    let name = match item {
        syn::Item::Const(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Macro(item) => item.ident.as_ref()?,
        syn::Item::Static(item) => &item.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        syn::Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn is_macro_call(item: &syn::Item) -> bool {
    matches!(item, syn::Item::Macro(call) if call.ident.is_none())
}
