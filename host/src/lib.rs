//! `host` serves WebAssembly components over HTTP and does not lose requests.
//!
//! ```text
//! signal ─→ lifecycle ─→ phase ─→ drain
//! socket ─→ net ─→ http ─→ component ─→ response body
//! ```
//!
//! `ARCHITECTURE.md` draws both ways and says which folder may know which.

mod advice;
mod cgroup;
pub mod check;
pub mod compile;
pub mod component;
pub mod config;
pub mod control;
pub mod ctl;
mod date;
mod descriptors;
pub mod exit;
pub mod http;
pub mod lifecycle;
pub mod log;
mod look;
pub mod net;
mod operate;
mod outfit;
pub mod outlet;
mod output;
mod progress;
mod report;
mod resources;
pub mod serve;
mod shortage;
pub mod site;
mod terminal;
mod threads;
mod unix_socket;
mod watch;

#[cfg(test)]
mod layers;
