//! Guests: the engine, loading, generations and instances, with their grants and limits.
//!
//! ```text
//! path ─→ survey ─→ engine ─→ load ─→ Generation ─→ Slot
//!                                         │
//!                        request ─→ start ─→ Running (one instance) ─→ head, body
//! ```
//!
//! May not know sockets, hyper's server or the command line. Errors of wasmtime end here.

mod engine;
mod generation;
mod instance;
mod load;
mod p2;
mod p3;
mod slot;
mod state;
mod stdio;
mod survey;

use std::path::PathBuf;
use std::time::Duration;

pub use generation::Generation;
pub use instance::{GuestFailure, Running};
pub use load::{LoadError, load, survey_file};
pub use slot::Slot;
pub use survey::{Kind, Survey};
pub use wasmtime_wasi_http::{Error as BodyError, WasiBody};

/// What guests may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Instances at once.
    pub instances: usize,
    /// Bytes of linear memory of one instance.
    pub memory: usize,
    /// CPU time of one instance.
    pub cpu: Duration,
    /// How long an instance may take to be made, start functions and all.
    pub start: Duration,
}

/// Where compiled code is kept between starts.
#[derive(Clone, Debug)]
pub enum Cache {
    /// Nowhere.
    Off,
    /// In this directory; made if it is missing.
    Directory(PathBuf),
}
