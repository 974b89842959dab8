//! Directories that were opened for a component.

use std::fmt;

use host_manifest::{DirectoriesConfig, DirectoryConfig};
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};

use super::open_file::OpenLimit;
use crate::component::sandbox::grants::Grant;
use crate::component::sandbox::state::GuestState;

/// Directories, opened once. Guests see these directories even if the path leads elsewhere later.
pub(super) struct Directories {
    opened: WasiFilesystemCtx,
    /// Shared by all instances.
    limit: OpenLimit,
}

impl Directories {
    /// Opens them. Blocks.
    ///
    /// # Errors
    /// The first directory that cannot be opened, with the reason.
    pub(super) fn open(DirectoriesConfig(directories): &DirectoriesConfig) -> Result<Self, String> {
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

/// The limit of files that an instance opens at once.
pub(super) fn open_limit(state: &GuestState) -> OpenLimit {
    // Without a directory there is nothing to open.
    state
        .grants()
        .get::<Directories>()
        .map(|directories| directories.limit.clone())
        .unwrap_or_default()
}
