//! From the text of a file to a checked [`Manifest`].
//!
//! ```text
//!   text ─→ toml ─→ validate ─→ raw ─→ build ─→ Manifest
//!            │        │                 │
//!            └────────┴─────────────────┴─────→ ManifestError: all problems at once
//! ```

mod bucket;
mod build;
mod confine;
mod enums;
mod files;
mod grants;
mod interpolate;
mod raw;
mod reader;
mod redis;
mod routes;
mod spanned;
mod suggest;
mod validate;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::LazyLock;

use schemars::Schema;
use serde::Deserialize as _;
use toml::de::DeTable;

use crate::error::{ManifestError, Problem};
use crate::{LoadContext, Manifest};
pub(crate) use confine::same as same_path;
use interpolate::Env;
use reader::Reader;
use validate::Validation;

/// In one piece, as the validation wants it.
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| raw::schema(true));

/// Ten thousand routes take one; a file that is larger is another file.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Reads the manifest in `path`, fills in variables from `env`, and looks whether the files and
/// directories that it names are there and lie apart from what guests may write to. Relative paths are
/// relative to the directory of `path`; `context` is what the manifest does not say.
///
/// # Errors
/// All that is wrong with it, as far as it can be said at once.
pub fn load(path: &Path, env: Env<'_>, context: &LoadContext) -> Result<Manifest, ManifestError> {
    let text = read(path).map_err(|why| {
        let problem = Problem::nowhere(format!("{} cannot be read: {why}", path.display()));
        ManifestError::new(path, "", vec![problem.help("name a manifest that is there, in UTF-8")])
            .passing(is_passing(&why))
    })?;
    examine(&text, path, env, Some(context))
}

/// Reads a manifest as if it stood in `file`, without looking at any file. Relative paths are
/// relative to the directory of `file`.
///
/// # Errors
/// All that is wrong with it, as far as it can be said at once.
pub fn parse(text: &str, file: &Path, env: Env<'_>) -> Result<Manifest, ManifestError> {
    examine(text, file, env, None)
}

/// The JSON Schema (2020-12) of a manifest, as text over several lines. Editors use it; `host schema`
/// prints it.
#[must_use]
pub fn schema() -> String {
    format!("{:#}", raw::schema(false).as_value())
}

fn read(path: &Path) -> io::Result<String> {
    // A pipe would be waited for, perhaps for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 16 MiB"));
    }
    Ok(text)
}

/// Whether a file that cannot be read may be readable a moment later without a change that can be seen.
fn is_passing(why: &io::Error) -> bool {
    use io::ErrorKind::{
        FileTooLarge, InvalidData, InvalidInput, IsADirectory, NotADirectory, NotFound, Other,
        PermissionDenied,
    };
    !matches!(
        why.kind(),
        FileTooLarge
            | InvalidData
            | InvalidInput
            | IsADirectory
            | NotADirectory
            | NotFound
            | Other
            | PermissionDenied
    )
}

fn examine(
    text: &str,
    file: &Path,
    env: Env<'_>,
    look: Option<&LoadContext>,
) -> Result<Manifest, ManifestError> {
    let report = |problems| ManifestError::new(file, text, problems);
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(report(errors.iter().map(|error| syntax(error, text)).collect()));
    }
    let mut validation = Validation::run(SCHEMA.as_value(), &mut table);
    let spans = table.get_ref().clone();
    let raw = match raw::Raw::deserialize(toml::Deserializer::from(table)) {
        Ok(raw) => raw,
        Err(error) => {
            validation.problems.push(syntax(&error, text));
            return Err(report(validation.problems));
        }
    };
    let mut reader = Reader::new(text, file, env, look, spans, validation);
    let manifest = build::manifest(&mut reader, &raw);
    reader.check_places(file);
    match reader.problems {
        problems if problems.is_empty() => Ok(manifest),
        problems => Err(report(problems)),
    }
}

fn syntax(error: &toml::de::Error, text: &str) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let end = text.len();
    Problem::new(span.start.min(end)..span.end.min(end), error.message().replace('\n', ", "))
        .help("the file is TOML: text in quotes, lists in brackets, [table] heads; see toml.io")
}

#[cfg(test)]
mod files_tests;
#[cfg(test)]
mod refused_tests;
#[cfg(test)]
mod tests;
