//! Directories of the host that a guest sees.

mod grant;
mod open_at;
mod open_file;

use std::sync::Arc;

use host_manifest::abilities::{AbilitySyntax, DIRECTORIES};
use host_manifest::{ComponentConfig, DirectoriesConfig};
use wasmtime::component::Linker;

use self::grant::Directories;
use super::ability::{Ability, GrantResources, ImportUse};
use crate::component::sandbox::grants::Grant;
use crate::component::sandbox::state::GuestState;

/// The ability.
pub(super) struct DirectoriesAbility;

impl Ability for DirectoriesAbility {
    fn syntax(&self) -> AbilitySyntax {
        DIRECTORIES
    }

    fn words(&self) -> &'static [&'static str] {
        &["directories"]
    }

    fn uses(&self) -> &'static [ImportUse] {
        &[ImportUse {
            prefix: "wasi:filesystem/preopens",
            what: "directories",
            grant: "directories",
            example: "grants.directories = [{ host = \"assets\", guest = \"/assets\" }]",
        }]
    }

    fn provide(
        &self,
        component: &ComponentConfig,
        _: &GrantResources<'_>,
    ) -> Result<Option<Arc<dyn Grant>>, String> {
        let granted: Option<&DirectoriesConfig> = component.grants.get();
        let opened = granted.map(Directories::open).transpose()?;
        Ok(opened.map(|directories| Arc::new(directories) as _))
    }

    fn link(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        open_at::add_p2(linker)
    }

    fn link_async(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        open_at::add_p3(linker)
    }
}
