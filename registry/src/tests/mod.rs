//! The client against servers: one that does what a test says (`fake_registry.rs`), and Debian's `docker-registry`.

mod fake_registry;
mod hostile;
mod identities;
mod offline;
mod real_registry;
mod redirects;
mod signatures;
mod token_server;

use std::time::Duration;

use crate::{OciReference, PullBounds, Reference, RegistryAccess, RegistryClient};

/// A component, as far as a registry knows.
const COMPONENT: &[u8] = b"\0asm of a component";

fn client() -> RegistryClient {
    RegistryClient::new(PullBounds { size: 10_000, ..PullBounds::default() })
}

/// One that does not wait for long.
fn hasty() -> RegistryClient {
    let (whole, silence) = (Duration::from_secs(2), Duration::from_millis(300));
    RegistryClient::new(PullBounds { size: 10_000, whole, silence })
}

fn nobody() -> RegistryAccess {
    RegistryAccess::default()
}

fn image(text: &str) -> OciReference {
    match text.parse() {
        Ok(Reference::Oci(image)) => image,
        other => panic!("{text} is no image: {other:?}"),
    }
}
