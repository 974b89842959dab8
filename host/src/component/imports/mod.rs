//! Imports of guests. Every guest has every import; its grants decide what the import does.

pub(crate) mod abilities;
pub(crate) mod ability;
mod denials;
mod directories;
mod environment;
mod field_limits;
pub(crate) mod keyvalue;
mod keyvalue_extra;
mod lifecycle;
pub(crate) mod link;
mod middleware;
mod name_lookup;
mod outgoing;
mod prefault;
pub(crate) mod request_shutdown;
mod tcp;
pub(crate) mod wasi_config;
