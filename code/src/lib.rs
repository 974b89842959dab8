//! Compiled code of guests: made by a child process, stored in a directory, checked before it runs.
//!
//! ```text
//!              Compiler ─→ child: host compiler (bounds, no network, no files)
//!                             │ bytes with our checksum
//!   ArtefactCache (a directory) ──────┼──→ Artefact ─→ load ─→ Component
//! ```
//!
//! All code that can make an [`Artefact`] is in this crate, so that the one `unsafe` of the workspace can be
//! judged here: [`Artefact::load`]. Knows nothing of the host, of HTTP or of manifests beyond their units
//! (docs/adr/0020-compiled-code.md).

mod artefact;
mod bundle;
mod cache;
mod cache_error;
pub mod child;
mod child_failure;
mod compile_error;
mod compiler;
mod entries_in_use;
mod orders;
mod process;
mod sandbox;
mod settings;
mod snapshot;
mod warm;

pub use artefact::{Artefact, ArtefactKey, Damaged};
pub use bundle::{BundledCode, CodeBundle};
pub use cache::ArtefactCache;
pub use cache_error::CacheError;
pub use child_failure::ChildFailure;
pub use compile_error::CompileError;
pub use compiler::{CompileBounds, Compiled, Compiler, Urgency};
pub use entries_in_use::EntryInUse;
pub use orders::{ChildOrders, ChildTask, Yields};
pub use settings::{component_digest, settings};
pub use warm::{ACCESS, HANDLES, TAKE_ONE, WarmComponent, WarmPart, WarmState};
