//! What components are given.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::bucket;
use super::confine;
use super::enums::{Backend, Reached};
use super::raw;
use super::reader::Reader;
use super::spanned::Spanned;
use crate::error::Problem;
use crate::outgoing::Reach;
use crate::{BucketConfig, Directory, GrantsConfig, Namespace, StoreConfig};

/// The stores of a manifest, by name.
pub(super) type Stores<'a> = BTreeMap<&'a str, Option<StoreConfig>>;

/// Reads the tables `[keyvalue.NAME]`.
pub(super) fn stores<'a>(
    reader: &mut Reader<'_>,
    raw: &'a BTreeMap<Spanned<String>, Spanned<raw::Store>>,
) -> Stores<'a> {
    let stores =
        raw.iter().map(|(name, raw)| (name.value.as_str(), store(reader, name, raw))).collect();
    refuse_alike(reader, raw, &stores);
    stores
}

fn store(
    reader: &mut Reader<'_>,
    name: &Spanned<String>,
    raw: &Spanned<raw::Store>,
) -> Option<StoreConfig> {
    reader.name(name, "store");
    let backend = reader.word(raw.value.backend.as_ref()?)?;
    let raw::Store { path, url, .. } = &raw.value;
    let (wants_path, wants_url) = (backend == Backend::Disk, backend == Backend::Redis);
    for (key, value, wanted) in [("path", path, wants_path), ("url", url, wants_url)] {
        match value {
            Some(value) if !wanted => {
                let problem =
                    Problem::new(value.span.clone(), format!("this backend has no {key}"));
                reader.wrong(problem.help(format!("leave {key} out")));
            }
            None if wanted && !reader.is_damaged(&raw.span) => {
                let problem = Problem::new(raw.span.clone(), format!("this store has no {key}"));
                reader.wrong(problem.help(match key {
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

fn redis(reader: &mut Reader<'_>, written: &Spanned<String>) -> Option<String> {
    let url = reader.text(written)?;
    if let Err(why) = super::redis::check(&url) {
        let (message, help) = why.split_once("; ").unwrap_or((&why, "write another URL"));
        reader.wrong(Problem::new(written.span.clone(), message).help(help));
        return None;
    }
    Some(url)
}

/// Two stores that are one: what is in one would be in the other, and an operator would not see that
/// they share their keys.
fn refuse_alike(
    reader: &mut Reader<'_>,
    raw: &BTreeMap<Spanned<String>, Spanned<raw::Store>>,
    stores: &Stores<'_>,
) {
    let mut seen: Vec<(&StoreConfig, &Spanned<String>)> = Vec::new();
    for name in raw.keys() {
        let Some(Some(store)) = stores.get(name.value.as_str()) else { continue };
        let alike = seen.iter().find(|(other, _)| match (store, other) {
            (StoreConfig::Disk(one), StoreConfig::Disk(other)) => confine::same(one, other),
            (one, other) => one == *other,
        });
        if let Some((_, first)) = alike {
            reader.wrong(
                Problem::new(name.span.clone(), "two stores are the same one")
                    .label("the second one")
                    .also(first.span.clone(), "the first one")
                    .help("leave one out, or give it another path or url"),
            );
        }
        seen.push((store, name));
    }
}

/// Reads what one component is given.
pub(super) fn grants(
    reader: &mut Reader<'_>,
    component: &Arc<str>,
    raw: &raw::Component,
    stores: &Stores<'_>,
) -> GrantsConfig {
    let grants = &raw.grants;
    let reached = reader.words(&grants.outgoing_addresses);
    GrantsConfig {
        env: env(reader, &raw.env),
        args: raw.args.iter().filter_map(|arg| reader.plain(arg)).collect(),
        config: config(reader, &raw.config),
        directories: directories(reader, &grants.directories),
        stdio: grants.stdio.as_ref().and_then(|stdio| reader.word(stdio)).unwrap_or_default(),
        outgoing: reader.words(&grants.outgoing),
        reach: Reach {
            loopback: reached.contains(&Reached::Loopback),
            private: reached.contains(&Reached::Private),
            link_local: reached.contains(&Reached::LinkLocal),
        },
        tcp: reader.words(&grants.tcp),
        lookup: grants.name_lookup,
        request_shutdown: grants.request_shutdown,
        buckets: buckets(reader, component, &grants.keyvalue, stores),
    }
}

fn env(
    reader: &mut Reader<'_>,
    raw: &BTreeMap<Spanned<String>, Spanned<String>>,
) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (name, value) in raw {
        if !is_visible(&name.value) || name.value.contains('=') {
            reader.wrong(
                Problem::new(name.span.clone(), "this is no name for an environment variable")
                    .help("leave out `=` and control characters"),
            );
        }
        out.extend(reader.plain(value).map(|value| (name.value.clone(), value)));
    }
    out
}

fn config(
    reader: &mut Reader<'_>,
    raw: &BTreeMap<Spanned<String>, Spanned<String>>,
) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (name, value) in raw {
        visible(reader, name);
        out.extend(reader.text(value).map(|value| (name.value.clone(), value)));
    }
    out
}

fn directories(reader: &mut Reader<'_>, raw: &[Spanned<raw::Directory>]) -> Vec<Directory> {
    let mut out: Vec<Directory> = Vec::new();
    for Spanned { value: raw, .. } in raw {
        let (Some(host), Some(guest)) = (&raw.host, &raw.guest) else { continue };
        let path = reader.existing_directory(host);
        let Some(name) = reader.plain(guest) else { continue };
        let fine = name.starts_with('/')
            && is_visible(&name)
            && !name.split('/').any(|part| part == ".." || part == ".");
        if !fine {
            reader.wrong(
                Problem::new(guest.span.clone(), "this is no path for a guest")
                    .help("write a whole path without `.` and `..`, such as /assets"),
            );
        }
        // `/a`, `/a/` and `//a` are one place to a guest.
        let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
        let name = format!("/{}", parts.join("/"));
        if fine && out.iter().any(|other| other.guest == name) {
            reader.wrong(
                Problem::new(guest.span.clone(), "this component has two directories here")
                    .help("choose another path for one of them"),
            );
        }
        let Some(path) = path else { continue };
        reader.places.directory(&path, host, raw.write);
        let host = path;
        out.push(Directory { host, guest: name, writable: raw.write });
    }
    out
}

fn buckets(
    reader: &mut Reader<'_>,
    component: &Arc<str>,
    raw: &BTreeMap<Spanned<String>, bucket::Bucket>,
    stores: &Stores<'_>,
) -> BTreeMap<String, BucketConfig> {
    let mut out = BTreeMap::new();
    for (name, raw) in raw {
        visible(reader, name);
        let Some(written) = &raw.store else { continue };
        let shared = raw.shared.as_ref().and_then(|shared| {
            visible(reader, shared);
            reader.text(shared)
        });
        let space = match shared {
            Some(shared) => Namespace::Shared(shared),
            None => Namespace::Own(Arc::clone(component), name.value.clone()),
        };
        let Some(text) = reader.text(written) else { continue };
        match stores.get(text.as_str()) {
            Some(Some(store)) => {
                out.insert(name.value.clone(), BucketConfig { store: store.clone(), space });
            }
            // What is wrong with the store has been said.
            Some(None) => {}
            None => reader.unknown(written, "store", stores.keys().copied()),
        }
    }
    out
}

fn visible(reader: &mut Reader<'_>, name: &Spanned<String>) {
    if !is_visible(&name.value) {
        reader.wrong(
            Problem::new(name.span.clone(), "this is no name")
                .help("write at least one character, and no control characters"),
        );
    }
}

fn is_visible(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}
