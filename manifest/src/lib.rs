//! The manifest of `host`: what is served, where, with which grants and limits.
//!
//! ```text
//! host.toml ─→ parse ─→ Manifest (checked)
//!                 └───→ Report: file, line and what to do
//! ```
//!
//! A crate of its own, because it needs nothing of the host: it is tested and fuzzed in seconds.

pub mod defaults;
mod model;
pub mod outgoing;
pub mod routes;
mod stub;
mod units;

pub use model::*;
pub use stub::*;
pub use units::{Address, Grant, Health, Limit, Size, Smoke, Span};
