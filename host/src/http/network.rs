//! The network behind a plugin for egress: where its chain ends.

use http::{Request, Response};
use tracing::debug;

use super::account::Account;
use super::error_response::error_response;
use super::failure::Failure;
use super::response_body::ResponseBody;
use crate::component::{BodyError, NetworkEnd, WasiBody};

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
