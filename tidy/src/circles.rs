//! Files of one crate that use each other in a circle.
//!
//! ```text
//!   a.rs:  use super::b::Thing;        b.rs:  use super::a::Other;        a.rs ⇄ b.rs
//! ```
//!
//! A file uses another when a path in its code names something that is defined there; a re-export is
//! followed to the definition. So a `mod.rs` that only declares and re-exports its children is in no
//! circle, and one that defines what its children use is in one as soon as it uses a child too.
//!
//! Not seen: a method that is called on a value whose type is named elsewhere, paths that a macro of
//! ours writes, paths in strings of attributes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::module_tree::ModuleTree;
use crate::sources::Sources;

/// For each file the files that it uses, and the names that it takes from them.
type Uses<'a> = BTreeMap<&'a Path, BTreeMap<&'a Path, BTreeSet<String>>>;

pub(crate) fn circles(sources: &Sources) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for root in sources.crate_roots() {
        let tree = ModuleTree::read(sources, root)?;
        let uses = uses(&tree);
        found.extend(strongly_connected(&uses).iter().map(|circle| describe(circle, &uses)));
    }
    Ok(found)
}

fn uses(tree: &ModuleTree) -> Uses<'_> {
    let mut uses = Uses::new();
    for (id, module) in tree.modules() {
        let imports = module.references.imports.iter().filter(|import| !import.reexport);
        for path in imports.map(|import| &import.path).chain(&module.references.paths) {
            if let Some((file, name)) =
                tree.definition(id, path).filter(|(file, _)| *file != module.file)
            {
                uses.entry(&module.file).or_default().entry(file).or_default().insert(name);
            }
        }
    }
    uses
}

/// Groups of two files and more in which each reaches each.
fn strongly_connected<'a>(uses: &Uses<'a>) -> Vec<BTreeSet<&'a Path>> {
    let reached: BTreeMap<_, _> = uses.keys().map(|file| (*file, reached(uses, file))).collect();
    let mut circles = Vec::new();
    let mut placed = BTreeSet::new();
    for (file, others) in &reached {
        let returns = |other: &&&Path| reached.get(*other).is_some_and(|back| back.contains(file));
        let circle: BTreeSet<&Path> = others.iter().filter(returns).copied().collect();
        if circle.len() > 1 && placed.insert(*file) {
            placed.extend(&circle);
            circles.push(circle);
        }
    }
    circles
}

/// All that `file` uses, and all that this uses, and so on; itself only if it is in a circle.
fn reached<'a>(uses: &Uses<'a>, file: &Path) -> BTreeSet<&'a Path> {
    let mut reached = BTreeSet::new();
    let mut next = vec![file];
    while let Some(file) = next.pop() {
        for used in uses.get(file).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(*used) {
                next.push(used);
            }
        }
    }
    reached
}

fn describe(circle: &BTreeSet<&Path>, uses: &Uses<'_>) -> String {
    let mut lines = vec![format!("{} files use each other in a circle:", circle.len())];
    for file in circle {
        for (used, names) in uses.get(file).into_iter().flatten() {
            if circle.contains(used) {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                lines.push(format!(
                    "    {} -> {}: {}",
                    file.display(),
                    used.display(),
                    names.join(", ")
                ));
            }
        }
    }
    lines.join("\n")
}

#[cfg(test)]
#[path = "circles_tests.rs"]
mod tests;
