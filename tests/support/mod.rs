//! The harness: a running host, clients that see every byte, and a load that forgives no loss.
//!
//! ```ignore
//! use crate::support::prelude::*;
//!
//! #[test]
//! fn request_in_flight_is_answered_after_the_signal() {
//!     let host = Host::serve("gate_p2").args(["--drain-timeout", "10s"]).start();
//!     let mut conn = host.connect();
//!     conn.send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
//!     let head = conn.read_head().unwrap();                    // the exchange has *started*
//!     host.signal(Signal::TERM);
//!     host.wait_log(says::DRAINING);                           // an event, never a sleep
//!     conn.send("0\r\n\r\n").unwrap();                         // it *may finish*
//!     assert_eq!(conn.read_body(&head, "POST").unwrap().text(), "started\ndone\n");
//!     conn.expect_fin();
//!     host.wait_exit().expect_code(0);
//! }
//! ```
//!
//! Every wait ends with an event. One deadline ([`PATIENCE`]) stands behind each, and only fails the test.
//! When a test panics, the drop of the host prints its stderr.

#![allow(
    dead_code,
    unused_imports,
    reason = "the harness is as wide as its subject, not as wide as the tests of today"
)]

use std::time::Duration;

pub mod access_log;
pub mod app;
pub mod binary;
pub mod broken;
pub mod browser;
pub mod budget;
pub mod canary;
pub mod certificates;
pub mod chain;
pub mod coded;
pub mod compiler;
pub mod exit;
pub mod fleet;
pub mod flood;
pub mod gate;
pub mod h2frame;
pub mod h2raw;
pub mod haproxy;
pub mod host;
pub mod hpack;
pub mod http1;
pub mod image;
pub mod issuer;
pub mod lines;
pub mod load;
pub mod memory;
pub mod metrics;
pub mod neighbour;
pub mod otlp;
pub mod page;
pub mod process;
pub mod prometheus;
pub mod pty;
pub mod raw;
pub mod redis;
pub mod registry;
pub mod rounds;
pub mod says;
pub mod scarce;
pub mod serve;
pub mod service_manager;
pub mod shipped;
pub mod site;
pub mod status;
pub mod stop;
pub mod target;
pub mod tls;
pub mod tls_client;
pub mod tools;
pub mod trace;
pub mod upgrade;
pub mod upstream;
pub mod visitors;
pub mod wire;

/// How long any single wait may take before the test fails. No test waits this long and passes.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// How long a `connect` may take. A filter on new SYNs makes it hang for about a second, until the kernel
/// repeats the SYN and finds the port closed. This leaves room for one more repeat.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// All that a test file needs: `use crate::support::prelude::*;`.
pub mod prelude {
    pub use super::binary::guest;
    pub use super::broken::{Broken, Ended, Glance};
    pub use super::exit::Exit;
    pub use super::h2frame::{ANY_STREAM, Frame, NO_ERROR, REFUSED_STREAM};
    pub use super::h2raw::{Answer, H2};
    pub use super::host::Host;
    pub use super::http1::{Body, Head, Response};
    pub use super::lines::Mark;
    pub use super::load::{Ledger, Mode, Over, stop_under_load, stops_per_test};
    pub use super::raw::Conn;
    pub use super::serve::Serve;
    pub use super::target::Target;
    pub use super::trace::without_trace;
    pub use super::{PATIENCE, says};
    pub use rustix::process::Signal;
}
