//! Outgoing requests of a component through a plugin: an exchange in the exchange, with the network at its end.
//!
//! ```text
//! exchange ─→ guest ─→ Egress ─→ plugin ─→ ChainLink ─→ network, as it is granted to that guest
//! ```

use std::sync::Arc;

use http::Request;

use super::chain::{Onward, OnwardRequest};
use super::deadlines::Downstream;
use super::exchange_info::ExchangeInfo;
use super::peer_fault::PeerFault;
use super::pipeline::{Behind, Pipeline};
use super::reply::Reply;
use crate::component::{EgressHandler, NetworkEnd, Passing, WasiBody};
use crate::site::Slot;

/// Has a plugin serve what the guest of an exchange sends out.
pub(super) struct Egress {
    onward: Arc<dyn Onward>,
    site: Arc<Slot>,
    plugin: Arc<str>,
    exchange: Arc<ExchangeInfo>,
}

impl Egress {
    /// By the plugin of this name in the site, for the guest of this exchange.
    pub(super) fn new(
        onward: Arc<dyn Onward>,
        site: Arc<Slot>,
        plugin: &Arc<str>,
        exchange: &Arc<ExchangeInfo>,
    ) -> Self {
        Self { onward, site, plugin: plugin.clone(), exchange: exchange.clone() }
    }
}

impl EgressHandler for Egress {
    fn send(self: Arc<Self>, request: Request<WasiBody>, network: NetworkEnd) -> Passing {
        let downstream = Downstream::new(1);
        let (reply, passing) = Reply::to_guest(&downstream);
        let pipeline = Pipeline::egress(&self.site.current(), &self.plugin, network);
        // A checked manifest has it. Without the plugin nothing goes out.
        if let Some(pipeline) = pipeline {
            let onward = OnwardRequest {
                request,
                behind: Behind::Pipeline(pipeline),
                exchange: self.exchange.clone(),
                peer_fault: PeerFault::default(),
                is_egress: true,
            };
            // It ends when the guest has dropped what it waits for, or the body that it was given.
            tokio::spawn(self.onward.clone().serve_onward(onward, reply));
        }
        passing
    }
}
