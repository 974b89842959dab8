//! `host` serves WebAssembly components over HTTP and does not lose requests.
//!
//! ```text
//! signal ─→ lifecycle ─→ phase ─→ drain
//! socket ─→ net ─→ http ─→ component ─→ response body
//! ```
//!
//! `ARCHITECTURE.md` draws both ways and says which folder may know which.

mod admin;
pub mod artefacts;
mod cgroup;
pub mod check;
pub mod compile;
pub mod completions;
pub mod component;
pub mod config;
pub mod control;
pub mod ctl;
mod date;
pub mod dev;
pub mod drain_test;
pub mod exit;
pub mod http;
pub mod init;
mod lint;
pub mod man;
pub mod new;
mod output;
mod progress;
mod provision;
mod resources;
pub mod serve;
pub mod site;
mod size;
mod supply;
mod terminal;
mod threads;
mod upgrade;
mod watch;

#[cfg(test)]
mod layers;
