//! What components are given.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::at::At;
use super::bucket;
use super::confine;
use super::raw;
use super::reading::Reading;
use super::words::{Backend, Reached};
use crate::outgoing::Reach;
use crate::report::Problem;
use crate::{Bucket, Directory, Grants, Space, Store};

/// The stores of a manifest, by name.
pub(super) type Stores<'a> = BTreeMap<&'a str, Option<Store>>;

/// Reads the tables `[keyvalue.NAME]`.
pub(super) fn stores<'a>(
    reading: &mut Reading<'_>,
    raw: &'a BTreeMap<At<String>, At<raw::Store>>,
) -> Stores<'a> {
    let stores =
        raw.iter().map(|(name, raw)| (name.value.as_str(), store(reading, name, raw))).collect();
    refuse_alike(reading, raw, &stores);
    stores
}

fn store(reading: &mut Reading<'_>, name: &At<String>, raw: &At<raw::Store>) -> Option<Store> {
    reading.name(name, "store");
    let backend = reading.word(raw.value.backend.as_ref()?)?;
    let raw::Store { path, url, .. } = &raw.value;
    let (wants_path, wants_url) = (backend == Backend::Disk, backend == Backend::Redis);
    for (key, value, wanted) in [("path", path, wants_path), ("url", url, wants_url)] {
        match value {
            Some(value) if !wanted => {
                let problem =
                    Problem::new(value.span.clone(), format!("this backend has no {key}"));
                reading.wrong(problem.help(format!("leave {key} out")));
            }
            None if wanted && !reading.is_damaged(&raw.span) => {
                let problem = Problem::new(raw.span.clone(), format!("this store has no {key}"));
                reading.wrong(problem.help(match key {
                    "path" => "add path = \"data.redb\"",
                    _ => "add url = \"redis://127.0.0.1:6379\"",
                }));
            }
            _ => {}
        }
    }
    match backend {
        Backend::Memory => Some(Store::Memory(name.value.clone())),
        Backend::Disk => disk(reading, name, path.as_ref()?).map(Store::Disk),
        Backend::Redis => redis(reading, url.as_ref()?).map(Store::Redis),
    }
}

fn disk(reading: &mut Reading<'_>, name: &At<String>, written: &At<String>) -> Option<PathBuf> {
    let path = reading.new_file(written)?;
    reading.places.hold(format!("the store `{}`", name.value), &path);
    Some(path)
}

fn redis(reading: &mut Reading<'_>, written: &At<String>) -> Option<String> {
    let url = reading.text(written)?;
    if let Err(why) = super::redis::check(&url) {
        let (message, help) = why.split_once("; ").unwrap_or((&why, "write another URL"));
        reading.wrong(Problem::new(written.span.clone(), message).help(help));
        return None;
    }
    Some(url)
}

/// Two stores that are one: what is in one would be in the other, and an operator would not see that
/// they share their keys.
fn refuse_alike(
    reading: &mut Reading<'_>,
    raw: &BTreeMap<At<String>, At<raw::Store>>,
    stores: &Stores<'_>,
) {
    let mut seen: Vec<(&Store, &At<String>)> = Vec::new();
    for name in raw.keys() {
        let Some(Some(store)) = stores.get(name.value.as_str()) else { continue };
        let alike = seen.iter().find(|(other, _)| match (store, other) {
            (Store::Disk(one), Store::Disk(other)) => confine::same(one, other),
            (one, other) => one == *other,
        });
        if let Some((_, first)) = alike {
            reading.wrong(
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
    reading: &mut Reading<'_>,
    component: &Arc<str>,
    raw: &raw::Component,
    stores: &Stores<'_>,
) -> Grants {
    let grants = &raw.grants;
    let reached = reading.words(&grants.outgoing_addresses);
    Grants {
        env: env(reading, &raw.env),
        args: raw.args.iter().filter_map(|arg| reading.plain(arg)).collect(),
        config: config(reading, &raw.config),
        directories: directories(reading, &grants.directories),
        stdio: grants.stdio.as_ref().and_then(|stdio| reading.word(stdio)).unwrap_or_default(),
        outgoing: reading.words(&grants.outgoing),
        reach: Reach {
            loopback: reached.contains(&Reached::Loopback),
            private: reached.contains(&Reached::Private),
            link_local: reached.contains(&Reached::LinkLocal),
        },
        tcp: reading.words(&grants.tcp),
        lookup: grants.name_lookup,
        request_shutdown: grants.request_shutdown,
        buckets: buckets(reading, component, &grants.keyvalue, stores),
    }
}

fn env(reading: &mut Reading<'_>, raw: &BTreeMap<At<String>, At<String>>) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (name, value) in raw {
        if !is_visible(&name.value) || name.value.contains('=') {
            reading.wrong(
                Problem::new(name.span.clone(), "this is no name for an environment variable")
                    .help("leave out `=` and control characters"),
            );
        }
        out.extend(reading.plain(value).map(|value| (name.value.clone(), value)));
    }
    out
}

fn config(
    reading: &mut Reading<'_>,
    raw: &BTreeMap<At<String>, At<String>>,
) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (name, value) in raw {
        visible(reading, name);
        out.extend(reading.text(value).map(|value| (name.value.clone(), value)));
    }
    out
}

fn directories(reading: &mut Reading<'_>, raw: &[At<raw::Directory>]) -> Vec<Directory> {
    let mut out: Vec<Directory> = Vec::new();
    for At { value: raw, .. } in raw {
        let (Some(host), Some(guest)) = (&raw.host, &raw.guest) else { continue };
        let path = reading.existing_directory(host);
        let Some(name) = reading.plain(guest) else { continue };
        let fine = name.starts_with('/')
            && is_visible(&name)
            && !name.split('/').any(|part| part == ".." || part == ".");
        if !fine {
            reading.wrong(
                Problem::new(guest.span.clone(), "this is no path for a guest")
                    .help("write a whole path without `.` and `..`, such as /assets"),
            );
        }
        // `/a`, `/a/` and `//a` are one place to a guest.
        let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
        let name = format!("/{}", parts.join("/"));
        if fine && out.iter().any(|other| other.guest == name) {
            reading.wrong(
                Problem::new(guest.span.clone(), "this component has two directories here")
                    .help("choose another path for one of them"),
            );
        }
        let Some(path) = path else { continue };
        reading.places.directory(&path, host, raw.write);
        let host = path;
        out.push(Directory { host, guest: name, writable: raw.write });
    }
    out
}

fn buckets(
    reading: &mut Reading<'_>,
    component: &Arc<str>,
    raw: &BTreeMap<At<String>, bucket::Bucket>,
    stores: &Stores<'_>,
) -> BTreeMap<String, Bucket> {
    let mut out = BTreeMap::new();
    for (name, raw) in raw {
        visible(reading, name);
        let Some(written) = &raw.store else { continue };
        let shared = raw.shared.as_ref().and_then(|shared| {
            visible(reading, shared);
            reading.text(shared)
        });
        let space = match shared {
            Some(shared) => Space::Shared(shared),
            None => Space::Own(Arc::clone(component), name.value.clone()),
        };
        let Some(text) = reading.text(written) else { continue };
        match stores.get(text.as_str()) {
            Some(Some(store)) => {
                out.insert(name.value.clone(), Bucket { store: store.clone(), space });
            }
            // What is wrong with the store has been said.
            Some(None) => {}
            None => reading.unknown(written, "store", stores.keys().copied()),
        }
    }
    out
}

fn visible(reading: &mut Reading<'_>, name: &At<String>) {
    if !is_visible(&name.value) {
        reading.wrong(
            Problem::new(name.span.clone(), "this is no name")
                .help("write at least one character, and no control characters"),
        );
    }
}

fn is_visible(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}
