//! What is in a file, and how it is opened.

use std::fs::{File, Metadata, OpenOptions};
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use redb::{
    Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase, ReadableTable as _,
    ReadableTableMetadata as _, StorageError, TableDefinition, TableError,
};
use tracing::info;

use crate::end::NEVER;
use crate::error::OpenError;

/// Values, by space, position in lists, and key.
pub(super) const PAIRS: TableDefinition<'_, (u32, u64, &str), &[u8]> =
    TableDefinition::new("pairs.v1");

/// The moment at which a pair ends, and its value, by place. Apart from the others: an earlier version of
/// the host does not see these pairs, and cannot take one for a pair that stays. What it sets, counts.
pub(super) const TIMED: TableDefinition<'_, (u32, u64, &str), (u64, &[u8])> =
    TableDefinition::new("timed.v1");

/// Pairs that end, by space, moment and place.
pub(super) const ENDS: TableDefinition<'_, (u32, u64, u64, &str), ()> =
    TableDefinition::new("ends.v1");

/// Ids and bytes in use of spaces, by name.
pub(super) const SPACES: TableDefinition<'_, &str, (u32, u64)> = TableDefinition::new("spaces.v1");

/// Memory for pages of one file. The system keeps pages too; redb's own default is 1 GiB.
const CACHE: usize = 16 << 20;

/// What guests keep may be secret from other users of the machine.
const MODE: u32 = 0o600;

/// How a file is opened. Another one stands for a disk that fails.
pub(super) type Opener = fn(&Path) -> Result<Database, DatabaseError>;

pub(super) fn is_empty(view: &dyn ReadableDatabase) -> Result<bool, redb::Error> {
    let transaction = view.begin_read()?;
    Ok(transaction.open_table(PAIRS)?.is_empty()? && transaction.open_table(TIMED)?.is_empty()?)
}

/// The id of a space and the bytes in use, of one that the file knows.
pub(super) fn known(
    view: &dyn ReadableDatabase,
    name: &str,
) -> Result<Option<(u32, u64)>, redb::Error> {
    let spaces = view.begin_read()?.open_table(SPACES)?;
    Ok(spaces.get(name)?.map(|found| found.value()))
}

/// The same, of one that the file may not know yet.
pub(super) fn register(database: &Database, name: &str) -> Result<(u32, u64), redb::Error> {
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

/// When the next pair of a space ends.
pub(super) fn next_end(view: &dyn ReadableDatabase, id: u32) -> Result<u64, redb::Error> {
    let ends = view.begin_read()?.open_table(ENDS)?;
    let first = ends.range(ends_of(id))?.next().transpose()?;
    Ok(first.map_or(NEVER, |(place, _)| place.value().1))
}

/// All of [`ENDS`] that are of this space. Ids are given out in order, far below the largest one.
pub(super) fn ends_of(id: u32) -> Range<(u32, u64, u64, &'static str)> {
    (id, 0, 0, "")..(id.saturating_add(1), 0, 0, "")
}

/// Opens a file, or makes it.
pub(super) fn open(path: &Path) -> Result<Database, DatabaseError> {
    let shown = path.display().to_string();
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    let file = file(path)?;
    let metadata = file.metadata()?;
    let (opened, is_new) = (identity(&metadata), metadata.len() == 0);
    builder.set_repair_callback(move |session| {
        // It asks this of a new one as well.
        if !is_new {
            let percent = session.progress() * 100.0;
            info!(path = shown, percent, "key-value database was not closed; it is being checked");
        }
    });
    let database = builder.create_file(file)?;
    // Who had it open a moment ago may have removed it, unused. The next attempt finds another one, or makes it.
    if path.metadata().ok().as_ref().map(identity) != Some(opened) {
        return Err(DatabaseError::DatabaseAlreadyOpen);
    }
    prepared(database)
}

/// Opens a file that was closed properly, beside others who read it. Writes nothing.
pub(super) fn open_to_read(path: &Path) -> Result<ReadOnlyDatabase, DatabaseError> {
    Database::builder().set_cache_size(CACHE).open_read_only(path)
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Makes the tables, so that readers find them. Where they are there, it does not wait for the disk.
pub(super) fn prepared(database: Database) -> Result<Database, DatabaseError> {
    if is_prepared(&database).map_err(storage)? {
        return Ok(database);
    }
    let transaction = database.begin_write().map_err(storage)?;
    transaction.open_table(PAIRS).map(drop).map_err(storage)?;
    transaction.open_table(SPACES).map(drop).map_err(storage)?;
    transaction.open_table(TIMED).map(drop).map_err(storage)?;
    transaction.open_table(ENDS).map(drop).map_err(storage)?;
    transaction.commit().map_err(storage)?;
    Ok(database)
}

fn is_prepared(database: &Database) -> Result<bool, redb::Error> {
    let transaction = database.begin_read()?;
    // The last one that is made.
    match transaction.open_table(ENDS).map(drop) {
        Ok(()) => Ok(true),
        Err(TableError::TableDoesNotExist(_)) => Ok(false),
        Err(why) => Err(why.into()),
    }
}

pub(super) fn file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(path)
}

/// Errors of another step, in the words of opening.
pub(super) fn storage(why: impl Into<redb::Error>) -> DatabaseError {
    match why.into() {
        redb::Error::Io(why) => DatabaseError::Storage(StorageError::Io(why)),
        why => DatabaseError::Storage(StorageError::Corrupted(why.to_string())),
    }
}

/// Whether it can do nothing more because an earlier operation has failed.
pub(super) fn is_broken(database: &Database) -> bool {
    let begun = database.begin_write().map_err(redb::Error::from);
    begun.and_then(|transaction| Ok(transaction.abort()?)).is_err()
}

pub(super) fn refused(path: &Path, why: &DatabaseError) -> OpenError {
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
