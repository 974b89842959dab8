//! What a guest can call. Every import is there for every guest; what it does depends on the grants.

pub(crate) mod denials;
pub(crate) mod field_limits;
pub(crate) mod keyvalue;
pub(crate) mod lifecycle;
pub(crate) mod link;
pub(crate) mod middleware;
pub(crate) mod name_lookup;
pub(crate) mod open_at;
