//! Files of more than 400 lines, and functions of more than 60.

use syn::visit::{self, Visit};

use crate::sources::Sources;

/// Lines of a file, all of them counted.
const FILE: usize = 400;

/// Lines from `fn` to the closing brace, all of them counted. Clippy's `too_many_lines` has the same
/// number, but leaves out blank lines and comments.
const FUNCTION: usize = 60;

pub(crate) fn long_files(sources: &Sources) -> Vec<String> {
    let lines = sources.iter().map(|(path, source)| (path, source.text.lines().count()));
    lines
        .filter(|(_, lines)| *lines > FILE)
        .map(|(path, lines)| format!("{}: {lines} lines, more than {FILE}", path.display()))
        .collect()
}

pub(crate) fn long_functions(sources: &Sources) -> Vec<String> {
    let mut long = Vec::new();
    for (path, source) in sources.iter() {
        let mut functions = Functions::default();
        functions.visit_file(&source.syntax);
        long.extend(functions.0.into_iter().filter(|function| function.lines > FUNCTION).map(
            |Function { name, at, lines }| {
                format!(
                    "{}:{at}: fn {name} has {lines} lines, more than {FUNCTION}",
                    path.display()
                )
            },
        ));
    }
    long
}

#[derive(Default)]
struct Functions(Vec<Function>);

struct Function {
    name: String,
    at: usize,
    lines: usize,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let at = signature.fn_token.span.start().line;
        let lines = body.brace_token.span.close().end().line - at + 1;
        self.0.push(Function { name: signature.ident.to_string(), at, lines });
    }
}

impl<'a> Visit<'a> for Functions {
    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'a syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::tests::sources;

    fn function(lines: usize) -> String {
        format!("impl Thing {{\n    fn long() {{\n{}    }}\n}}\n", "\n".repeat(lines - 2))
    }

    #[test]
    fn function_of_61_lines_is_too_long_and_one_of_60_is_not() {
        assert!(long_functions(&sources(&[("a/src/lib.rs", &function(60))])).is_empty());
        assert_eq!(
            long_functions(&sources(&[("a/src/lib.rs", &function(61))])),
            ["a/src/lib.rs:2: fn long has 61 lines, more than 60"]
        );
    }

    #[test]
    fn file_of_401_lines_is_too_long_and_one_of_400_is_not() {
        assert!(long_files(&sources(&[("a/src/lib.rs", &"//\n".repeat(400))])).is_empty());
        assert_eq!(
            long_files(&sources(&[("a/src/lib.rs", &"//\n".repeat(401))])),
            ["a/src/lib.rs: 401 lines, more than 400"]
        );
    }
}
