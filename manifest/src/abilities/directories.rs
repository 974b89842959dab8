//! Directories of the host that a guest sees.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::error::Problem;
use crate::grants::AbilityConfig;
use crate::parse::ability::{AbilityTable, KeyTable};
use crate::parse::reader::{Reader, is_visible};
use crate::parse::spanned::Spanned;

/// The directories. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoriesConfig(pub Vec<DirectoryConfig>);

/// A directory of the host that a guest sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryConfig {
    /// Its path on the host.
    pub host: PathBuf,
    /// Its path in the guest.
    pub guest: String,
    /// Whether the guest may change its content.
    pub writable: bool,
}

impl AbilityConfig for DirectoriesConfig {
    fn summary(&self) -> Vec<(&'static str, String)> {
        let line = |directory: &DirectoryConfig| {
            let how = if directory.writable { "rw" } else { "ro" };
            format!("{} as {} ({how})", directory.host.display(), directory.guest)
        };
        let lines: Vec<String> = self.0.iter().map(line).collect();
        vec![("directories", lines.join(", "))]
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct DirectoriesTable {
    /// Directories of the host that it sees.
    directories: Vec<Spanned<Directory>>,
}

/// A directory of the host that a guest sees, read only unless it says otherwise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[schemars(extend("required" = ["host", "guest"]))]
struct Directory {
    /// Where it is; relative to the manifest.
    #[schemars(with = "String")]
    host: Option<Spanned<String>>,
    /// What the guest calls it, from `/`.
    #[schemars(with = "String")]
    guest: Option<Spanned<String>>,
    /// Whether the guest may change what is in it.
    #[schemars(extend("default" = false))]
    write: bool,
}

impl AbilityTable for DirectoriesTable {
    const TABLE: KeyTable = KeyTable::Grants;

    type Config = DirectoriesConfig;

    fn read(&self, reader: &mut Reader<'_>) -> Option<DirectoriesConfig> {
        let mut out: Vec<DirectoryConfig> = Vec::new();
        for Spanned { value: raw, .. } in &self.directories {
            let (Some(host), Some(guest)) = (&raw.host, &raw.guest) else { continue };
            let path = reader.existing_directory(host);
            let Some(name) = reader.plain_text(guest) else { continue };
            let name = place_in_guest(reader, guest, &name, &out);
            let Some(path) = path else { continue };
            reader.grant_directory(&path, host, raw.write);
            out.push(DirectoryConfig { host: path, guest: name, writable: raw.write });
        }
        (!out.is_empty()).then_some(DirectoriesConfig(out))
    }
}

/// The place of a directory in the guest: an absolute path that no directory in `other` has. Reports what is
/// wrong.
fn place_in_guest(
    reader: &mut Reader<'_>,
    written: &Spanned<String>,
    name: &str,
    others: &[DirectoryConfig],
) -> String {
    let fine = name.starts_with('/')
        && is_visible(name)
        && !name.split('/').any(|part| part == ".." || part == ".");
    if !fine {
        reader.report(
            Problem::new(written.span.clone(), "this is no path for a guest")
                .help("write a whole path without `.` and `..`, such as /assets"),
        );
    }
    // `/a`, `/a/` and `//a` are one path to a guest.
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
    let name = format!("/{}", parts.join("/"));
    if fine && others.iter().any(|other| other.guest == name) {
        reader.report(
            Problem::new(written.span.clone(), "this component has two directories here")
                .help("choose another path for one of them"),
        );
    }
    name
}
