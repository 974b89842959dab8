//! Secrets: written down, or where they are to be read.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::files::regular;
use super::reader::Reader;
use super::spanned::Spanned;
use super::text_or::TextOr;
use crate::Secret;
use crate::error::Problem;

/// A value, or where it is to be read.
pub(crate) type SecretText = TextOr<SecretTable>;

/// A larger one is no secret, but a mistake.
const LARGEST: u64 = 64 * 1024;

/// Where a value is read, at the start and at each reload: a file or an environment variable, not both. It is never
/// shown.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(rename = "Secret")]
pub(crate) struct SecretTable {
    /// An environment variable of the host.
    env: Option<Spanned<String>>,
    /// A file, relative to the manifest. An end of line at its end is left out.
    file: Option<Spanned<String>>,
}

impl Reader<'_> {
    /// The value of a secret. The problem never shows it.
    pub(crate) fn secret(&mut self, written: &SecretText) -> Option<Secret> {
        let table = match written {
            TextOr::Text(text) => return self.text(text).map(Secret::from),
            TextOr::Table(table) => table,
        };
        match (&table.value.env, &table.value.file) {
            (Some(name), None) => self.secret_variable(name),
            (None, Some(file)) => self.secret_file(file),
            (Some(_), Some(second)) => {
                let problem = Problem::new(second.span.clone(), "a secret has one source");
                self.report(problem.help("leave out env or file"));
                None
            }
            (None, None) => {
                let problem = Problem::new(table.span.clone(), "this says not where it is");
                self.report(problem.help("write { file = \"/run/secrets/x\" } or { env = \"X\" }"));
                None
            }
        }
    }

    /// The same for what goes to programs, which take no NUL.
    pub(crate) fn plain_secret(&mut self, written: &SecretText) -> Option<Secret> {
        let secret = self.secret(written)?;
        if secret.reveal().contains('\0') {
            let problem = Problem::new(written.span(), "there is a NUL in it");
            self.report(problem.help("leave it out; no program can be given one"));
            return None;
        }
        Some(secret)
    }

    fn secret_variable(&mut self, written: &Spanned<String>) -> Option<Secret> {
        let value = self.variable(&written.value);
        if value.is_none() {
            let message = format!("the environment variable {} is not set", written.value);
            let problem = Problem::new(written.span.clone(), message);
            self.report(problem.help("set it for the host, or name another one"));
        }
        value.map(Secret::from)
    }

    fn secret_file(&mut self, written: &Spanned<String>) -> Option<Secret> {
        let path = self.path(written)?;
        self.places.hold(format!("the secret {}", written.value), &path);
        if !self.look {
            return Some(Secret::default());
        }
        match read(&path) {
            Ok(text) => Some(Secret::from(text)),
            Err(why) => {
                self.unfit(written, "file", &path, &why);
                None
            }
        }
    }
}

/// What is in the file, without the end of its last line.
fn read(path: &Path) -> Result<String, String> {
    regular(path)?;
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|why| format!("cannot be read: {why}"))?;
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|why| format!("cannot be read: {why}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err("has more than 64 KiB, and is no secret".into());
    }
    // Of what cannot be read, nothing is shown.
    let mut text = String::from_utf8(bytes).map_err(|_| "is not text in UTF-8".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
