//! Names that stand for two types. Types that are seen in their own module or its parent only may be
//! called what they like.

use std::collections::BTreeMap;
use std::path::Path;

use crate::references::{attributes, is_for_tests};
use crate::sources::Sources;

/// Crates that are no part of the host, and the tests.
const APART: &[&str] = &["guest", "tests", "fuzz", "bench", "tidy", "host/templates"];

pub(crate) fn repeated(sources: &Sources) -> Vec<String> {
    let mut types: BTreeMap<String, Vec<&Path>> = BTreeMap::new();
    for (path, source) in sources.iter() {
        let apart = APART.iter().any(|folder| path.starts_with(folder));
        let of_tests =
            path.to_string_lossy().ends_with("tests.rs") || path.iter().any(|part| part == "tests");
        if !apart && !of_tests {
            for name in names(&source.syntax.items) {
                types.entry(name).or_default().push(path);
            }
        }
    }
    let twice = types.into_iter().filter(|(_, files)| files.len() > 1);
    twice
        .map(|(name, files)| {
            let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            format!("{} types are called {name}: {}", files.len(), files.join(", "))
        })
        .collect()
}

fn names(items: &[syn::Item]) -> Vec<String> {
    let mut names = Vec::new();
    for item in items {
        let (visibility, name) = match item {
            syn::Item::Enum(item) => (&item.vis, &item.ident),
            syn::Item::Struct(item) => (&item.vis, &item.ident),
            syn::Item::Trait(item) => (&item.vis, &item.ident),
            syn::Item::Type(item) => (&item.vis, &item.ident),
            _ => continue,
        };
        if is_wide(visibility) && !is_for_tests(attributes(item)) {
            names.push(name.to_string());
        }
    }
    names
}

/// `pub` or `pub(crate)`.
fn is_wide(visibility: &syn::Visibility) -> bool {
    match visibility {
        syn::Visibility::Public(_) => true,
        syn::Visibility::Restricted(to) => to.path.is_ident("crate"),
        syn::Visibility::Inherited => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::tests::sources;

    #[test]
    fn name_of_two_types_is_found_unless_one_of_them_is_private() {
        let found = repeated(&sources(&[
            ("a/src/lib.rs", "pub struct Turn; struct Stop; pub(super) struct Wire;"),
            ("b/src/lib.rs", "pub(crate) enum Turn {} pub struct Stop; pub struct Wire;"),
        ]));
        assert_eq!(found, ["2 types are called Turn: a/src/lib.rs, b/src/lib.rs"]);
    }
}
