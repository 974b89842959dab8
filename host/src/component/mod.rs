//! Guests: the engine, loading, generations and instances, with their grants and limits.
//!
//! ```text
//! path ─→ source ─→ survey ─→ engine ─→ Code ─→ Blueprint ─→ Generation ─→ smoke
//!         └──────────────────────────── load ───────────────────────────────┘
//!                                  grants, limits ┘
//!
//!                        request ─→ start ─→ Running (one instance) ─→ head, body
//! ```
//!
//! May not know sockets, hyper's server, the lifecycle or the command line. Errors of wasmtime end
//! here.

mod budget;
mod clock;
mod code_cache;
mod compile;
mod cost;
mod engine;
mod fate;
mod files;
mod flight;
mod generation;
mod grants;
mod hooks;
mod hops;
mod imports;
mod instance;
mod keyvalue;
mod load;
mod log_room;
mod memory;
mod names;
mod next;
mod opens;
mod outgoing;
mod p2;
mod p3;
mod refusals;
mod reuse;
mod said;
mod scarce;
mod sent;
mod smoke;
mod source;
mod state;
mod stdio;
mod survey;
mod texts;
mod trial;
mod turns;
mod worker;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};

pub use clock::Clock;
pub use compile::{Compiling, Say, compile_file};
pub use fate::Fate;
pub use generation::{Blueprint, Generation, Kept};
pub use grants::{ConfigGrant, Directories, Grants, ShutdownGrant, Sockets};
pub use hops::Hops;
pub use host_code::Urgency;
pub use host_manifest::{ComponentLimits, ReuseConfig};
pub use instance::{GuestFailure, Running};
pub use load::{Held, Loader, Rejected, Settings, Step, Unmade, Wanted, Workshop};
pub use memory::MemoryBudget;
pub use reuse::{IdleRoom, Keeper};
pub use smoke::Smoke;
pub use source::{Glance, Largest, LoadError, Source};
pub use survey::{Kind, Survey};
pub use turns::{Share, Turns};
pub use wasmtime_wasi_http::{Error as BodyError, WasiBody};

/// The authority through which a guest of wasi:http 0.2 passes a request on.
pub const NEXT_HOST: &str = "next.host";

/// What a plugin passes requests on to. Called from its store; what comes back is polled there.
pub trait Next: Send + Sync {
    /// Passes a request on. Dropping the future, or the body of the response, ends what was passed
    /// on.
    fn pass(self: Arc<Self>, request: Request<WasiBody>) -> Passing;
}

/// The answer to what was passed on.
pub type Passing = Pin<Box<dyn Future<Output = Result<Response<WasiBody>, BodyError>> + Send>>;

/// Where compiled code is kept between starts.
#[derive(Clone, Debug)]
pub enum Cache {
    /// Nowhere.
    Off,
    /// In this directory; made if it is missing.
    Directory(PathBuf),
}
