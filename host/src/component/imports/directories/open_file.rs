//! Opens files for guests: only files and directories, without waiting for the other end of a fifo or for
//! a lease, and on few threads.
//!
//! wasmtime's own function opens anything, on the threads that all components share for files and look-ups
//! and that swaps need too. Opening a fifo waits for its other end: 600 such opens took every thread, files
//! of other components hung, and their swaps were refused. A mount whose server is gone does the same.

use std::fs::File as StdFile;
use std::io;
use std::sync::{Arc, LazyLock};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fcntl_setfl, fstat, openat2};
use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task;
use wasmtime_wasi::filesystem::{Descriptor, Dir, File, OpenMode};

/// Opens of one component at once. A local file takes microseconds, so this bounds opens that hang: to half
/// of the threads that exist even where the process can make no more (`threads.rs`).
const EACH: usize = 8;

/// Opens of all components at once: three quarters of the 512 threads that tokio has for blocking
/// work. The rest is for swaps, look-ups, and files that are open.
const IN_ALL: usize = 384;

static ALL: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(IN_ALL)));

/// The same mode as wasmtime's. The umask of the process reduces it.
const NEW_FILE: Mode = Mode::from_raw_mode(0o666);

/// A rename anywhere on the machine during the look-up of a path asks for another try (openat2(2)).
const TRIES: usize = 64;

/// A component's limit of threads that open files. Cheap to clone; clones share one limit.
#[derive(Clone, Debug)]
pub(crate) struct OpenLimit(Arc<Semaphore>);

impl Default for OpenLimit {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(EACH)))
    }
}

/// A permit for one thread. Held until the kernel has answered, even if the guest is gone.
pub(crate) struct OpenPermit {
    _each: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl OpenLimit {
    /// Waits for a permit, first in the component's own queue.
    pub(crate) async fn permit(&self) -> io::Result<OpenPermit> {
        let each = self.0.clone().acquire_owned().await.map_err(io::Error::other)?;
        let all = ALL.clone().acquire_owned().await.map_err(io::Error::other)?;
        Ok(OpenPermit { _each: each, _all: all })
    }
}

/// The flags of an open, for both versions of `wasi:filesystem`.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "these are the flags of the interface")]
pub(crate) struct OpenRequest {
    pub(crate) follow: bool,
    pub(crate) create: bool,
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
    pub(crate) directory: bool,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) sync: bool,
}

/// Makes an [`OpenRequest`] from the flags of one version.
macro_rules! open_request {
    ($how:expr, $open:expr, $flags:expr) => {
        $crate::component::imports::directories::open_file::OpenRequest {
            follow: $how.contains(PathFlags::SYMLINK_FOLLOW),
            create: $open.contains(OpenFlags::CREATE),
            exclusive: $open.contains(OpenFlags::EXCLUSIVE),
            truncate: $open.contains(OpenFlags::TRUNCATE),
            directory: $open.contains(OpenFlags::DIRECTORY),
            read: $flags.contains(DescriptorFlags::READ),
            write: $flags.contains(DescriptorFlags::WRITE),
            sync: $flags.intersects(
                DescriptorFlags::FILE_INTEGRITY_SYNC
                    | DescriptorFlags::DATA_INTEGRITY_SYNC
                    | DescriptorFlags::REQUESTED_WRITE_SYNC,
            ),
        }
    };
}
pub(crate) use open_request;

/// The result of an open.
pub(crate) enum Opened {
    Descriptor(Descriptor),
    /// Neither a file nor a directory.
    Neither,
    /// The kernel, or a filter of system calls, has no openat2. wasmtime has another way, which checks
    /// the path first.
    NoSuchCall,
}

impl OpenRequest {
    /// How the descriptor may be used, the same as wasmtime's: without write access, it reads.
    fn mode(self) -> OpenMode {
        let mut mode = OpenMode::empty();
        mode.set(OpenMode::WRITE, self.create || self.truncate || self.write);
        mode.set(OpenMode::READ, self.read || !self.write);
        mode
    }

    fn check(self, directory: &Dir) -> Result<(), Errno> {
        if self.sync {
            return Err(Errno::NOTSUP);
        }
        if self.directory && (self.create || self.exclusive || self.truncate) {
            return Err(Errno::INVAL);
        }
        if directory.perms.write_not_permitted() && self.mode().contains(OpenMode::WRITE) {
            return Err(Errno::PERM);
        }
        Ok(())
    }

    fn flags(self) -> OFlags {
        let mut flags = OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let mode = self.mode();
        flags |= match (mode.contains(OpenMode::READ), mode.contains(OpenMode::WRITE)) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            _ => OFlags::RDONLY,
        };
        flags.set(OFlags::CREATE, self.create);
        flags.set(OFlags::EXCL, self.create && self.exclusive);
        flags.set(OFlags::TRUNC, self.truncate && !(self.create && self.exclusive));
        flags.set(OFlags::NOFOLLOW, !self.follow);
        flags
    }
}

/// Opens a path below a directory, as [`Dir`] does. The task of the guest waits; if it is dropped, the
/// permit is held until the kernel is done.
pub(crate) async fn open(
    directory: Dir,
    path: String,
    request: OpenRequest,
    limit: &OpenLimit,
) -> io::Result<Opened> {
    request.check(&directory)?;
    let permit = limit.permit().await?;
    let opened = task::spawn_blocking(move || {
        let opened = open_now(&directory, &path, request);
        drop(permit);
        opened
    });
    opened.await.map_err(io::Error::other)?
}

fn open_now(directory: &Dir, path: &str, request: OpenRequest) -> io::Result<Opened> {
    let file = match beneath(&directory.dir, path, request) {
        Ok(file) => file,
        // Filters of system calls give either (`EPERM` may have another reason; the other way finds it too).
        Err(Errno::NOSYS | Errno::PERM) => return Ok(Opened::NoSuchCall),
        // The path leads out of the directory.
        Err(Errno::XDEV) => return Err(Errno::PERM.into()),
        // Only a fifo without a reader, or a device without a driver, gives this.
        Err(Errno::NXIO) => return Ok(Opened::Neither),
        Err(why) => return Err(why.into()),
    };
    let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
    match kind {
        FileType::Directory => {
            let dir = Dir::new(file, directory.perms, request.mode(), false);
            Ok(Opened::Descriptor(Descriptor::Dir(dir)))
        }
        _ if request.directory => Err(Errno::NOTDIR.into()),
        FileType::RegularFile => {
            // The flag was for the open only.
            fcntl_setfl(&file, OFlags::empty())?;
            let file = File::new(file, directory.perms, request.mode(), false);
            Ok(Opened::Descriptor(Descriptor::File(file)))
        }
        _ => Ok(Opened::Neither),
    }
}

fn beneath(directory: &StdFile, path: &str, request: OpenRequest) -> Result<StdFile, Errno> {
    let mode = if request.create { NEW_FILE } else { Mode::empty() };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match openat2(directory, path, request.flags(), mode, resolve) {
            Err(Errno::AGAIN) => {}
            opened => return opened.map(StdFile::from),
        }
    }
    // Or another process has a lease on the file (fcntl(2)), and a blocking open would wait for it.
    Err(Errno::BUSY)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::task::Poll;

    use rustix::fs::{CWD, mknodat};
    use wasmtime_wasi::FsPerms;

    use super::*;

    /// A folder with a file, a folder, a fifo, and links. Removed with the test.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("host-files-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("folder")).unwrap();
            fs::write(path.join("file"), "text").unwrap();
            mknodat(CWD, path.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
            for (to, from) in
                [("fifo", "to_fifo"), ("/etc/passwd", "out"), ("folder/../file", "in")]
            {
                symlink(to, path.join(from)).unwrap();
            }
            Self(path)
        }

        fn dir(&self, perms: FsPerms) -> Dir {
            Dir::new(StdFile::open(&self.0).unwrap(), perms, OpenMode::READ, false)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    const READ: OpenRequest = OpenRequest {
        follow: true,
        create: false,
        exclusive: false,
        truncate: false,
        directory: false,
        read: true,
        write: false,
        sync: false,
    };

    /// The result of an open, as one word.
    async fn came(dir: Dir, path: &str, request: OpenRequest) -> Result<&'static str, Errno> {
        match open(dir, path.to_owned(), request, &OpenLimit::default()).await {
            Ok(Opened::Descriptor(Descriptor::File(_))) => Ok("file"),
            Ok(Opened::Descriptor(Descriptor::Dir(_))) => Ok("directory"),
            Ok(Opened::Neither) => Ok("neither"),
            Ok(Opened::NoSuchCall) => Ok("no such call"),
            Err(why) => Err(Errno::from_io_error(&why).unwrap()),
        }
    }

    #[tokio::test]
    async fn files_and_directories_are_opened_and_nothing_else() {
        let folder = Folder::new("kinds");
        let write = OpenRequest { write: true, ..READ };
        let create = OpenRequest { create: true, exclusive: true, ..write };
        let directory = OpenRequest { directory: true, ..READ };
        for (path, request, expected) in [
            ("file", READ, Ok("file")),
            ("in", READ, Ok("file")),
            ("folder/../file", READ, Ok("file")),
            ("file", write, Ok("file")),
            ("new", create, Ok("file")),
            ("file", create, Err(Errno::EXIST)),
            ("folder", READ, Ok("directory")),
            ("folder", directory, Ok("directory")),
            ("folder", write, Err(Errno::ISDIR)),
            ("file", directory, Err(Errno::NOTDIR)),
            ("fifo", READ, Ok("neither")),
            ("fifo", write, Ok("neither")),
            ("fifo", OpenRequest { read: false, ..write }, Ok("neither")),
            ("fifo", directory, Err(Errno::NOTDIR)),
            ("to_fifo", READ, Ok("neither")),
            ("to_fifo", OpenRequest { follow: false, ..READ }, Err(Errno::LOOP)),
            ("out", READ, Err(Errno::PERM)),
            ("../file", READ, Err(Errno::PERM)),
            ("/etc/passwd", READ, Err(Errno::PERM)),
            ("none", READ, Err(Errno::NOENT)),
            ("", READ, Err(Errno::NOENT)),
            ("file/x", READ, Err(Errno::NOTDIR)),
            ("file", OpenRequest { sync: true, ..READ }, Err(Errno::OPNOTSUPP)),
            ("folder", OpenRequest { create: true, ..directory }, Err(Errno::INVAL)),
        ] {
            assert_eq!(
                came(folder.dir(FsPerms::ReadWrite), path, request).await,
                expected,
                "{path} {request:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_read_only_file_is_neither_created_nor_truncated() {
        let folder = Folder::new("read");
        for request in [
            OpenRequest { write: true, ..READ },
            OpenRequest { create: true, ..READ },
            OpenRequest { truncate: true, ..READ },
            OpenRequest { read: false, write: true, ..READ },
        ] {
            for path in ["file", "new"] {
                assert_eq!(
                    came(folder.dir(FsPerms::ReadOnly), path, request).await,
                    Err(Errno::PERM),
                    "{request:?}"
                );
            }
        }
        assert_eq!(fs::read(folder.0.join("file")).unwrap(), b"text");
        assert!(!folder.0.join("new").exists());
        assert_eq!(came(folder.dir(FsPerms::ReadOnly), "file", READ).await, Ok("file"));
    }

    /// Opens that hang keep the permits of their component, and take none of another component's.
    #[tokio::test]
    async fn a_component_opens_on_its_share_of_threads_only() {
        let (one, other) = (OpenLimit::default(), OpenLimit::default());
        let mut permits = Vec::new();
        for _ in 0..EACH {
            permits.push(one.permit().await.unwrap());
        }
        let mut waiting = std::pin::pin!(one.permit());
        let waits = std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending()));
        assert!(waits.await);
        assert!(other.permit().await.is_ok());
        permits.pop();
        assert!(waiting.await.is_ok());
    }
}
