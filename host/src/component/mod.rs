//! Guests: the engine, loading, generations, swaps and instances, with their grants and limits.
//!
//! ```text
//! path ─→ source ─→ survey ─→ engine ─→ Blueprint ─→ Generation ─→ smoke ─→ Slot ─→ shelf
//!         └──────────────────── load ────────────────────────────┘   swap   (retired ones)
//!
//!                        request ─→ start ─→ Running (one instance) ─→ head, body
//! ```
//!
//! May not know sockets, hyper's server, the lifecycle or the command line. Errors of wasmtime end
//! here.

mod compile;
mod engine;
mod fate;
mod generation;
mod hooks;
mod imports;
mod instance;
mod keyvalue;
mod load;
mod p2;
mod p3;
mod reuse;
mod shelf;
mod slot;
mod smoke;
mod source;
mod state;
mod stdio;
mod survey;
mod swap;
mod trial;
mod worker;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use compile::Pace;
pub use generation::Generation;
pub use instance::{GuestFailure, Running};
pub use load::{Loader, Rejected, Settings, Step};
pub use reuse::{Keeper, Reuse};
pub use shelf::{Listed, Retirement, Standing};
pub use slot::Slot;
pub use smoke::Smoke;
pub use source::{LoadError, survey_file};
pub use survey::{Kind, Survey};
pub use swap::{Ask, LastSwap, Outcome, Swapper, Swaps, Trigger};
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
    /// How long a lifecycle hook may take.
    pub hook: Duration,
}

/// What guests are given beyond the sandbox. Nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// The import `request-shutdown`.
    pub request_shutdown: Option<ShutdownGrant>,
}

/// The right to stop the process.
#[derive(Clone)]
pub struct ShutdownGrant(Arc<dyn Fn() + Send + Sync>);

impl ShutdownGrant {
    /// What is called when a guest has asked and its answer is delivered. May be called from any
    /// thread and more than once; must not block.
    pub fn new(stop: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(stop))
    }

    fn use_it(&self) {
        (self.0)();
    }
}

impl fmt::Debug for ShutdownGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShutdownGrant")
    }
}

/// Where compiled code is kept between starts.
#[derive(Clone, Debug)]
pub enum Cache {
    /// Nowhere.
    Off,
    /// In this directory; made if it is missing.
    Directory(PathBuf),
}
