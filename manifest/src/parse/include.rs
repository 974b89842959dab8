//! Files that a manifest includes: tables of components and routes, a file for each tenant.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::Spanned as TomlSpanned;
use toml::de::{DeTable, DeValue};

use super::text_file::{is_passing, read};
use crate::error::Problem;
use crate::text::ManifestText;

/// Tables that may stand in a file that is included.
const TABLES: [&str; 2] = ["component", "route"];

/// Files of one manifest. Each is read and held.
const MOST_FILES: usize = 100_000;

/// What cannot be included, and whether that may pass.
pub(super) struct NotIncluded {
    pub(super) problem: Problem,
    pub(super) passing: bool,
}

impl From<Problem> for NotIncluded {
    fn from(problem: Problem) -> Self {
        Self { problem, passing: false }
    }
}

/// Adds the files that `include` of the first one names, each behind the other.
pub(super) fn include(text: &mut ManifestText) -> Result<(), NotIncluded> {
    // What is wrong with the first one as a whole is reported when it is read.
    let patterns = patterns(text.as_str());
    for (pattern, span) in patterns {
        let wrong = |message: String, help: &str| Problem::new(span.clone(), message).help(help);
        let Some((folder, name)) = split(text.directory_at(0), &pattern) else {
            let help = "write a file, or a folder and one `*`: tenants/*.toml";
            return Err(wrong("`*` stands once, in the name of a file".into(), help).into());
        };
        let files = matching(&folder, name).map_err(|why| NotIncluded {
            problem: wrong(
                format!("{} cannot be read: {why}", folder.display()),
                "correct the path (it is relative to the manifest), or put it there",
            ),
            passing: is_passing(&why),
        })?;
        text.add_folder(folder);
        if files.len() > MOST_FILES {
            let message = format!("there are more than {MOST_FILES} files in it");
            return Err(wrong(message, "name fewer").into());
        }
        for file in files {
            let content = read(&file).map_err(|why| NotIncluded {
                problem: wrong(
                    format!("{} cannot be read: {why}", file.display()),
                    "make it a readable file of text in UTF-8",
                ),
                passing: is_passing(&why),
            })?;
            text.add(&file, &content);
        }
    }
    Ok(())
}

/// The texts under `include`, with their places.
fn patterns(text: &str) -> Vec<(String, std::ops::Range<usize>)> {
    let (table, _) = DeTable::parse_recoverable(text);
    let one = |value: &TomlSpanned<DeValue<'_>>| match value.get_ref() {
        DeValue::String(text) => Some((text.to_string(), value.span())),
        _ => None,
    };
    match table.get_ref().get("include") {
        Some(value) => match value.get_ref() {
            DeValue::Array(values) => values.iter().filter_map(one).collect(),
            _ => one(value).into_iter().collect(),
        },
        None => Vec::new(),
    }
}

/// The folder, and what the names of its files begin and end with.
fn split<'a>(directory: &Path, pattern: &'a str) -> Option<(PathBuf, (&'a str, Option<&'a str>))> {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let folder = if pattern.starts_with('/') && folder.is_empty() { "/" } else { folder };
    if folder.contains('*') || name.matches('*').count() > 1 || name.is_empty() {
        return None;
    }
    let name = match name.split_once('*') {
        Some((begin, end)) => (begin, Some(end)),
        None => (name, None),
    };
    Some((directory.join(folder), name))
}

/// The files of a folder with such a name, in the order of their names. What is hidden only if that is asked for.
fn matching(folder: &Path, (begin, end): (&str, Option<&str>)) -> io::Result<Vec<PathBuf>> {
    let Some(end) = end else { return Ok(vec![folder.join(begin)]) };
    let looked = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut files = Vec::new();
    for entry in fs::read_dir(looked)? {
        let name = entry?.file_name();
        let Some(text) = name.to_str() else { continue };
        let hidden = text.starts_with('.') && !begin.starts_with('.');
        if !hidden
            && text.len() >= begin.len() + end.len()
            && text.starts_with(begin)
            && text.ends_with(end)
        {
            files.push(folder.join(&name));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Problems of files that have more in them than may be included, or whose beginning would belong to the file before.
pub(super) fn check(text: &ManifestText) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut at = text.file_at(0).text.len() + 1;
    while at < text.as_str().len() {
        let file = text.file_at(at);
        if let Some(problem) = check_file(file.text, file.start) {
            problems.push(problem);
        }
        at = file.start + file.text.len() + 1;
    }
    problems
}

fn check_file(text: &str, start: usize) -> Option<Problem> {
    let help = "an included file has [component.NAME] and [[route]], and tables below them; the rest stands in the \
                manifest that includes it";
    let mut from = 0;
    for line in text.split_inclusive('\n') {
        let written = line.trim();
        if !written.is_empty() && !written.starts_with('#') {
            if written.starts_with('[') {
                break;
            }
            let span = start + from..start + from + line.trim_end().len();
            return Some(Problem::new(span, "this stands before any table").help(help));
        }
        from += line.len();
    }
    let (table, _) = DeTable::parse_recoverable(text);
    let mut keys = table.get_ref().keys();
    let strange = keys.find(|key| !TABLES.contains(&&**key.get_ref()))?;
    let span = strange.span();
    let message = format!("[{}] does not belong into a file that is included", strange.get_ref());
    Some(Problem::new(start + span.start..start + span.end, message).help(help))
}
