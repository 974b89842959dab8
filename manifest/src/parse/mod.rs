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
mod enums;
mod files;
mod grammar;
mod headers;
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
mod routes;
pub(crate) mod spanned;
mod stores;
mod suggest;
mod validate;
mod values;

pub(crate) use confine::same as same_path;
pub use grammar::{Grammar, load, parse, schema};

#[cfg(test)]
mod files_tests;
#[cfg(test)]
mod refused_tests;
#[cfg(test)]
mod tests;
