//! Commands for components as artefacts: `host lock`, `host push`, `host sign` and `host verify`.

mod lock;
mod push;
mod sign;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use host_log::outlet;
use host_registry::{OciReference, PullBounds, Reference, RegistryClient};
use host_trust::{KeyName, PrivateKey};
use tokio::runtime::Runtime;

use crate::exit::Exit;

pub use lock::run as lock;
pub use push::run as push;
pub use sign::{sign, verify};

/// Runs a command, and prints what it says, or why it failed.
fn carry_out(command: &str, work: impl Future<Output = anyhow::Result<String>>) -> Exit {
    let done = runtime().and_then(|runtime| runtime.block_on(work));
    match done {
        Ok(said) => Exit::Clean.if_printed(command, outlet::print(&said)),
        Err(why) => {
            outlet::complain(&format!("{command}: {why:#}"));
            Exit::NoStart
        }
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn client() -> RegistryClient {
    RegistryClient::new(PullBounds::default())
}

/// The image that is meant.
fn image(text: &str) -> anyhow::Result<OciReference> {
    match text.parse::<Reference>()? {
        Reference::Oci(image) => Ok(image),
        Reference::File(_) => {
            bail!("{text} is no image of a registry; write oci://REGISTRY/REPOSITORY:TAG")
        }
    }
}

fn private_key(path: &Path) -> anyhow::Result<PrivateKey> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let password = std::env::var("COSIGN_PASSWORD").ok();
    let name = KeyName::new(path.display().to_string());
    Ok(PrivateKey::from_pem(&name, &text, password.as_deref())?)
}
