//! From the bytes of a file to compiled code. Knows nothing of requests or grants.
//!
//! ```text
//! path ─→ source ─→ survey ─→ code_loader ─→ (code_cache, or a compiler in a process of its own) ─→ engine
//! ```

mod code_again;
pub(crate) mod code_cache;
pub(crate) mod code_loader;
pub(crate) mod code_memory;
pub(crate) mod compile_file;
pub(crate) mod config_schema;
pub(crate) mod engine;
pub(crate) mod epoch;
pub(crate) mod footprint;
pub(crate) mod load_error;
pub(crate) mod rejected;
pub(crate) mod shortage;
pub(crate) mod single_flight;
pub(crate) mod source;
pub(crate) mod survey;
pub(crate) mod surveyed;
pub(crate) mod vouch;
pub(crate) mod warm_code;
