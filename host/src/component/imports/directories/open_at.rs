//! `open-at` of both versions of `wasi:filesystem`, in place of wasmtime's: see `open_file.rs`. Also
//! `set-times-at`, which opens the file when it is told to follow symbolic links.

use host_manifest::escape::quote;
use std::io;

use rustix::io::Errno;
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, Dir, WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::{p2, p3};

use super::super::denials::guest_result;
use super::grant::open_limit;
use super::open_file::{self, OpenLimit, Opened, open_request};
use crate::component::sandbox::log_limit::log_limited;
use crate::component::sandbox::state::GuestState;

/// The directory where a path begins, and the limit under which it is opened.
type Begun = Result<(Dir, OpenLimit), Errno>;

/// None where wasmtime's own function has to open it.
type Made = Option<io::Result<Resource<Descriptor>>>;

impl GuestState {
    fn begin_open(&mut self, directory: &Resource<Descriptor>) -> wasmtime::Result<Begun> {
        if !self.has_descriptor() {
            return Ok(Err(Errno::NOMEM));
        }
        let limit = open_limit(self);
        Ok(match self.table().get(directory)? {
            Descriptor::Dir(directory) => Ok((directory.clone(), limit)),
            Descriptor::File(_) => Err(Errno::NOTDIR),
        })
    }

    fn end_open(&mut self, opened: io::Result<Opened>, asked: &str) -> wasmtime::Result<Made> {
        Ok(Some(match opened {
            Ok(Opened::Descriptor(descriptor)) => Ok(self.table().push(descriptor)?),
            Ok(Opened::Neither) => {
                self.neither_refused(asked);
                Err(Errno::NOTSUP.into())
            }
            Ok(Opened::NoSuchCall) => return Ok(None),
            Err(why) => Err(why),
        }))
    }

    fn path_refused(&self, path: &str) {
        log_limited!(
            warn,
            self.identity(),
            "paths",
            path = quote(path),
            "path refused: it leads out of its directory, or may only be read (grants.directories)"
        );
    }

    fn neither_refused(&self, path: &str) {
        log_limited!(
            warn,
            self.identity(),
            "paths",
            path = quote(path),
            "path refused: it is neither a file nor a directory, but a fifo, a socket or a device"
        );
    }
}

mod of_p2 {
    use p2::bindings::filesystem::types::{
        DescriptorFlags, DescriptorType, ErrorCode, HostDescriptor as _, NewTimestamp, OpenFlags,
        PathFlags,
    };

    use super::*;

    pub(super) type Params = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);

    type Result = wasmtime::Result<std::result::Result<Resource<Descriptor>, ErrorCode>>;

    pub(super) type Times = (Resource<Descriptor>, PathFlags, String, NewTimestamp, NewTimestamp);

    type Done = wasmtime::Result<std::result::Result<(), ErrorCode>>;

    pub(super) async fn set_times_at(state: &mut GuestState, params: Times) -> Done {
        let (directory, how, path, accessed, modified) = params;
        if !how.contains(PathFlags::SYMLINK_FOLLOW) {
            let mut files = state.filesystem();
            return guest_result(
                files.set_times_at(directory, how, path, accessed, modified).await,
            );
        }
        // A write-only file, then a read-only file or a directory.
        for access in [DescriptorFlags::WRITE, DescriptorFlags::READ] {
            let there = Resource::new_borrow(directory.rep());
            let params = (there, how, path.clone(), OpenFlags::empty(), access);
            let file = match open_at(state, params).await? {
                Ok(file) => file,
                Err(ErrorCode::Access | ErrorCode::IsDirectory) => continue,
                Err(why) => return Ok(Err(why)),
            };
            let mut files = state.filesystem();
            let file_again = Resource::new_borrow(file.rep());
            let set = guest_result(files.set_times(file_again, accessed, modified).await);
            state.table().delete(file)?;
            return set;
        }
        // No open of this file is permitted, so wasmtime's function cannot come to wait in one.
        guest_result(
            state.filesystem().set_times_at(directory, how, path, accessed, modified).await,
        )
    }

    pub(super) async fn open_at(state: &mut GuestState, params: Params) -> Result {
        let asked = quote(&params.2);
        let opened = open(state, params, &asked).await?;
        if matches!(opened, Err(ErrorCode::NotPermitted | ErrorCode::ReadOnly)) {
            state.path_refused(&asked);
        }
        Ok(opened)
    }

    async fn open(state: &mut GuestState, params: Params, asked: &str) -> Result {
        let (directory, how, path, open, flags) = params;
        let (dir, limit) = match state.begin_open(&directory)? {
            Ok(begun) => begun,
            Err(why) => return Ok(Err(io::Error::from(why).into())),
        };
        let opened =
            open_file::open(dir, path.clone(), open_request!(how, open, flags), &limit).await;
        if let Some(made) = state.end_open(opened, asked)? {
            return Ok(made.map_err(ErrorCode::from));
        }
        let _permit = limit.permit().await?;
        let there = Resource::new_borrow(directory.rep());
        let stat = guest_result(state.filesystem().stat_at(there, how, path.clone()).await)?;
        let plain =
            [DescriptorType::RegularFile, DescriptorType::Directory, DescriptorType::SymbolicLink];
        if stat.is_ok_and(|stat| !plain.contains(&stat.type_)) {
            state.neither_refused(asked);
            return Ok(Err(ErrorCode::Unsupported));
        }
        guest_result(state.filesystem().open_at(directory, how, path, open, flags).await)
    }
}

mod of_p3 {
    use p3::bindings::filesystem::types::{
        DescriptorFlags, DescriptorType, ErrorCode, HostDescriptorWithStore as _, NewTimestamp,
        OpenFlags, PathFlags,
    };

    use super::*;

    pub(super) type Params = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);

    type Result = wasmtime::Result<std::result::Result<Resource<Descriptor>, ErrorCode>>;

    pub(super) type Times = (Resource<Descriptor>, PathFlags, String, NewTimestamp, NewTimestamp);

    type Done = wasmtime::Result<std::result::Result<(), ErrorCode>>;

    pub(super) async fn set_times_at(accessor: &Accessor<GuestState>, params: Times) -> Done {
        let (directory, how, path, accessed, modified) = params;
        let files = accessor.with_getter::<WasiFilesystem>(|state| state.filesystem());
        let access = [DescriptorFlags::WRITE, DescriptorFlags::READ];
        let follows = how.contains(PathFlags::SYMLINK_FOLLOW);
        for access in access.into_iter().filter(|_| follows) {
            let there = Resource::new_borrow(directory.rep());
            let params = (there, how, path.clone(), OpenFlags::empty(), access);
            let file = match open_at(accessor, params).await? {
                Ok(file) => file,
                Err(ErrorCode::Access | ErrorCode::IsDirectory) => continue,
                Err(why) => return Ok(Err(why)),
            };
            let file_again = Resource::new_borrow(file.rep());
            let set = guest_result(
                WasiFilesystem::set_times(&files, file_again, accessed, modified).await,
            );
            accessor.with(|mut access| access.get().table().delete(file))?;
            return set;
        }
        guest_result(
            WasiFilesystem::set_times_at(&files, directory, how, path, accessed, modified).await,
        )
    }

    pub(super) async fn open_at(accessor: &Accessor<GuestState>, params: Params) -> Result {
        let asked = quote(&params.2);
        let opened = open(accessor, params, &asked).await?;
        if matches!(opened, Err(ErrorCode::NotPermitted | ErrorCode::ReadOnly)) {
            accessor.with(|mut access| access.get().path_refused(&asked));
        }
        Ok(opened)
    }

    async fn open(accessor: &Accessor<GuestState>, params: Params, asked: &str) -> Result {
        let (directory, how, path, open, flags) = params;
        let (dir, limit) = match accessor.with(|mut access| access.get().begin_open(&directory))? {
            Ok(begun) => begun,
            Err(why) => return Ok(Err(io::Error::from(why).into())),
        };
        let opened =
            open_file::open(dir, path.clone(), open_request!(how, open, flags), &limit).await;
        if let Some(made) = accessor.with(|mut access| access.get().end_open(opened, asked))? {
            return Ok(made.map_err(ErrorCode::from));
        }
        let _permit = limit.permit().await?;
        let files = accessor.with_getter::<WasiFilesystem>(|state| state.filesystem());
        let there = Resource::new_borrow(directory.rep());
        let stat = guest_result(WasiFilesystem::stat_at(&files, there, how, path.clone()).await)?;
        let is_plain = |kind: &DescriptorType| {
            use DescriptorType::{Directory, RegularFile, SymbolicLink};
            matches!(kind, RegularFile | Directory | SymbolicLink)
        };
        if stat.is_ok_and(|stat| !is_plain(&stat.type_)) {
            accessor.with(|mut access| access.get().neither_refused(asked));
            return Ok(Err(ErrorCode::Unsupported));
        }
        guest_result(WasiFilesystem::open_at(&files, directory, how, path, open, flags).await)
    }
}

/// Links the functions for guests of every kind.
pub(crate) fn add_p2(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:filesystem/types@0.2.12")?;
    types.func_wrap_async(
        "[method]descriptor.set-times-at",
        |mut store, params: of_p2::Times| {
            Box::new(async move { Ok((of_p2::set_times_at(store.data_mut(), params).await?,)) })
        },
    )?;
    types.func_wrap_async("[method]descriptor.open-at", |mut store, params: of_p2::Params| {
        Box::new(async move { Ok((of_p2::open_at(store.data_mut(), params).await?,)) })
    })
}

/// Links the functions that need an engine with component-model async.
pub(crate) fn add_p3(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:filesystem/types@0.3.0")?;
    types.func_wrap_concurrent(
        "[method]descriptor.set-times-at",
        |accessor, params: of_p3::Times| {
            Box::pin(async move { Ok((of_p3::set_times_at(accessor, params).await?,)) })
        },
    )?;
    types.func_wrap_concurrent("[method]descriptor.open-at", |accessor, params: of_p3::Params| {
        Box::pin(async move { Ok((of_p3::open_at(accessor, params).await?,)) })
    })
}
