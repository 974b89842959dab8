//! `host new`: the folder of a new guest, from a template.
//!
//! ```text
//! templates/LANG/KIND-WASI/template.toml ─→ folders (also) + WIT (wit) ─→ names filled in ─→ NAME/
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use flate2::read::ZlibDecoder;
use host_log::outlet;
use serde::Deserialize;

use crate::config::NewConfig;
use crate::exit::Exit;

/// What is written from here, packed by build.rs: a folder for each combination that there is, and what several share.
static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/templates"));

/// Files by their paths.
type Files = BTreeMap<String, String>;

/// Of what a folder is made. Beside the files of the template itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Template {
    /// The interfaces, which become `wit`.
    wit: String,
    /// Folders whose files stand in this one too.
    also: Vec<String>,
}

/// The file of a template that says so.
const TEMPLATE: &str = "template.toml";

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
    let templates = unpacked()?;
    let wasi = wasi(&templates, ask)?;
    let files = files(&templates, &format!("{lang}/{kind}-{wasi}"))?;
    make(folder)?;
    for (path, text) in &files {
        let path = folder.join(filled(path, name));
        put(&path, &filled(text, name))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let (folder, many) = (folder.display(), files.len());
    let article = if kind.starts_with('a') { "an" } else { "a" };
    Ok(format!(
        "{folder}: {many} files, {article} {kind} for wasi:http {wasi} in {lang}\n\
         README.md in it says what to install. Then:\n\n\
         \x20   cd {folder}\n\
         \x20   host dev          # builds, serves, and builds again when a file changes\n"
    ))
}

fn unpacked() -> anyhow::Result<Files> {
    serde_json::from_reader(io::BufReader::new(ZlibDecoder::new(PACKED)))
        .context("the templates in this program are damaged")
}

/// The templates that there are, as `LANG/KIND-WASI`.
fn templates_in(files: &Files) -> impl Iterator<Item = &str> {
    files.keys().filter_map(|path| path.strip_suffix(TEMPLATE)?.strip_suffix('/'))
}

/// The version of WASI: the one that is asked for, or the newest that there is a template for.
fn wasi(files: &Files, ask: &NewConfig) -> anyhow::Result<String> {
    let NewConfig { lang, kind, wasi, .. } = ask;
    let prefix = format!("{lang}/{kind}-");
    let there: BTreeSet<&str> =
        templates_in(files).filter_map(|template| template.strip_prefix(&*prefix)).collect();
    match wasi {
        Some(wasi) if there.contains(&**wasi) => Ok(wasi.clone()),
        Some(wasi) => bail!(
            "there is no {kind} in {lang} for wasi:http {wasi}, because its tools make none; write --wasi {}",
            there.into_iter().collect::<Vec<_>>().join(" or ")
        ),
        None => match there.last() {
            Some(newest) => Ok((*newest).to_owned()),
            None => bail!("there is no {kind} in {lang}"),
        },
    }
}

/// What is written: paths within the folder, and texts.
fn files<'a>(templates: &'a Files, template: &str) -> anyhow::Result<Vec<(String, &'a str)>> {
    let about = templates.get(&format!("{template}/{TEMPLATE}"));
    let about: Template = toml::from_str(about.context("there is no such template")?)?;
    let mut found = Vec::new();
    let mut add = |folder: &str, before: &str| {
        let below = format!("{folder}/");
        for (path, text) in templates {
            let Some(path) = path.strip_prefix(&*below).filter(|path| *path != TEMPLATE) else {
                continue;
            };
            // A file that would mean something to the tools of this repository has another name in it.
            let path = path.strip_suffix(".tmpl").unwrap_or(path);
            found.push((format!("{before}{path}"), text.as_str()));
        }
    };
    add(template, "");
    about.also.iter().for_each(|folder| add(folder, ""));
    add(&about.wit, "wit/");
    Ok(found)
}

/// Makes the folder. One that is there has to be empty: nothing is overwritten.
fn make(folder: &Path) -> anyhow::Result<()> {
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

fn put(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)?;
    if text.starts_with("#!") {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn filled(text: &str, name: &str) -> String {
    text.replace("{{name}}", name).replace("{{name_snake}}", &name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_template_is_whole_and_writes_no_file_twice() {
        let all = unpacked().unwrap();
        assert!(templates_in(&all).count() >= 8);
        for template in templates_in(&all) {
            let files = files(&all, template).unwrap();
            let paths: BTreeSet<_> = files.iter().map(|(path, _)| path.as_str()).collect();
            assert_eq!(paths.len(), files.len(), "{template}");
            for needed in ["README.md", "dev.toml", "host.toml", ".gitignore", "wit/world.wit"] {
                assert!(paths.contains(needed), "{template} has no {needed}: {paths:?}");
            }
            assert!(paths.iter().any(|path| path.starts_with("test")), "{template} has no test");
        }
    }
}
