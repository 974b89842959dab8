//! Whole tests of small servers, over real sockets.

#![allow(
    clippy::tests_outside_test_module,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test crate prints what it found, and panics in its servers too"
)]

mod frames;
mod losses;
mod protocols;
mod support;
mod triggers;
