//! The exchange: one request with its response, up to the last body frame.
//!
//! ```text
//! request ─→ service ─→ exchange ────────────────────→ response body ─→ afterwork
//!               │           │    ▲                         │ (the guest inside)
//!   validate, pipeline,  admission  └─ chain: the rest of      └─ breaks the message
//!   upload, prefetch                  the pipeline, served onward
//!
//! blame: whose fault it is that one does not end well      failure: what the peer is told
//! ```
//!
//! The only caller of both sides: handed requests by the network, starts instances of components.
//! May not know sockets or signals, nor how far a stop is: a generation is told to end, and so are the
//! exchanges on it.

mod account;
mod admission;
mod afterwork;
mod blame;
mod body_channel;
mod body_coding;
mod chain;
mod claims;
mod client;
mod client_certificate;
mod compression;
mod deadlines;
mod edge;
mod egress;
mod error_response;
mod exchange;
mod exchange_info;
mod exchange_list;
mod failure;
mod first_hop;
mod guest_body;
mod guest_work;
mod network;
mod peer_fault;
mod pipeline;
mod prefetch;
mod rate_limit;
mod reply;
mod response_body;
mod service;
mod stage;
mod stage_spans;
mod upload;
mod upload_pace;
mod validate;

pub use exchange_list::{ExchangeSnapshot, longest};
pub use response_body::{ResponseBody, ResponseBroken};
pub use service::{Exchanges, Terms};
