//! The tables `registry` and `trust`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::reader::Reader;
use super::secrets::SecretText;
use super::spanned::{Spanned, Written};
use crate::error::Problem;
use crate::{DurationOrOff, RegistryConfig, TrustConfig};

/// How registries are spoken to that components come from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Registry {
    /// Certificates of authorities that vouch for registries, beside those of the system: files in PEM, relative to the
    /// manifest.
    authorities: Vec<Spanned<String>>,
    /// Docker's file with credentials, relative to the manifest. By default that of the user, if there is one.
    docker_config: Option<Spanned<String>>,
    /// The file that `host lock` writes what sources lead to into; relative to the manifest.
    #[schemars(extend("default" = LOCK))]
    lock: Option<Spanned<String>>,
    /// Credentials by registry, USER:PASSWORD or a token, in place of Docker's.
    login: BTreeMap<Spanned<String>, SecretText>,
    /// How often it is looked where the tags of sources lead to that are not in the lock file, or `off`. A tag that has
    /// moved is a reload.
    #[schemars(extend("default" = "off"))]
    poll: Option<Written<DurationOrOff>>,
}

/// Who has to vouch for components.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Trust {
    /// Public keys, Ed25519 or ECDSA P-256, as cosign and openssl write them: files in PEM, relative to the manifest.
    keys: Vec<Spanned<String>>,
    /// Whether a component that none of the keys has signed is refused.
    #[schemars(extend("default" = false))]
    require: bool,
}

const LOCK: &str = "host.lock";

/// Often enough for people, and no load for a registry.
const LEAST_POLL_SECONDS: u64 = 5;

pub(super) fn registry(reader: &mut Reader<'_>, raw: &Registry) -> RegistryConfig {
    let lock = match &raw.lock {
        Some(lock) => reader.path(lock).unwrap_or_default(),
        None => reader.relative(LOCK.as_ref(), &(0..0)),
    };
    reader.places.hold("the lock file", &lock);
    let poll = raw.poll.as_ref().and_then(|poll| {
        let every = reader.parse(poll)?.0;
        if every.is_some_and(|every| every.as_secs() < LEAST_POLL_SECONDS) {
            let message = format!("poll is at least {LEAST_POLL_SECONDS}s");
            let problem = Problem::new(poll.text.span.clone(), message);
            reader.report(problem.help("write 1m, or off for never"));
        }
        every
    });
    let docker_config = raw.docker_config.as_ref().and_then(|file| reader.file(file));
    let logins = raw
        .login
        .iter()
        .filter_map(|(registry, login)| Some((registry.value.clone(), reader.secret(login)?)));
    let logins = logins.collect();
    let authorities = files(reader, &raw.authorities, "a certificate of an authority");
    RegistryConfig { lock, authorities, docker_config, logins, poll }
}

pub(super) fn trust(reader: &mut Reader<'_>, raw: &Trust) -> TrustConfig {
    let keys = files(reader, &raw.keys, "a key that is trusted");
    if raw.require && raw.keys.is_empty() {
        reader.report(
            Problem::nowhere(
                "trust.require wants signatures, and there is no key to check them by",
            )
            .help("add keys = [\"cosign.pub\"] to [trust]"),
        );
    }
    TrustConfig { keys, require: raw.require }
}

/// Files that no guest may write to: they decide what is served.
fn files(reader: &mut Reader<'_>, written: &[Spanned<String>], what: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for written in written {
        let Some(path) = reader.file(written) else { continue };
        reader.places.hold(what, &path);
        files.push(path);
    }
    files
}
