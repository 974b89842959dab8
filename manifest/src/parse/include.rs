//! Files that a manifest includes: tables of components and routes, a file for each tenant.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned as TomlSpanned;
use toml::de::{DeTable, DeValue};

use super::syntax::syntax;
use super::text_file::{is_passing, read};
use crate::error::Problem;
use crate::text::{ManifestText, TextFile};

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
    let mut included = HashSet::new();
    for (pattern, span) in patterns {
        let wrong = |message: String, help: &str| Problem::new(span.clone(), message).help(help);
        let Some((folder, name)) = split(text.directory_at(0), &pattern) else {
            let help = "write a file, or a folder and one `*`: tenants/*.toml";
            let message = match pattern.as_str() {
                "" => "this names no file",
                _ => "`*` stands once, in the name of a file",
            };
            return Err(wrong(message.into(), help).into());
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
            if !included.insert(file.clone()) {
                let message = format!("{} is included twice", file.display());
                return Err(wrong(message, "name it once").into());
            }
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
fn patterns(text: &str) -> Vec<(String, Range<usize>)> {
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

/// Problems of files that have more in them than may be included, or whose beginning would belong to the file before; and
/// components that stand in several files.
pub(super) fn check(text: &ManifestText) -> Vec<Problem> {
    let first = text.file_at(0);
    let (mut problems, mut known) = (Vec::new(), HashMap::new());
    let mut at = first.text.len() + 1;
    if at < text.as_str().len() {
        let (table, _) = DeTable::parse_recoverable(first.text);
        names(&table, first.start, &mut known, &mut problems);
    }
    while at < text.as_str().len() {
        let file = text.file_at(at);
        check_file(file, &mut known, &mut problems);
        at = file.start + file.text.len() + 1;
    }
    problems
}

/// Where each component stands, by its name.
type Known = HashMap<String, Range<usize>>;

fn check_file(file: TextFile<'_>, known: &mut Known, problems: &mut Vec<Problem>) {
    let TextFile { text, start, .. } = file;
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let whole = |problem: Problem| problem.moved(start);
        problems.extend(errors.iter().map(|error| whole(syntax(error, text))));
        return;
    }
    if let Some(span) = before_tables(text) {
        let span = start + span.start..start + span.end;
        problems.push(match text.get(span.start - start..).unwrap_or_default() {
            line if line.starts_with("include") => {
                Problem::new(span, "a file that is included cannot include others")
                    .help("name them in the manifest too, or use `*`: tenants/*.toml")
            }
            _ => Problem::new(span, "this stands before any table").help(HELP),
        });
        return;
    }
    for strange in table.get_ref().keys().filter(|key| !TABLES.contains(&&**key.get_ref())) {
        let span = strange.span();
        let message =
            format!("[{}] does not belong into a file that is included", strange.get_ref());
        problems.push(Problem::new(start + span.start..start + span.end, message).help(HELP));
    }
    names(&table, start, known, problems);
}

const HELP: &str = "an included file has [component.NAME] and [[route]], and tables below them; the rest stands in the \
                    manifest that includes it";

/// The first line that stands before any table.
fn before_tables(text: &str) -> Option<Range<usize>> {
    let mut from = 0;
    for line in text.split_inclusive('\n') {
        let written = line.trim();
        if !written.is_empty() && !written.starts_with('#') {
            return (!written.starts_with('[')).then(|| from..from + line.trim_end().len());
        }
        from += line.len();
    }
    None
}

/// Notes the components of a file that begins here, and reports those that another file has too.
fn names(
    table: &TomlSpanned<DeTable<'_>>,
    start: usize,
    known: &mut Known,
    problems: &mut Vec<Problem>,
) {
    let Some(DeValue::Table(components)) = table.get_ref().get("component").map(|it| it.get_ref())
    else {
        return;
    };
    for name in components.keys() {
        let span = start + name.span().start..start + name.span().end;
        let name = name.get_ref();
        match known.get(&**name) {
            Some(first) => problems.push(
                Problem::new(span, format!("component {name} is in another file too"))
                    .also(first.clone(), "the first one")
                    .help("give it another name: all files are one manifest"),
            ),
            None => drop(known.insert(name.to_string(), span)),
        }
    }
}
