//! Directories of the host that a guest sees.

mod open_at;
mod open_file;

use std::fmt;
use std::sync::Arc;

use host_manifest::abilities::{AbilitySyntax, DIRECTORIES};
use host_manifest::{ComponentConfig, DirectoriesConfig, DirectoryConfig};
use wasmtime::component::Linker;
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};

use self::open_file::OpenLimit;
use super::ability::{Ability, GrantResources, ImportUse};
use crate::component::sandbox::grants::Grant;
use crate::component::sandbox::state::GuestState;

/// The ability.
pub(super) struct DirectoriesAbility;

/// Directories, opened once: guests see what was there then, whatever the path leads to later.
struct Directories {
    opened: WasiFilesystemCtx,
    /// Of all instances together.
    limit: OpenLimit,
}

impl Directories {
    /// Opens them. Blocks.
    ///
    /// # Errors
    /// The first one that cannot be opened, with the reason.
    fn open(DirectoriesConfig(directories): &DirectoriesConfig) -> Result<Self, String> {
        let mut builder = WasiCtxBuilder::new();
        for DirectoryConfig { host, guest, writable } in directories {
            let perms = if *writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            builder
                .preopened_dir(host, guest, perms)
                .map_err(|why| format!("cannot open the directory {}: {why}", host.display()))?;
        }
        let opened = builder.build().filesystem().clone();
        Ok(Self { opened, limit: OpenLimit::default() })
    }
}

impl fmt::Debug for Directories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Directories")
    }
}

impl Grant for Directories {
    fn furnish(&self, wasi: &mut WasiCtx) {
        wasi.filesystem().clone_from(&self.opened);
    }
}

/// What bounds how many files an instance opens at once.
fn open_limit(state: &GuestState) -> OpenLimit {
    // Without a directory there is nothing to open.
    state.grants().get::<Directories>().map(|it| it.limit.clone()).unwrap_or_default()
}

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
