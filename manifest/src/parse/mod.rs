//! From the text of a file to a checked [`Manifest`](crate::Manifest).
//!
//! ```text
//!   text ─→ toml ─→ validate ─→ raw ─→ build ─→ Manifest
//!            │        │                 │
//!            └────────┴─────────────────┴─────→ ManifestError: all problems at once
//! ```

pub(crate) mod ability;
mod build;
mod confine;
mod egress;
mod enums;
mod files;
mod flags;
mod grammar;
mod headers;
mod include;
mod interpolate;
mod limits;
mod listen;
mod listeners;
mod logs;
mod rate_limit;
mod raw;
mod raw_route;
pub(crate) mod reader;
mod redis;
mod registry;
mod routes;
pub(crate) mod secrets;
pub(crate) mod spanned;
mod stores;
mod suggest;
mod syntax;
mod text_file;
pub(crate) mod text_or;
mod validate;
mod values;

pub use build::is_remote;
pub(crate) use confine::same as same_path;
pub use flags::{BucketFlag, DirectoryFlag, FlagFault, GrantFlags, PairFlag};
pub use grammar::{Grammar, load, parse, schema};

#[cfg(test)]
mod files_tests;
#[cfg(test)]
mod flags_tests;
#[cfg(test)]
mod refused_tests;
#[cfg(test)]
mod tests;
