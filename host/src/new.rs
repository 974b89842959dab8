//! `host new`: the folder of a new guest, from a template.
//!
//! ```text
//! templates/LANG/KIND-WASI/template.toml ─→ folders (also) + WIT (wit) ─→ names filled in ─→ NAME/
//! ```

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use host_log::outlet;
use include_dir::{Dir, File, include_dir};
use serde::Deserialize;

use crate::config::NewConfig;
use crate::exit::Exit;

/// What is written from here: a folder for each combination that there is, and what several share.
static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");

/// Of what a folder is made. Beside the files of the template itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Template {
    /// The interfaces, which become `wit`.
    wit: String,
    /// Folders whose files stand in this one too.
    also: Vec<String>,
}

/// Writes the folder, and says what comes next.
#[must_use]
pub fn run(ask: &NewConfig) -> Exit {
    match write(ask) {
        Ok(said) => Exit::Clean.if_printed("host new", outlet::print(&said)),
        Err(why) => {
            outlet::complain(&format!("host new: {why:#}"));
            Exit::Usage
        }
    }
}

fn write(ask: &NewConfig) -> anyhow::Result<String> {
    let NewConfig { folder, name, lang, kind, .. } = ask;
    let wasi = wasi(ask)?;
    let files = files(&format!("{lang}/{kind}-{wasi}"))?;
    make(folder)?;
    for (path, file) in &files {
        let path = folder.join(filled(path, name));
        put(&path, file, name).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let (folder, many) = (folder.display(), files.len());
    Ok(format!(
        "{folder}: {many} files, a {kind} for wasi:http {wasi} in {lang}\n\
         README.md in it says what to install. Then:\n\n\
         \x20   cd {folder}\n\
         \x20   host dev          # builds, serves, and builds again when a file changes\n"
    ))
}

/// The version of WASI: the one that is asked for, or the newest that there is a template for.
fn wasi(ask: &NewConfig) -> anyhow::Result<String> {
    let NewConfig { lang, kind, wasi, .. } = ask;
    let prefix = format!("{kind}-");
    let mut there: Vec<String> = TEMPLATES
        .get_dir(lang)
        .into_iter()
        .flat_map(Dir::dirs)
        .filter(|folder| folder.get_file(folder.path().join("template.toml")).is_some())
        .filter_map(|folder| folder.path().file_name()?.to_str()?.strip_prefix(&prefix))
        .map(str::to_owned)
        .collect();
    there.sort_unstable();
    match wasi {
        Some(wasi) if there.contains(wasi) => Ok(wasi.clone()),
        Some(wasi) => bail!(
            "there is no {kind} in {lang} for wasi:http {wasi}, because its tools make none; write --wasi {}",
            there.join(" or ")
        ),
        None => there.pop().with_context(|| format!("there is no {kind} in {lang}")),
    }
}

/// What is written: paths within the folder, and the files that they come from.
fn files(template: &str) -> anyhow::Result<Vec<(String, &'static File<'static>)>> {
    let folder = |path: &str| {
        TEMPLATES
            .get_dir(path)
            .with_context(|| format!("the template {path} is not in this program"))
    };
    let own = folder(template)?;
    let about = own.get_file(own.path().join("template.toml")).and_then(File::contents_utf8);
    let about: Template =
        toml::from_str(about.context("the template says not what it is made of")?)?;
    let mut files = Vec::new();
    add(&mut files, own, own.path(), "");
    for path in &about.also {
        let shared = folder(path)?;
        add(&mut files, shared, shared.path(), "");
    }
    let wit = folder(&about.wit)?;
    add(&mut files, wit, wit.path(), "wit/");
    Ok(files)
}

/// Adds all files below `folder`, by their paths from `base` and behind `before`.
fn add(
    files: &mut Vec<(String, &'static File<'static>)>,
    folder: &'static Dir<'static>,
    base: &Path,
    before: &str,
) {
    for file in folder.files() {
        let Ok(path) = file.path().strip_prefix(base) else { continue };
        if path != OsStr::new("template.toml") {
            // A file that would mean something to the tools of this repository has another name in it.
            let path = path.to_string_lossy();
            let path = path.strip_suffix(".tmpl").unwrap_or(&path);
            files.push((format!("{before}{path}"), file));
        }
    }
    folder.dirs().for_each(|folder| add(files, folder, base, before));
}

/// Makes the folder. One that is there has to be empty: nothing is overwritten.
fn make(folder: &PathBuf) -> anyhow::Result<()> {
    match fs::read_dir(folder) {
        Ok(mut entries) => {
            ensure!(
                entries.next().is_none(),
                "{} is not empty; name another folder",
                folder.display()
            );
            Ok(())
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
        }
        Err(why) => Err(why).with_context(|| format!("cannot write to {}", folder.display())),
    }
}

fn put(path: &Path, file: &File<'_>, name: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let text = file.contents_utf8().map(|text| filled(text, name));
    fs::write(path, text.as_deref().map_or(file.contents(), str::as_bytes))?;
    if file.contents().starts_with(b"#!") {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn filled(text: &str, name: &str) -> String {
    text.replace("{{name}}", name).replace("{{name_snake}}", &name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each template, as `LANG/KIND-WASI`.
    fn templates() -> Vec<String> {
        let languages = TEMPLATES.dirs().flat_map(Dir::dirs);
        let templates =
            languages.filter(|it| it.get_file(it.path().join("template.toml")).is_some());
        templates.map(|it| it.path().display().to_string()).collect()
    }

    #[test]
    fn each_template_is_whole_and_writes_no_file_twice() {
        assert!(templates().len() >= 8, "{:?}", templates());
        for template in templates() {
            let files = files(&template).unwrap();
            let paths: BTreeSet<_> = files.iter().map(|(path, _)| path.as_str()).collect();
            assert_eq!(paths.len(), files.len(), "{template}");
            for needed in ["README.md", "dev.toml", "host.toml", ".gitignore", "wit/world.wit"] {
                assert!(paths.contains(needed), "{template} has no {needed}: {paths:?}");
            }
            assert!(paths.iter().any(|path| path.starts_with("test")), "{template} has no test");
        }
    }
}
