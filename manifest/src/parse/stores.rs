//! Stores of key-value buckets: the tables `[keyvalue.NAME]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::confine;
use super::enums::Backend;
use super::raw;
use super::reader::{Reader, StoresByName};
use super::secrets::SecretText;
use super::spanned::Spanned;
use super::text_or::TextOr;
use crate::StoreConfig;
use crate::error::Problem;

/// Reads the tables `[keyvalue.NAME]`.
pub(super) fn stores(
    reader: &mut Reader<'_>,
    raw: &BTreeMap<Spanned<String>, Spanned<raw::Store>>,
) -> StoresByName {
    let stores =
        raw.iter().map(|(name, raw)| (name.value.clone(), store(reader, name, raw))).collect();
    refuse_alike(reader, raw, &stores);
    stores
}

fn store(
    reader: &mut Reader<'_>,
    name: &Spanned<String>,
    raw: &Spanned<raw::Store>,
) -> Option<StoreConfig> {
    reader.check_name(name, "store");
    let backend = reader.parse(raw.value.backend.as_ref()?)?;
    let raw::Store { path, url, .. } = &raw.value;
    let (wants_path, wants_url) = (backend == Backend::Disk, backend == Backend::Redis);
    let path_place = path.as_ref().map(|path| path.span.clone());
    let url_place = url.as_ref().map(SecretText::span);
    for (key, place, wanted) in [("path", path_place, wants_path), ("url", url_place, wants_url)] {
        match place {
            Some(place) if !wanted => {
                let problem = Problem::new(place, format!("this backend has no {key}"));
                reader.report(problem.help(format!("leave {key} out")));
            }
            None if wanted && !reader.is_damaged(&raw.span) => {
                let problem = Problem::new(raw.span.clone(), format!("this store has no {key}"));
                reader.report(problem.help(match key {
                    "path" => "add path = \"data.redb\"",
                    _ => "add url = \"redis://127.0.0.1:6379\"",
                }));
            }
            _ => {}
        }
    }
    match backend {
        Backend::Memory => Some(StoreConfig::Memory(name.value.clone())),
        Backend::Disk => disk(reader, name, path.as_ref()?).map(StoreConfig::Disk),
        Backend::Redis => redis(reader, url.as_ref()?).map(StoreConfig::Redis),
    }
}

fn disk(
    reader: &mut Reader<'_>,
    name: &Spanned<String>,
    written: &Spanned<String>,
) -> Option<PathBuf> {
    let path = reader.new_file(written)?;
    reader.places.hold(format!("the store `{}`", name.value), &path);
    Some(path)
}

fn redis(reader: &mut Reader<'_>, written: &SecretText) -> Option<String> {
    let url = reader.secret(written)?;
    if let (TextOr::Table(_), false) = (written, reader.look) {
        // It has not been read.
        return Some(url.reveal().to_owned());
    }
    if let Err(why) = super::redis::check(url.reveal()) {
        let (message, help) = why.split_once("; ").unwrap_or((&why, "write another URL"));
        reader.report(Problem::new(written.span(), message).help(help));
        return None;
    }
    Some(url.reveal().to_owned())
}

/// Refuses two stores that are the same: they would share their keys, and an operator would not see that.
fn refuse_alike(
    reader: &mut Reader<'_>,
    raw: &BTreeMap<Spanned<String>, Spanned<raw::Store>>,
    stores: &StoresByName,
) {
    let mut seen: Vec<(&StoreConfig, &Spanned<String>)> = Vec::new();
    for name in raw.keys() {
        let Some(Some(store)) = stores.get(name.value.as_str()) else { continue };
        let alike = seen.iter().find(|(other, _)| match (store, other) {
            (StoreConfig::Disk(one), StoreConfig::Disk(other)) => confine::same(one, other),
            (one, other) => one == *other,
        });
        if let Some((_, first)) = alike {
            reader.report(
                Problem::new(name.span.clone(), "two stores are the same one")
                    .label("the second one")
                    .also(first.span.clone(), "the first one")
                    .help("leave one out, or give it another path or url"),
            );
        }
        seen.push((store, name));
    }
}
