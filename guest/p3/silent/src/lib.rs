//! Returns an error in place of an answer; on `/error` one whose text is `secret`.
//! Learnt from it: the peer gets the host's own 500 and never the guest's text.

use kit::types::ErrorCode;
use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    let text = (request.path() == "/error").then(|| "secret".into());
    Err(ErrorCode::InternalError(text))
}
