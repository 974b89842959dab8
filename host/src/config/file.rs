//! The manifest's file.

use std::path::Path;

use host_manifest::{Grammar, LoadContext, Manifest, ManifestError};

/// Reads and checks a manifest by this grammar, with the environment of this process for its `${VAR}`.
///
/// # Errors
/// Everything that is wrong with it, each with file, line and what to do.
pub fn read(
    path: &Path,
    grammar: &Grammar,
    beside: &LoadContext,
) -> Result<Manifest, ManifestError> {
    grammar.load(path, &|name| std::env::var(name).ok(), beside)
}

/// Whether `path` is to be read as a manifest rather than as a component.
pub(super) fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}
