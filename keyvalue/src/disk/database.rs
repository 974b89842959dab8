//! The file itself: opening it, and opening it again after the disk has failed.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    StorageError, TableDefinition,
};
use tracing::info;

use crate::error::{OpenError, StoreError};

/// Values, by space, position in lists, and key.
pub(super) const PAIRS: TableDefinition<'_, (u32, u64, &str), &[u8]> =
    TableDefinition::new("pairs.v1");

/// Ids and bytes in use of spaces, by name.
pub(super) const SPACES: TableDefinition<'_, &str, (u32, u64)> = TableDefinition::new("spaces.v1");

/// Memory for pages of one file. The system keeps pages too; redb's own default is 1 GiB.
const CACHE: usize = 16 << 20;

/// What guests keep may be secret from other users of the machine.
const MODE: u32 = 0o600;

/// A file that is open, or is opened again when it is needed.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    opener: Opener,
    /// The file was not there before.
    made: bool,
    /// None after it could not be opened again.
    open: RwLock<Option<Database>>,
}

/// How a file is opened. Another one stands for a disk that fails.
pub(super) type Opener = fn(&Path) -> Result<Database, DatabaseError>;

impl DatabaseFile {
    pub(super) fn open(path: &Path, opener: Opener) -> Result<Self, OpenError> {
        // A link that leads nowhere is not ours either.
        let made = path.symlink_metadata().is_err();
        let database = opener(path).map_err(|why| {
            // Whatever there is of it holds nothing, unless another process has just made it.
            if made && !matches!(why, DatabaseError::DatabaseAlreadyOpen) {
                fs::remove_file(path).ok();
            }
            refused(path, &why)
        })?;
        Ok(Self { path: path.to_owned(), opener, made, open: RwLock::new(Some(database)) })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work`. A file that has failed before is opened again first, and `then` runs before
    /// anything else does.
    pub(super) fn run<T>(
        &self,
        work: impl Fn(&Database) -> Result<T, redb::Error>,
        then: impl Fn(&Database) -> Result<(), redb::Error>,
    ) -> Result<T, StoreError> {
        match self.once(&work) {
            Err(why) if is_closed(&why) => {
                self.reopen(then)?;
                self.once(&work).map_err(|why| StoreError::Unavailable(why.to_string()))
            }
            result => result.map_err(|why| StoreError::Unavailable(why.to_string())),
        }
    }

    fn once<T>(
        &self,
        work: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map_or(Err(redb::Error::DatabaseClosed), work)
    }

    fn reopen(
        &self,
        then: impl Fn(&Database) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // Another one that met the failure may have been faster.
        let works = open.as_ref().is_some_and(|database| !is_broken(database));
        if works {
            return Ok(());
        }
        drop(open.take());
        let database =
            (self.opener)(&self.path).map_err(|why| StoreError::Unavailable(why.to_string()))?;
        then(&database).map_err(|why| StoreError::Unavailable(why.to_string()))?;
        *open = Some(database);
        Ok(())
    }

    /// The id of a space and the bytes in use, of one that the file may not know yet.
    pub(super) fn register(&self, name: &str) -> Result<(u32, u64), OpenError> {
        self.once(|database| register(database, name)).map_err(|why| OpenError::Disk {
            path: self.path.display().to_string(),
            why: why.to_string(),
        })
    }
}

impl Drop for DatabaseFile {
    /// A start or a reload that is refused leaves no file behind: one that it has made and that has no pair
    /// in it is removed.
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let unused = self.made && open.as_ref().is_some_and(|open| is_empty(open).unwrap_or(false));
        // While it is still locked: another process may not have it open by then.
        if unused && let Err(why) = fs::remove_file(&self.path) {
            info!(path = %self.path.display(), %why, "an empty key-value database is left behind");
        }
    }
}

fn is_empty(database: &Database) -> Result<bool, redb::Error> {
    Ok(database.begin_read()?.open_table(PAIRS)?.is_empty()?)
}

fn register(database: &Database, name: &str) -> Result<(u32, u64), redb::Error> {
    let transaction = database.begin_write()?;
    let found = {
        let mut spaces = transaction.open_table(SPACES)?;
        let known = spaces.get(name)?.map(|found| found.value());
        match known {
            Some(found) => found,
            None => {
                let mut next = 0;
                for space in spaces.iter()? {
                    next = next.max(space?.1.value().0.saturating_add(1));
                }
                spaces.insert(name, (next, 0))?;
                (next, 0)
            }
        }
    };
    transaction.commit()?;
    Ok(found)
}

/// Opens a file, or makes it.
pub(super) fn open(path: &Path) -> Result<Database, DatabaseError> {
    let shown = path.display().to_string();
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    builder.set_repair_callback(move |session| {
        let percent = session.progress() * 100.0;
        info!(path = shown, percent, "key-value database was not closed; it is being checked");
    });
    prepared(builder.create_file(file(path)?)?)
}

/// Makes the tables, so that readers find them.
pub(super) fn prepared(database: Database) -> Result<Database, DatabaseError> {
    let transaction = database.begin_write().map_err(storage)?;
    transaction.open_table(PAIRS).map(drop).map_err(storage)?;
    transaction.open_table(SPACES).map(drop).map_err(storage)?;
    transaction.commit().map_err(storage)?;
    Ok(database)
}

pub(super) fn file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(path)
}

/// Errors of another step, in the words of opening.
fn storage(why: impl Into<redb::Error>) -> DatabaseError {
    match why.into() {
        redb::Error::Io(why) => DatabaseError::Storage(StorageError::Io(why)),
        why => DatabaseError::Storage(StorageError::Corrupted(why.to_string())),
    }
}

/// Whether nothing was done because an earlier operation had failed.
fn is_closed(why: &redb::Error) -> bool {
    matches!(why, redb::Error::PreviousIo | redb::Error::DatabaseClosed)
}

fn is_broken(database: &Database) -> bool {
    let begun = database.begin_write().map_err(redb::Error::from);
    begun.and_then(|transaction| Ok(transaction.abort()?)).is_err()
}

fn refused(path: &Path, why: &DatabaseError) -> OpenError {
    let why = match why {
        DatabaseError::DatabaseAlreadyOpen => "another process has it open, and only one can: \
             end that one, name another file, or keep the bucket in Redis"
            .to_owned(),
        DatabaseError::Storage(StorageError::Io(why)) => io(path, why),
        why => format!(
            "it is damaged, or not a database of this host ({why}): restore it, or name another file"
        ),
    };
    OpenError::Disk { path: path.display().to_string(), why }
}

fn io(path: &Path, why: &std::io::Error) -> String {
    match why.kind() {
        ErrorKind::NotFound => "its folder does not exist: create it".to_owned(),
        ErrorKind::PermissionDenied => {
            "permission denied: the user that this process runs as must be able to read and write \
             it, and to create it in its folder"
                .to_owned()
        }
        _ if path.is_dir() => "it is a folder: name a file in it".to_owned(),
        ErrorKind::InvalidData => {
            format!("it is not a database of this host ({why}): name another file")
        }
        _ => why.to_string(),
    }
}
