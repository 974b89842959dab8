//! Why a directory is no code cache.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a directory is not used.
#[derive(Debug, Error)]
pub enum CacheError {
    /// It cannot be created or opened.
    #[error("{} cannot be used: {why}", path.display())]
    Unopened {
        /// The directory.
        path: PathBuf,
        /// What the kernel says.
        why: io::Error,
    },
    /// Its code is run, and another user could put code there.
    #[error(
        "{} belongs to user {owner}, who could put code there: give it to user {user}, or name \
         another with --cache-dir",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The owner that it should have.
        user: u32,
    },
    /// Other users may write to it, and could put code there.
    #[error(
        "{} can be written by others (mode {mode:03o}), who could put code there: `chmod go-w` it, \
         or name another with --cache-dir",
        path.display()
    )]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}
