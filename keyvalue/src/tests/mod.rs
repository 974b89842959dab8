//! Promises of the crate, each on every kind of store that can be had here.

mod atomic;
mod model;
mod open;
mod pages;
mod sizes;
mod support;
