//! The text of a file of a manifest.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// Ten thousand routes take one MiB. A larger file is not a manifest.
const LARGEST: u64 = 16 * 1024 * 1024;

pub(super) fn read(path: &Path) -> io::Result<String> {
    // Opening a pipe could wait for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 16 MiB"));
    }
    Ok(text)
}

/// Whether a file that cannot be read may be readable a moment later although nothing visible has changed.
pub(super) fn is_passing(why: &io::Error) -> bool {
    use io::ErrorKind::{
        FileTooLarge, InvalidData, InvalidInput, IsADirectory, NotADirectory, NotFound, Other,
        PermissionDenied,
    };
    !matches!(
        why.kind(),
        FileTooLarge
            | InvalidData
            | InvalidInput
            | IsADirectory
            | NotADirectory
            | NotFound
            | Other
            | PermissionDenied
    )
}
