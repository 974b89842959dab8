//! The Rust files of this repository, parsed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each `.rs` file: its path below the root of the repository, its text and its syntax.
pub(crate) struct Sources(BTreeMap<PathBuf, Source>);

pub(crate) struct Source {
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
}

impl Sources {
    /// Reads all below `root` but `target` and hidden folders.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let mut texts = BTreeMap::new();
        collect(root, root, &mut texts)?;
        Self::parse(texts)
    }

    pub(crate) fn parse(texts: BTreeMap<PathBuf, String>) -> Result<Self, String> {
        let parse = |(path, text): (PathBuf, String)| {
            let syntax = syn::parse_file(&text)
                .map_err(|why| format!("{}:{}: {why}", path.display(), why.span().start().line))?;
            Ok((path, Source { text, syntax }))
        };
        texts.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Path, &Source)> {
        self.0.iter().map(|(path, source)| (path.as_path(), source))
    }

    pub(crate) fn get(&self, path: &Path) -> Option<&Source> {
        self.0.get(path)
    }

    /// The file that each crate begins with. Tests and fuzz targets are none: they are harnesses
    /// around files of others.
    pub(crate) fn crate_roots(&self) -> impl Iterator<Item = &Path> {
        let paths = self.iter().map(|(path, _)| path);
        paths.filter(|path| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs"))
    }
}

fn collect(
    root: &Path,
    folder: &Path,
    texts: &mut BTreeMap<PathBuf, String>,
) -> Result<(), String> {
    let unreadable = |why| format!("{}: {why}", folder.display());
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(root, &path, texts)?;
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).map_err(unreadable)?;
            texts.insert(path.strip_prefix(root).unwrap_or(&path).to_owned(), text);
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A crate of the files `(path, text)`.
    pub(crate) fn sources(files: &[(&str, &str)]) -> Sources {
        let texts = files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned()));
        Sources::parse(texts.collect()).expect("the sources of the test parse")
    }
}
