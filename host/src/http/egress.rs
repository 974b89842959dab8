//! Outgoing requests of a component through a plugin: an exchange in the exchange, with the network at its end.
//!
//! ```text
//! exchange ─→ guest ─→ Egress ─→ plugin ─→ ChainLink ─→ network, as it is granted to that guest
//! ```

use std::sync::Arc;

use http::{Request, Response};
use tracing::debug;

use super::account::Account;
use super::chain::Onward;
use super::chain::OnwardRequest;
use super::deadlines::Downstream;
use super::error_response::error_response;
use super::exchange::Server;
use super::exchange_info::ExchangeInfo;
use super::failure::Failure;
use super::peer_fault::PeerFault;
use super::pipeline::{Behind, Pipeline};
use super::reply::Reply;
use super::response_body::ResponseBody;
use crate::component::{BodyError, EgressHandler, NetworkEnd, Passing, WasiBody};

/// Has a plugin serve what the guest of an exchange sends out.
pub(super) struct Egress {
    server: Arc<Server>,
    plugin: Arc<str>,
    exchange: Arc<ExchangeInfo>,
}

impl Egress {
    /// By the plugin of this name, for the guest of this exchange.
    pub(super) fn new(
        server: &Arc<Server>,
        plugin: &Arc<str>,
        exchange: &Arc<ExchangeInfo>,
    ) -> Arc<Self> {
        let (server, plugin, exchange) = (server.clone(), plugin.clone(), exchange.clone());
        Arc::new(Self { server, plugin, exchange })
    }
}

impl EgressHandler for Egress {
    fn send(self: Arc<Self>, request: Request<WasiBody>, network: NetworkEnd) -> Passing {
        let downstream = Downstream::new(1);
        let (reply, passing) = Reply::to_guest(&downstream);
        let pipeline =
            Pipeline::egress(&self.server.admission.site().current(), &self.plugin, network);
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
            tokio::spawn(self.server.clone().serve_onward(onward, reply));
        }
        passing
    }
}

/// Sends a request out, behind a plugin. What fails there is a response, as from any proxy.
pub(super) async fn send_out(
    network: &NetworkEnd,
    request: Request<WasiBody>,
    account: Option<Account>,
) -> Response<ResponseBody> {
    match network.send(request).await {
        Ok(response) => {
            let (head, body) = response.into_parts();
            let account = account.map(|mut account| {
                account.answered(head.status);
                account
            });
            Response::from_parts(head, ResponseBody::network(body, account))
        }
        Err(why) => {
            debug!(%why, "no response from the network behind a plugin");
            error_response(failure(&why), account)
        }
    }
}

fn failure(why: &BodyError) -> Failure {
    match why {
        BodyError::ConnectionTimeout
        | BodyError::ConnectionReadTimeout
        | BodyError::HttpResponseTimeout
        | BodyError::DnsTimeout => Failure::NetworkTooSlow,
        BodyError::HttpRequestDenied => Failure::NetworkDenied,
        _ => Failure::Network,
    }
}
