//! Requests with bodies of each kind.

use kit::Request;
use kit::types::{ErrorCode, Request as Outgoing};
use kit::wasip3::http::client;
use kit::wasip3::{spawn_local, wit_future, wit_stream};

use crate::fetch;

pub async fn upload(request: &Request) -> Result<String, String> {
    let url = request.text("url").ok_or("no url")?;
    let method = fetch::method(request.text("method").unwrap_or("GET"));
    let headers: Vec<_> =
        request.text("length").map(|it| ("content-length", it)).into_iter().collect();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let contents = contents(request.text("body").ok_or("no body")?);
    let (outgoing, sent) = Outgoing::new(kit::fields(&headers), contents, trailers, None);
    fetch::aim(&outgoing, &method, url)?;
    let answered = client::send(outgoing).await.map(|answer| answer.get_status_code());
    let told: Result<u16, ErrorCode> = match answered {
        // Who wrote what the length does not say is told here, if not by the answer.
        Ok(status) => sent.await.map(|()| status),
        Err(why) => Err(why),
    };
    Ok(format!("{}\n", told.map_err(kit::case)?))
}

fn contents(kind: &str) -> Option<kit::wasip3::wit_bindgen::StreamReader<u8>> {
    let pieces: &[&str] = match kind {
        "none" => return None,
        "short" => &["hello"],
        "streamed" => &["hello", ", world"],
        _ => &[],
    };
    let (mut body, contents) = wit_stream::new();
    if kind == "empty" {
        drop(body);
    } else {
        spawn_local(async move {
            for piece in pieces {
                body.write_all(piece.as_bytes().to_vec()).await;
            }
        });
    }
    Some(contents)
}
