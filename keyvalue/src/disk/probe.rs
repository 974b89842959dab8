//! Whether a database file could be opened, found out without opening it: a look must not shut out a
//! host that has it, or is about to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;
use std::process;

/// How a file of redb begins (its design.md, "Magic number").
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// Whether there is a database at `path`, or one can be made there. Blocks. What it holds is not
/// looked at.
///
/// # Errors
/// Why a start would be refused, in one line.
pub fn probe(path: &Path) -> Result<(), String> {
    let opened = match OpenOptions::new().read(true).write(true).open(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => can_be_made(path),
        opened => opened.and_then(is_one),
    };
    opened
        .map_err(|why| format!("the key-value database {} cannot be opened: {why}", path.display()))
}

fn is_one(file: File) -> io::Result<()> {
    let mut begins = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut begins)?;
    // An empty one is made into a database.
    if begins.is_empty() || begins == MAGIC {
        return Ok(());
    }
    Err(io::Error::other("it is not a database of this host: name another file"))
}

/// Makes a file beside it and removes it: a host that starts at this moment may be making the one
/// itself.
fn can_be_made(path: &Path) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.look", process::id()));
    let trial = path.with_file_name(name);
    OpenOptions::new().write(true).create_new(true).open(&trial)?;
    fs::remove_file(&trial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_start_would_refuse_is_refused_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        assert_eq!(probe(&folder.path().join("new.redb")), Ok(()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a look leaves nothing");
        assert_eq!(probe(&file("empty.redb", b"")), Ok(()));
        assert_eq!(probe(&file("whole.redb", &[MAGIC, b"rest"].concat())), Ok(()));
        for (path, says) in [
            (file("text.redb", b"hello, world"), "not a database"),
            (file("short.redb", b"red"), "not a database"),
            (folder.path().to_owned(), "directory"),
            (folder.path().join("none/x.redb"), "No such file"),
            ("/proc/x.redb".into(), "cannot be opened"),
        ] {
            let why = probe(&path).expect_err(says);
            assert!(why.contains(says), "{why}");
        }
    }
}
