//! Promises of the crate, each on every kind of store that can be had here.

mod atomic;
mod disk;
mod model;
mod open;
mod pages;
mod prefix;
mod redis;
mod refused;
mod sizes;
pub(crate) mod support;
mod ttl;
mod ttl_redis;
mod turns;
