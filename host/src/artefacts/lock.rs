//! `host lock`: pins what the sources of a manifest lead to now.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use host_registry::{ContentDigest, LockFile, PinnedComponent, Reference};

use super::{carry_out, client};
use crate::config::LockConfig;
use crate::exit::Exit;
use crate::supply::RegistryAccesses;

/// Asks the registries, and writes the lock file.
#[must_use]
pub fn run(ask: &LockConfig) -> Exit {
    carry_out("host lock", lock(ask))
}

async fn lock(ask: &LockConfig) -> anyhow::Result<String> {
    let path = &ask.registry.lock;
    let accesses = RegistryAccesses::read(&ask.registry).map_err(anyhow::Error::msg)?;
    let (mut lock, client) = (LockFile::load(path)?, client());
    let sources: Vec<Reference> =
        ask.sources.iter().map(|source| source.parse()).collect::<Result<_, _>>()?;
    let mut said = String::new();
    let mut found = BTreeMap::new();
    for source in &sources {
        let access = accesses.to(source).map_err(anyhow::Error::msg)?;
        let pulled = client.pull(source, &access).await?;
        let pin = PinnedComponent {
            manifest: pulled.manifest_digest(),
            sha256: ContentDigest::of(&pulled.bytes),
            size: pulled.bytes.len() as u64,
        };
        found.insert(source.clone(), pin);
    }
    for (source, pin) in found {
        let before = lock.look_up(&source).copied();
        lock.pin(&source, pin);
        // Writing to a string cannot fail.
        match before {
            None => writeln!(said, "{source}: {}", pin.sha256).ok(),
            Some(before) if before == pin => writeln!(said, "{source}: unchanged").ok(),
            Some(before) => writeln!(said, "{source}: {} to {}", before.sha256, pin.sha256).ok(),
        };
    }
    lock.retain(&sources);
    lock.save(path)?;
    writeln!(said, "{}: {} pinned", path.display(), sources.len()).ok();
    Ok(said)
}
