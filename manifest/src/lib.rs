//! The manifest of `host`: what is served, where, with which grants and limits.
//!
//! ```text
//! host.toml ─→ parse ─→ Manifest (checked)
//!                 └───→ Report: file, line and what to do
//! ```
//!
//! A crate of its own, because it needs nothing of the host: it is tested and fuzzed in seconds.

mod checks;
pub mod defaults;
mod model;
pub mod outgoing;
mod overlap;
mod parse;
mod report;
pub mod routes;
mod stamp;
mod units;
pub mod words;

pub use checks::Fault;
pub use model::*;
pub use overlap::Overlap;
pub use parse::{load, parse, schema};
pub use report::{Problem, Report};
pub use stamp::Stamp;
pub use units::{Address, Grant, Health, Limit, LogRate, Rate, Size, Smoke, Span};
