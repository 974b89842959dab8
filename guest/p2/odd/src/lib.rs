//! Answers that a host must look at twice: `/forbidden` headers (tells which were refused),
//! `/many?n=N` headers, `/huge?kib=N` of one header, `/status?code=N`, a content-length that lies
//! `/length?say=N&give=M`, `/nobody` with 204, and two lengths `/dup`.
//! Learnt from it: no guest can break the framing of the connection or the host's limits.

use kit::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam};
use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    let headers = Fields::new();
    match request.path() {
        "/forbidden" => {
            let names = ["connection", "transfer-encoding", "upgrade", "host", "keep-alive"];
            let refused = names.into_iter().filter(|name| headers.append(name, b"x").is_err());
            let text = format!("refused: {}\n", refused.collect::<Vec<_>>().join(" "));
            body(reply, headers, text.as_bytes())
        }
        "/many" => {
            for i in 0..request.number("n", 0) {
                let _ = headers.append(&format!("x-{i}"), b"v");
            }
            body(reply, headers, b"many\n")
        }
        "/huge" => {
            let value = "v".repeat(request.number("kib", 0) as usize * 1024);
            let _ = headers.append("x-huge", value.as_bytes());
            body(reply, headers, b"huge\n")
        }
        "/length" => {
            let _ = headers.append("content-length", request.text("say").unwrap_or("0").as_bytes());
            body(reply, headers, "x".repeat(request.number("give", 0) as usize).as_bytes())
        }
        "/dup" => {
            let _ = headers.append("content-length", b"5");
            let _ = headers.append("content-length", b"6");
            body(reply, headers, b"five\n")
        }
        "/nobody" => status(reply, 204),
        _ => status(reply, request.number("code", 200) as u16),
    }
}

fn body(reply: Reply, headers: Fields, bytes: &[u8]) -> Done {
    let mut body = reply.send(200, headers);
    body.write(bytes)?;
    body.finish()
}

/// Answers with this status and no body at all, or says that the host refused the status.
fn status(reply: Reply, code: u16) -> Done {
    let response = OutgoingResponse::new(Fields::new());
    if response.set_status_code(code).is_err() {
        return reply.answer("refused\n");
    }
    let body = response.body().expect("body taken once");
    ResponseOutparam::set(reply.0, Ok(response));
    OutgoingBody::finish(body, None).map_err(|_| kit::PeerLeft)
}
