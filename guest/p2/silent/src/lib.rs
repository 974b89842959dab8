//! Returns without an answer; on `/error` it answers with an error whose text is `secret`; on `/leak`
//! it begins a body with `part` and returns with the body neither finished nor dropped.
//! Learnt from it: the peer always gets an end, never the guest's text, never a whole-looking part.

use kit::types::{ErrorCode, ResponseOutparam};
use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    match request.path() {
        "/error" => {
            ResponseOutparam::set(reply.0, Err(ErrorCode::InternalError(Some("secret".into()))))
        }
        "/leak" => {
            let mut answer = reply.send(200, kit::fields(&[]));
            answer.write("part\n")?;
            core::mem::forget(answer);
        }
        _ => {}
    }
    Ok(())
}
