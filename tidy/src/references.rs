//! The paths that stand in the code of one module, as they are written.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// The segments of a path: `["super", "phase", "Phase"]`.
pub(crate) type Segments = Vec<String>;

/// One name that a `use` brings in.
pub(crate) struct Import {
    pub(crate) name: String,
    pub(crate) path: Segments,
    /// With any visibility, even `pub(super)`: it hands the name on, and uses it only where the code says so.
    pub(crate) reexport: bool,
}

/// What the code of one module says about others; the modules inside it are left out.
#[derive(Default)]
pub(crate) struct References {
    pub(crate) imports: Vec<Import>,
    /// Paths before `::*`.
    pub(crate) globs: Vec<Segments>,
    pub(crate) paths: Vec<Segments>,
}

impl References {
    pub(crate) fn read(items: &[syn::Item]) -> Self {
        let mut references = Self::default();
        for item in items {
            references.visit_item(item);
        }
        references
    }

    fn import(&mut self, tree: &syn::UseTree, before: &[String], reexport: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.import(&path.tree, &with(&path.ident), reexport),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, before, reexport));
            }
            syn::UseTree::Glob(_) => self.globs.push(before.to_vec()),
            syn::UseTree::Rename(renamed) => {
                let (name, path) = (renamed.rename.to_string(), with(&renamed.ident));
                self.imports.push(Import { name, path, reexport });
            }
            syn::UseTree::Name(name) if name.ident == "self" => {
                let name = before.last().cloned().unwrap_or_default();
                self.imports.push(Import { name, path: before.to_vec(), reexport });
            }
            syn::UseTree::Name(name) => {
                let (name, path) = (name.ident.to_string(), with(&name.ident));
                self.imports.push(Import { name, path, reexport });
            }
        }
    }

    /// The arguments of a macro are no syntax: whatever looks like a path in them is taken for one.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path = Segments::new();
        let mut colons = 0;
        let mut after_dot = false;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) if colons == 2 && !path.is_empty() => {
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Ident(ident) => {
                    self.end_path(&mut path);
                    if !after_dot {
                        path.push(ident.to_string());
                    }
                    colons = 0;
                }
                TokenTree::Group(group) => {
                    self.end_path(&mut path);
                    self.tokens(group.stream());
                    colons = 0;
                }
                TokenTree::Punct(punct) => {
                    self.end_path(&mut path);
                    after_dot = punct.as_char() == '.';
                    colons = 0;
                    continue;
                }
                TokenTree::Literal(_) => self.end_path(&mut path),
            }
            after_dot = false;
        }
        self.end_path(&mut path);
    }

    fn end_path(&mut self, path: &mut Segments) {
        if !path.is_empty() {
            self.paths.push(std::mem::take(path));
        }
    }
}

impl<'a> Visit<'a> for References {
    fn visit_item(&mut self, item: &'a syn::Item) {
        if !matches!(item, syn::Item::Mod(_)) && !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if item.leading_colon.is_none() {
            let reexport = !matches!(item.vis, syn::Visibility::Inherited);
            self.import(&item.tree, &[], reexport);
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.leading_colon.is_none() {
            self.paths.push(path.segments.iter().map(|part| part.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    /// `pub(in crate::site)` uses nothing.
    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}

    fn visit_attribute(&mut self, _: &'a syn::Attribute) {}
}

/// `#[cfg(test)]`, `#[cfg(all(test, …))]`, `#[test]` and the like.
pub(crate) fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => needs_test(list.tokens.clone()),
        _ => false,
    })
}

fn needs_test(condition: TokenStream) -> bool {
    let mut all = false;
    for token in condition {
        match token {
            TokenTree::Ident(ident) if ident == "test" => return true,
            TokenTree::Ident(ident) => all = ident == "all",
            TokenTree::Group(group) if all && needs_test(group.stream()) => return true,
            _ => {}
        }
    }
    false
}

pub(crate) fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Union(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
